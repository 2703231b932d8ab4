// `npm run check`: who may import whom, as docs/decisions/0001-rooms-and-imports.md has it. Exits with 1 and one line
// for each breach.
import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { parseSync } from 'oxc-parser'

interface Import {
  from: string
  /** A path in this repository, or the name of a package. */
  to: string
  typeOnly: boolean
}

const root = resolve(import.meta.dirname, '..')
const SLICES = ['auth', 'health', 'orders', 'products', 'users', 'maintenance']
const slice = `src/(?:${SLICES.join('|')})`

/** What a file may import of this repository's own: the first rule whose `from` matches the file holds. */
const rules: { from: RegExp; may: RegExp }[] = [
  { from: /^src\/(config|errors|caller|sha256)\.ts$/, may: /^$/ },
  { from: /^src\/log\.ts$/, may: /^src\/config\.ts$/ },
  { from: /^src\/db\//, may: /^src\/(db\/|config\.ts$)/ },
  { from: /^src\/migrations\//, may: /^src\/(migrations\/|db\/)/ },
  { from: /^src\/http\//, may: /^src\/(http\/|db\/errors\.ts$|errors\.ts$|log\.ts$|caller\.ts$)/ },
  { from: /^src\/(app|runtime|maintenance\/app|seed|seed\/.*)(\.ts)?$/, may: /^src\// },
  { from: RegExp(`^${slice}/.*repository\\.ts$`), may: /^src\/(db\/|errors\.ts$|sha256\.ts$|<own>)/ },
  {
    from: RegExp(`^${slice}/(?:routes|schema)\\.ts$`),
    may: /^src\/(http\/|db\/(database|generated)|errors\.ts$|<own>|<schema>|<manifest>)/,
  },
  {
    from: RegExp(`^${slice}/`),
    may: /^src\/(db\/|errors\.ts$|caller\.ts$|sha256\.ts$|migrations\/|<own>|<repository>)/,
  },
  { from: /^functions\//, may: /^src\/(runtime|config|log|db\/|migrations\/|maintenance\/)/ },
  { from: /^(scripts|test|bench)\//, may: /./ },
  { from: /^[\w.-]+$/, may: /^(src|scripts)\// },
]

/** Names a file by its part in a slice, so that rules can speak of its own slice and of other slices' repositories. */
function roles(from: string, to: string): string[] {
  const own = /^src\/[\w-]+\//.exec(from)?.[0]
  const inSlice = RegExp(`^${slice}/`).test(to)
  return [
    to,
    ...(own !== undefined && to.startsWith(own) ? ['src/<own>'] : []),
    ...(inSlice && to.endsWith('repository.ts') ? ['src/<repository>'] : []),
    ...(inSlice && to.endsWith('/schema.ts') ? ['src/<schema>'] : []),
    ...(to === 'src/migrations/manifest.ts' ? ['src/<manifest>'] : []),
  ]
}

function listFiles(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((name) => /\.m?ts$/.test(name) && !name.includes('/generated/'))
}

function readImports(from: string): Import[] {
  const { module, errors } = parseSync(from, readFileSync(join(root, from), 'utf8'))
  if (errors.length > 0) throw new Error(`${from}: ${errors[0]?.message}`)
  const text = readFileSync(join(root, from), 'utf8')
  const statics = module.staticImports.map((found) => ({
    specifier: found.moduleRequest.value,
    typeOnly: found.entries.length > 0 && found.entries.every((entry) => entry.isType),
  }))
  const exported = module.staticExports.flatMap(({ entries }) =>
    entries.flatMap(({ moduleRequest, isType }) =>
      moduleRequest === null ? [] : [{ specifier: moduleRequest.value, typeOnly: isType }],
    ),
  )
  const dynamic = module.dynamicImports.map(({ moduleRequest: { start, end } }) => ({
    specifier: text.slice(start + 1, end - 1),
    typeOnly: false,
  }))
  return [...statics, ...exported, ...dynamic].map(({ specifier, typeOnly }) => ({
    from,
    to: specifier.startsWith('.') ? relative(root, resolve(root, from, '..', specifier)) : specifier,
    typeOnly,
  }))
}

/** Everything that is loaded with a file, by a chain of imports that are more than types. */
function reachableFrom(start: string, imports: readonly Import[]): Import[] {
  const seen = new Set([start])
  const found: Import[] = []
  for (const file of seen) {
    for (const edge of imports.filter(({ from, typeOnly }) => from === file && !typeOnly)) {
      found.push(edge)
      seen.add(edge.to)
    }
  }
  return found
}

const files = ['src', 'functions', 'scripts', 'test'].flatMap(listFiles)
const imports = files.flatMap(readImports)
const breaches: string[] = []

for (const { from, to } of imports.filter(({ to }) => /^(src|functions|scripts|test|bench)\//.test(to))) {
  const rule = rules.find((candidate) => candidate.from.test(from))
  if (rule === undefined) breaches.push(`${from}: no rule says what it may import`)
  else if (!roles(from, to).some((role) => rule.may.test(role))) breaches.push(`${from} may not import ${to}`)
}

for (const { from, to } of reachableFrom('src/runtime.ts', imports)) {
  if (to.startsWith('node:'))
    breaches.push(`${from} imports ${to}, and the application must run where there is no Node`)
}

for (const file of files.filter((name) => name.startsWith('src/'))) {
  const text = readFileSync(join(root, file), 'utf8')
  if (file !== 'src/db/transaction.ts' && text.includes('$transaction(')) {
    breaches.push(`${file} says $transaction: only src/db/transaction.ts may`)
  }
  if (text.includes('process.env')) breaches.push(`${file} says process.env: settings come in through src/config.ts`)
  if (/^import \{ z \} from 'zod'/m.test(text)) {
    breaches.push(
      `${file} imports { z }: with "import * as z" bundles leave out what is not used, every language among it`,
    )
  }
}

for (const breach of new Set(breaches)) console.error(breach)
if (breaches.length > 0) process.exit(1)
console.log(`Imports of ${files.length} files follow the rules.`)
