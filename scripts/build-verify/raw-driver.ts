// The least that can serve a list: Hono and Neon's pool, nothing else. What our function's start is measured against.
import { neonConfig, Pool } from '@neondatabase/serverless'
import { Hono } from 'hono'

neonConfig.wsProxy = (host, port) => `${process.env['NEON_WS_PROXY']}/v1?address=${host}:${port}`
neonConfig.useSecureWebSocket = false
neonConfig.pipelineTLS = false
neonConfig.pipelineConnect = false

const pool = new Pool({ connectionString: process.env['DATABASE_URL'] ?? '' })
const app = new Hono()

app.get('/api/v1/products', async (c) => {
  const { rows } = await pool.query(
    `SELECT id, sku, name, description, price_cents, stock, created_at, updated_at, deleted_at
     FROM products WHERE deleted_at IS NULL ORDER BY created_at DESC, id DESC LIMIT 21`,
  )
  return c.json({ data: rows })
})

// biome-ignore lint/style/noDefaultExport: a function's handler is its default export
export default app
