// Starts PostgreSQL in the folder that is its argument, says its URL, and then lives until it is killed.
import { startPostgres } from '../../scripts/local/postgres.ts'

try {
  const postgres = await startPostgres({ dataDir: process.argv[2] ?? '' })
  console.log(postgres.url())
} catch (error) {
  console.log(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
