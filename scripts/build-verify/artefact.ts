import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { parseSync } from 'oxc-parser'
import * as z from 'zod'
import type { Transport } from '../build/bundle.ts'

/** Gzipped, source map included, as much as a function may have. */
const MAX_GZIPPED_BYTES = 2_500_000

const DRIVERS = { websocket: /^(@neondatabase\/|@prisma\/adapter-neon$)/, tcp: /^(pg($|-)|@prisma\/adapter-pg$)/ }

export interface Artefact {
  gzippedBytes: number
  /** Names of the packages that have a part in it. */
  packages: string[]
  /** Empty if it may be deployed. */
  problems: string[]
}

const lockSchema = z.object({
  packages: z.record(z.string(), z.object({ dev: z.boolean().optional(), devOptional: z.boolean().optional() })),
})

const sourceMapSchema = z.object({ sources: z.array(z.string()) })

/** Looks at one built function from outside: what it weighs, what is in it, and what it will ask for when it runs. */
export async function inspectFunction(folder: string, transport: Transport): Promise<Artefact> {
  const names = await readdir(folder)
  const files = new Map<string, Buffer>()
  for (const name of names) files.set(name, await readFile(join(folder, name)))
  const gzippedBytes = sum(Array.from(files.values(), (bytes) => gzipSync(bytes, { level: 9 }).length))
  const lock = lockSchema.parse(JSON.parse(await readFile('package-lock.json', 'utf8')))
  const named = [...files].flatMap(([name, bytes]) => (name.endsWith('.map') ? packagesIn(bytes) : []))
  const packages = [...new Set(named)].filter((name) => lock.packages[`node_modules/${name}`] !== undefined)
  const other = DRIVERS[transport === 'tcp' ? 'websocket' : 'tcp']
  return {
    gzippedBytes,
    packages,
    problems: [
      ...(gzippedBytes > MAX_GZIPPED_BYTES ? [`more than ${MAX_GZIPPED_BYTES} bytes gzipped`] : []),
      ...packages
        .filter((name) => lock.packages[`node_modules/${name}`]?.dev)
        .map((name) => `${name} is for development`),
      ...packages.filter((name) => other.test(name)).map((name) => `${name} is of the other transport`),
      ...(packages.some((name) => DRIVERS[transport].test(name)) ? [] : [`no driver for ${transport}`]),
      ...[...files].flatMap(([name, bytes]) => (bytes.includes(process.cwd()) ? [`${name} names this folder`] : [])),
      ...[...files].flatMap(([name, bytes]) => (name.endsWith('.mjs') ? requests(name, bytes.toString(), names) : [])),
    ],
  }
}

const sum = (numbers: number[]) => numbers.reduce((total, number) => total + number, 0)

function packagesIn(sourceMap: Buffer): string[] {
  const { sources } = sourceMapSchema.parse(JSON.parse(sourceMap.toString()))
  return sources.flatMap((source) => /^(?:\.\.\/)+node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(source)?.[1] ?? [])
}

/** Whatever a module asks for that is neither beside it nor one of Node's own modules, or that cannot be told. */
function requests(file: string, text: string, beside: readonly string[]): string[] {
  const { program, module, errors } = parseSync(file, text)
  const found = errors.map(({ message }) => message)
  const imported = [
    ...module.staticImports.map(({ moduleRequest }) => moduleRequest.value),
    ...module.dynamicImports.map(({ moduleRequest: { start, end } }) =>
      text.slice(start, end).replace(/^['"](.*)['"]$/, '$1'),
    ),
  ]
  const isThere = (name: string) => name.startsWith('node:') || beside.some((other) => name === `./${other}`)
  found.push(...imported.filter((name) => !isThere(name)).map((name) => `imports ${name}`))
  visit(program, (name) => {
    if (name === 'require' || name === 'createRequire') found.push(`calls ${name}`)
  })
  return found.map((problem) => `${file} ${problem}`)
}

/** Tells the name of everything that is called. */
function visit(node: unknown, onCall: (name: unknown) => void): void {
  if (typeof node !== 'object' || node === null) return
  if ('type' in node && node.type === 'CallExpression' && 'callee' in node) onCall(nameOf(node.callee))
  for (const child of Object.values(node)) visit(child, onCall)
}

function nameOf(callee: unknown): unknown {
  if (typeof callee !== 'object' || callee === null) return undefined
  if ('property' in callee) return nameOf(callee.property)
  return 'name' in callee ? callee.name : undefined
}
