// The cron door. A module is an instance's life, so this is where the one instance is made.
import { readConfig } from '../src/config.ts'
import { Database } from '../src/db/database.ts'
import { echo } from '../src/db/echo.ts'
import { createLog } from '../src/log.ts'
import { createMaintenanceApp } from '../src/maintenance/app.ts'

const config = readConfig(process.env)
const log = createLog(config.logLevel)
const database = new Database(config.database)
if (config.database.echo) database.observe(echo(log))

export default createMaintenanceApp(config, database, log)
