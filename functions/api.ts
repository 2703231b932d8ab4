// The HTTP door: what the platform runs. A module is an instance's life, so this is where the one instance is made.
import { migrations } from '../src/migrations/generated/manifest.ts'
import { boot } from '../src/runtime.ts'

const { app } = await boot(process.env, migrations)

export default app
