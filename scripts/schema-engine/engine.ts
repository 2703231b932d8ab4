import { bindMigrationAwareSqlAdapterFactory } from '@prisma/driver-adapter-utils'
import type { DiffTarget, MigrationList, SchemaEngine, SchemaFilter } from '@prisma/schema-engine-wasm/schema_engine_bg'
import { NO_DATABASE, requireDirect } from '../database-url.ts'
import { Connection } from './connection.ts'
import { disconnected } from './disconnected.ts'
import { KnownError } from './errors.ts'
import { migrationError } from './migration-error.ts'
import { createShadowDatabase, openShadowDatabase } from './shadow-database.ts'
import { EnginePanic, type LoadedEngine } from './wasm.ts'

/** What `datasource` of prisma.config.ts says. */
export interface Datasource {
  url?: string
  shadowDatabaseUrl?: string
}

/** The part of a request's parameters that is looked at here; the engine reads the rest. */
export interface Params {
  from?: { tag: string }
  to?: { tag: string }
  migrationsList?: MigrationList
  filters?: SchemaFilter
}

/** Prisma's schema engine, and the connections that it works on. */
export class Engine {
  readonly #loaded: LoadedEngine
  readonly #datasource: Datasource
  readonly #schemaFiles: [path: string, content: string][]
  readonly #adapters = bindMigrationAwareSqlAdapterFactory({
    provider: 'postgres',
    adapterName: 'schema-engine-pg',
    connect: async () => this.#main ?? disconnected,
    connectToShadowDb: () => this.#openShadow(),
  })
  #engine: SchemaEngine | undefined
  #main: Connection | undefined
  #shadow: Promise<Connection> | undefined

  constructor(loaded: LoadedEngine, datasource: Datasource, schemaFiles: [path: string, content: string][]) {
    this.#loaded = loaded
    this.#datasource = datasource
    this.#schemaFiles = schemaFiles
  }

  /**
   * Answers one of the CLI's requests. The first one connects, unless it only compares files.
   * @throws {KnownError} with one of Prisma's codes
   * @throws {EnginePanic} after which nothing can be asked any more
   */
  async call(name: string, params: Params = {}): Promise<Readonly<Record<string, unknown>> | string> {
    try {
      this.#engine ??= await this.#start(name, params)
      const engine = this.#engine
      // The one method that has another name here, and the URL in whose parameters means nothing to this engine.
      if (name === 'getDatabaseVersion') return await this.#loaded.guard(engine.version())
      const method: unknown = Reflect.get(engine, name)
      if (typeof method !== 'function') throw new Error(`The schema engine has no method ${name}.`)
      if (name === 'evaluateDataLoss' || name === 'createMigration') await this.#replayMigrations(engine, params)
      const call = async () => Reflect.apply(method, engine, [params])
      return (await this.#loaded.guard(call())) ?? {}
    } catch (error) {
      throw await this.#explain(error)
    }
  }

  /** Closes what is open, and removes the shadow database if a request is still using one. */
  async close(): Promise<void> {
    const shadow = await this.#shadow?.catch(() => undefined)
    await shadow?.dispose()
    await this.#main?.dispose()
  }

  async #start(name: string, { from, to }: Params): Promise<SchemaEngine> {
    const onlyFiles =
      name === 'diff' && [from, to].every((side) => side?.tag === 'empty' || side?.tag === 'schemaDatamodel')
    const { url } = this.#datasource
    if (url !== undefined && !onlyFiles) this.#main = await Connection.open(parseDirect(url))
    const { SchemaEngine, guard } = this.#loaded
    const datamodels = this.#schemaFiles.length > 0 ? this.#schemaFiles : undefined
    const engine = await guard(
      SchemaEngine.new({ datamodels }, (line: string) => process.stderr.write(`${line.trimEnd()}\n`), this.#adapters),
    )
    if (this.#main) await this.#enablePreviewFeatures(engine)
    return engine
  }

  /**
   * Tells the engine of the schema's preview features. It is not told at its start, and without `partialIndexes` it would
   * take every partial index of the database for a whole one. A comparison with the database is what makes it look.
   */
  async #enablePreviewFeatures(engine: SchemaEngine): Promise<void> {
    const files = this.#schemaFiles.map(([path, content]) => ({ path, content }))
    if (files.length === 0) return
    const from: DiffTarget = { tag: 'schemaDatasource', files, configDir: '' }
    const filters = { externalTables: [], externalEnums: [] }
    await this.#loaded.guard(engine.diff({ from, to: { tag: 'empty' }, script: false, exitCode: null, filters }))
  }

  /**
   * Has the engine remember what its migrations make. The two methods that need to know cannot open a shadow database
   * themselves ("must be provided through an external factory"), and `migrate dev` only asks for a diagnosis before it
   * applies what is pending.
   */
  async #replayMigrations(engine: SchemaEngine, { migrationsList, filters }: Params): Promise<void> {
    if (migrationsList && filters) await this.#loaded.guard(engine.devDiagnostic({ migrationsList, filters }))
  }

  async #openShadow(): Promise<Connection> {
    const { url, shadowDatabaseUrl } = this.#datasource
    const main = url === undefined ? undefined : parseDirect(url)
    if (shadowDatabaseUrl) this.#shadow = openShadowDatabase(parseDirect(shadowDatabaseUrl), main)
    else if (main) this.#shadow = createShadowDatabase(main)
    else throw new Error(NO_DATABASE)
    return this.#shadow
  }

  /** What the CLI should be told instead of what the engine made of it. */
  async #explain(error: unknown): Promise<unknown> {
    if (!(error instanceof Error) || error instanceof KnownError || error instanceof EnginePanic) return error
    const id = /External error id#(\d+)/.exec(error.message)?.[1]
    const original = id === undefined ? undefined : this.#adapters.errorRegistry.consumeError(Number(id))
    if (original) return original.error
    const code: unknown = Reflect.get(error, 'code')
    const shadow = await this.#shadow?.catch(() => undefined)
    const failure = this.#main?.scriptFailure ?? shadow?.scriptFailure
    const explained = failure && migrationError(error, code, failure)
    if (explained) return explained
    return typeof code === 'string' ? new KnownError(code, error.message) : error
  }
}

/** @throws {KnownError} P1013 for a pooler or anything that is not PostgreSQL */
export function parseDirect(url: string): URL {
  try {
    requireDirect(url)
  } catch (error) {
    throw new KnownError('P1013', error instanceof Error ? error.message : String(error))
  }
  return new URL(url)
}
