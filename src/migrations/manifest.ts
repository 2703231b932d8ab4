/** The migrations that a build of this software was made for, in order. */
export type MigrationManifest = readonly MigrationRecord[]

export interface MigrationRecord {
  /** Folder name, e.g. `20260105090000_create_users`. */
  name: string
  /** SHA-256 of `migration.sql` in lower-case hex, as in Prisma's journal. */
  checksum: string
}
