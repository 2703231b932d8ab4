/** A refusal or failure of a migration command; its message says what happened and what to do next. */
export class MigrationError extends Error {
  override readonly name = 'MigrationError'
}
