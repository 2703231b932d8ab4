import { HISTORY_DDL, readJournal, recordUndone } from './history.ts'
import { type Done, type MigrateOptions, migrateUp, quietly, withRunner } from './migrate.ts'

/** Removes everything in the schema `public`, data too, whatever state it is in, then applies all migrations. */
export async function resetDatabase(options: MigrateOptions): Promise<Done[]> {
  await withRunner(options, async (client) => {
    const journal = await readJournal(client)
    const records = journal.map(({ name, checksum }) => recordUndone({ name, checksum }, 'reset'))
    await client.query(quietly(`BEGIN;\n${HISTORY_DDL}\n${records.join('\n')}\n${EMPTY_PUBLIC}\nCOMMIT;`))
  })
  return migrateUp(options)
}

/**
 * Not DROP SCHEMA, which takes along what an administrator granted on it. `pg_depend` has what is in the schema, short
 * of what belongs to a table or to an extension; of the extensions, those that the migrations can have made.
 */
const EMPTY_PUBLIC = `DO $$
DECLARE command text;
BEGIN
  FOREACH command IN ARRAY ARRAY(
    SELECT format('DROP %s IF EXISTS %s CASCADE', replace(object.type, 'statistics object', 'statistics'), object.identity)
    FROM pg_depend AS entry, pg_identify_object(entry.classid, entry.objid, 0) AS object
    WHERE entry.refclassid = 'pg_namespace'::regclass AND entry.refobjid = 'public'::regnamespace AND entry.deptype = 'n'
      AND NOT EXISTS (SELECT FROM pg_depend AS member
                      WHERE member.classid = entry.classid AND member.objid = entry.objid AND member.deptype = 'e')
      AND NOT EXISTS (SELECT FROM pg_extension
                      WHERE entry.classid = 'pg_extension'::regclass AND oid = entry.objid
                        AND NOT pg_has_role(extowner, 'USAGE'))
  ) LOOP
    EXECUTE command;
  END LOOP;
END $$;`
