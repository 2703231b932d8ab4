// Runs in a fresh process: loads a function and has it answer one request. Prints the milliseconds that took.
import { pathToFileURL } from 'node:url'

const [handler = '', path = ''] = process.argv.slice(2)

const started = performance.now()
const { default: app }: { default: { fetch(request: Request): Promise<Response> } } = await import(
  pathToFileURL(handler).href
)
const response = await app.fetch(new Request(new URL(path, 'http://localhost')))
const body = await response.text()
const milliseconds = performance.now() - started

if (response.status !== 200) throw new Error(`${response.status} ${body}`)
process.stdout.write(`${milliseconds}\n`, () => process.exit())
