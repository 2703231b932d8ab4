import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'

const VERCEL = 'vercel@60.1.3'

/** What a clone does not have. */
const NOT_CLONED = /^(node_modules|\.git|\.vercel|\.data|\.env|\.env\.local|dist|coverage|generated)$/

/** What `vercel link` would write: the CLI asks for nothing else before it builds. */
const project = {
  projectId: 'prj_local',
  orgId: 'team_local',
  settings: { framework: null, nodeVersion: '24.x' },
}

/**
 * Builds a copy of the checkout as Vercel does for production: by its own CLI, which installs the packages and runs the
 * build command. Nobody is logged in, and nothing but the npm registry is needed.
 * @param folder for the copy, which is gone afterwards, and for what comes of it
 * @returns the folder of the Build Output
 * @throws {Error} with what the CLI printed
 */
export async function buildWithVercel(folder: string, environment: Record<string, string>): Promise<string> {
  const checkout = join(folder, 'checkout')
  await cp('.', checkout, { recursive: true, filter: (path) => !NOT_CLONED.test(basename(path)) })
  await mkdir(join(checkout, '.vercel'))
  await writeFile(join(checkout, '.vercel/project.json'), JSON.stringify(project))
  const npm = ['exec', '--yes', `--package=${VERCEL}`, '--', 'vercel', 'build', '--prod', '--yes']
  await run('npm', [...npm, '--cwd', checkout, '--global-config', join(folder, 'vercel')], {
    ...withoutSettings(process.env),
    ...environment,
    VERCEL_TELEMETRY_DISABLED: '1',
    VERCEL_ENV: 'production',
  })
  const output = join(folder, 'output')
  await rename(join(checkout, '.vercel/output'), output)
  await rm(checkout, { recursive: true })
  return output
}

/** A container at Vercel has none of the developer's settings. */
function withoutSettings(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(environment).filter(([name]) => !/^(DATABASE_|NEON_|VERCEL|NODE_ENV|PRISMA_)/.test(name)),
  )
}

async function run(program: string, args: string[], env: NodeJS.ProcessEnv): Promise<void> {
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} failed:\n${output}`)
}
