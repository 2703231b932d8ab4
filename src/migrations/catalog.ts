import type { Client } from 'pg'

export interface CatalogObject {
  /** E.g. `trigger`. */
  kind: string
  /** Its full name, e.g. `public.users.set_updated_at`. */
  name: string
  /** All that tells it apart from another of that name. */
  definition: string
}

/**
 * Describes the schema of a database, whole: also what Prisma cannot see, such as triggers, functions, CHECKs, partial
 * and expression indexes, collations, comments and grants. Two databases of one server version with the same
 * description have the same schema. Left out are owners, Prisma's journal, our history, extensions' own objects, what a
 * provider's roles own (schemas, extensions, event triggers, default privileges), and who may use the schema `public`,
 * which differs between a new database and one that `prisma migrate reset` emptied.
 */
export async function describeCatalog(client: Client): Promise<CatalogObject[]> {
  // With an empty path, every name comes out qualified.
  await client.query("BEGIN READ ONLY; SET LOCAL search_path TO ''")
  try {
    const { rows } = await client.query<CatalogObject>(CATALOG_QUERY)
    return rows
  } finally {
    await client.query('ROLLBACK')
  }
}

/** A privilege list as text, in which the owner is called that. A null list means the default one. */
const grants = (list: string, kind: string, owner: string) => `(
  SELECT string_agg(format('%s: %s', who, privileges), ' | ' ORDER BY who)
  FROM (SELECT CASE grantee WHEN 0 THEN 'PUBLIC' WHEN ${owner} THEN 'owner' ELSE pg_get_userbyid(grantee)::text END AS who,
               string_agg(privilege_type || CASE WHEN is_grantable THEN '*' ELSE '' END, ', ' ORDER BY privilege_type) AS privileges
        FROM aclexplode(coalesce(${list}, acldefault('${kind}', ${owner}))) GROUP BY grantee) AS granted)`

