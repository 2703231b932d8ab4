#!/usr/bin/env node
// The executable of scripts/schema-engine/: Node 20 cannot run TypeScript by itself.
import { register } from 'tsx/esm/api'

// The CLI reads stderr as JSON lines, which Node's warnings are not.
process.removeAllListeners('warning')
register()
await import('./schema-engine/main.ts')
