import { type CatalogObject, describeCatalog } from '../../src/migrations/catalog.ts'
import { checksumOf, type Migration } from '../../src/migrations/folder.ts'
import { withSession } from '../../src/migrations/session.ts'

/** The schema of a database as text, e.g. to compare it byte for byte. */
export async function dumpSchema(url: string): Promise<string> {
  const objects = await withSession({ url, say: () => {} }, describeCatalog)
  return objects.map(({ kind, name, definition }: CatalogObject) => `${kind} ${name}: ${definition}`).join('\n')
}

export function makeMigration(name: string, up: string, down?: string): Migration {
  return { name, up, down, checksum: checksumOf(up) }
}
