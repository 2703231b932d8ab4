// A CommonJS package: where code is split, its names are known only to an import that is not dynamic.
export { attachDatabasePool } from '@vercel/functions/db-connections'