const CATALOG_QUERY = `
WITH spaces AS (
  SELECT oid, nspname, nspowner, nspacl FROM pg_namespace
  WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'migration_history')
    AND (nspname = 'public' OR pg_has_role(nspowner, 'USAGE'))
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_namespace'::regclass AND objid = pg_namespace.oid AND deptype = 'e')
), members AS (
  SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), relations AS (
  SELECT c.*, format('%I.%I', nspname, relname) AS name
  FROM pg_class AS c JOIN spaces ON spaces.oid = relnamespace
  WHERE c.oid IS DISTINCT FROM to_regclass('public._prisma_migrations')
    AND NOT EXISTS (SELECT FROM members WHERE classid = 'pg_class'::regclass AND objid = c.oid)
), functions AS (
  SELECT p.*, p.oid::regprocedure::text AS name
  FROM pg_proc AS p JOIN spaces ON spaces.oid = pronamespace
  WHERE NOT EXISTS (SELECT FROM members WHERE classid = 'pg_proc'::regclass AND objid = p.oid)
), types AS (
  SELECT t.*, format('%I.%I', nspname, typname) AS name
  FROM pg_type AS t JOIN spaces ON spaces.oid = typnamespace
  WHERE typtype IN ('e', 'd', 'r', 'c')
    AND NOT EXISTS (SELECT FROM members WHERE classid = 'pg_type'::regclass AND objid = t.oid)
    AND (typrelid = 0 OR EXISTS (SELECT FROM pg_class WHERE oid = typrelid AND relkind = 'c'))
), constraints AS (
  SELECT c.oid, c.contypid, c.conname, pg_get_constraintdef(c.oid) AS definition,
         coalesce(relations.name, types.name) AS parent
  FROM pg_constraint AS c
  LEFT JOIN relations ON relations.oid = c.conrelid
  LEFT JOIN types ON types.oid = c.contypid
  WHERE coalesce(relations.name, types.name) IS NOT NULL
)
SELECT kind, name, coalesce(definition, '') AS definition FROM (
  SELECT 'schema' AS kind, quote_ident(nspname) AS name,
         CASE WHEN nspname <> 'public' THEN ${grants('nspacl', 'n', 'nspowner')} END AS definition
  FROM spaces
  UNION ALL
  SELECT 'extension', quote_ident(extname), 'in ' || extnamespace::regnamespace FROM pg_extension WHERE pg_has_role(extowner, 'USAGE')
  UNION ALL
  SELECT CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view'
           WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence' WHEN 'f' THEN 'foreign table' END,
         name,
         concat_ws(' | ',
           CASE relpersistence WHEN 'u' THEN 'unlogged' END, 'options ' || reloptions::text,
           CASE WHEN relrowsecurity THEN 'row security' END, CASE WHEN relforcerowsecurity THEN 'forced' END,
           CASE WHEN relkind IN ('r', 'p', 'm') AND relreplident <> 'd' THEN 'replica identity ' || relreplident::text END,
           'partition by ' || pg_get_partkeydef(r.oid), pg_get_expr(relpartbound, r.oid),
           (SELECT 'inherits ' || string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno) FROM pg_inherits WHERE inhrelid = r.oid),
           CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid) END,
           (SELECT format('%s start %s increment %s min %s max %s cache %s%s', seqtypid::regtype, seqstart, seqincrement, seqmin, seqmax,
                          seqcache, CASE WHEN seqcycle THEN ' cycle' END) FROM pg_sequence WHERE seqrelid = r.oid),
           CASE WHEN relkind = 'S' THEN ${grants('relacl', 's', 'relowner')} ELSE ${grants('relacl', 'r', 'relowner')} END)
  FROM relations AS r WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  UNION ALL
  SELECT 'column', format('%s.%I', r.name, attname),
         concat_ws(' ',
           row_number() OVER (PARTITION BY attrelid ORDER BY attnum) || ':', format_type(atttypid, atttypmod),
           CASE WHEN attcollation <> typcollation THEN 'COLLATE ' || attcollation::regcollation END,
           CASE WHEN attnotnull THEN 'NOT NULL' END,
           CASE WHEN attidentity <> '' THEN 'identity ' || attidentity::text END,
           CASE WHEN attgenerated <> '' THEN 'generated ' || attgenerated::text ELSE 'default' END || ' ' || pg_get_expr(adbin, adrelid),
           CASE WHEN attstorage <> typstorage THEN 'storage ' || attstorage::text END,
           'compression ' || nullif(to_jsonb(a) ->> 'attcompression', ''),
           'statistics ' || nullif(to_jsonb(a) ->> 'attstattarget', '-1'),
           CASE WHEN attacl IS NOT NULL THEN ${grants('attacl', 'c', 'relowner')} END)
  FROM relations AS r JOIN pg_attribute AS a ON attrelid = r.oid JOIN pg_type ON pg_type.oid = atttypid
  LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
  WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND attnum > 0 AND NOT attisdropped
  UNION ALL
  SELECT 'constraint', format('%s.%I', parent, conname), definition FROM constraints
  UNION ALL
  SELECT 'index', r.name,
         concat_ws(' | ', pg_get_indexdef(indexrelid), CASE WHEN NOT indisvalid THEN 'INVALID' END,
           CASE WHEN indisclustered THEN 'clustered' END, CASE WHEN indisreplident THEN 'replica identity' END)
  FROM pg_index JOIN relations AS r ON r.oid = indexrelid
  WHERE indrelid IS DISTINCT FROM to_regclass('public._prisma_migrations')
  UNION ALL
  SELECT 'trigger', format('%s.%I', r.name, tgname),
         pg_get_triggerdef(t.oid) || CASE tgenabled WHEN 'D' THEN ' DISABLED' WHEN 'R' THEN ' REPLICA' WHEN 'A' THEN ' ALWAYS' ELSE '' END
  FROM pg_trigger AS t JOIN relations AS r ON r.oid = tgrelid WHERE NOT tgisinternal
  UNION ALL
  SELECT 'event trigger', quote_ident(evtname), format('%s %s %s %s', evtevent, evttags, evtfoid::regproc, evtenabled)
  FROM pg_event_trigger AS e WHERE pg_has_role(evtowner, 'USAGE') AND NOT EXISTS (SELECT FROM members WHERE classid = 'pg_event_trigger'::regclass AND objid = e.oid)
  UNION ALL
  SELECT 'rule', format('%s.%I', r.name, rulename), pg_get_ruledef(w.oid) || ' ' || ev_enabled::text
  FROM pg_rewrite AS w JOIN relations AS r ON r.oid = ev_class WHERE rulename <> '_RETURN'
  UNION ALL
  SELECT 'policy', format('%s.%I', r.name, polname),
         concat_ws(' | ', polcmd, CASE WHEN NOT polpermissive THEN 'restrictive' END,
           (SELECT string_agg(CASE oid WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(oid) END, ', ' ORDER BY oid) FROM unnest(polroles) AS oid),
           'using ' || pg_get_expr(polqual, polrelid), 'check ' || pg_get_expr(polwithcheck, polrelid))
  FROM pg_policy JOIN relations AS r ON r.oid = polrelid
  UNION ALL
  SELECT CASE prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END, name,
         CASE prokind WHEN 'a' THEN (SELECT to_jsonb(g) - 'aggfnoid' FROM pg_aggregate AS g WHERE aggfnoid = f.oid)::text
           ELSE pg_get_functiondef(f.oid) END || ' | ' || ${grants('proacl', 'f', 'proowner')}
  FROM functions AS f
  UNION ALL
  SELECT CASE typtype WHEN 'd' THEN 'domain' ELSE 'type' END, name,
         concat_ws(' | ',
           (SELECT 'enum ' || string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid),
           CASE WHEN typtype = 'd' THEN concat_ws(' ', format_type(typbasetype, typtypmod), CASE WHEN typnotnull THEN 'NOT NULL' END,
             'default ' || typdefault, 'COLLATE ' || nullif(typcollation, 0)::regcollation) END,
           (SELECT 'range of ' || rngsubtype::regtype FROM pg_range WHERE rngtypid = t.oid),
           ${grants('typacl', 'T', 'typowner')})
  FROM types AS t
  UNION ALL
  SELECT 'statistics', format('%I.%I', nspname, stxname), pg_get_statisticsobjdef(s.oid)
  FROM pg_statistic_ext AS s JOIN spaces ON spaces.oid = stxnamespace
  UNION ALL
  SELECT 'default privileges', concat_ws(' ', pg_get_userbyid(defaclrole), defaclobjtype, quote_ident(nspname)), ${grants('defaclacl', 'r', 'defaclrole')}
  FROM pg_default_acl LEFT JOIN spaces ON spaces.oid = defaclnamespace WHERE pg_has_role(defaclrole, 'USAGE')
  UNION ALL
  SELECT object.type, object.identity, object.detail
  FROM (
    SELECT 'pg_collation'::regclass AS classid, oid, concat_ws(' ', collprovider, collcollate, collctype, to_jsonb(c) ->> 'colllocale') AS detail, collnamespace AS space
    FROM pg_collation AS c
    UNION ALL SELECT 'pg_operator'::regclass, oid, oprcode::text, oprnamespace FROM pg_operator
    UNION ALL SELECT 'pg_opclass'::regclass, oid, NULL, opcnamespace FROM pg_opclass
    UNION ALL SELECT 'pg_ts_config'::regclass, oid, NULL, cfgnamespace FROM pg_ts_config
    UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictinitoption, dictnamespace FROM pg_ts_dict
  ) AS other (classid, oid, detail, space)
  JOIN spaces ON spaces.oid = space
  CROSS JOIN LATERAL (SELECT type, identity, detail FROM pg_identify_object(other.classid, other.oid, 0)) AS object
  WHERE NOT EXISTS (SELECT FROM members WHERE members.classid = other.classid AND members.objid = other.oid)
  UNION ALL
  SELECT 'comment', object.type || ' ' || object.identity, description
  FROM pg_description AS d CROSS JOIN LATERAL pg_identify_object(d.classoid, d.objoid, d.objsubid) AS object
  WHERE object.schema IN (SELECT nspname FROM spaces)
    AND NOT EXISTS (SELECT FROM members WHERE members.classid = d.classoid AND members.objid = d.objoid)
) AS catalog
ORDER BY kind COLLATE "C", name COLLATE "C"`
