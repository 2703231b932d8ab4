// Walks through all products of the database in the environment, and prints what that took.
import { readConfig } from '../../src/config.ts'
import { Database } from '../../src/db/database.ts'
import { Repository } from '../../src/db/repository.ts'

const database = new Database(readConfig(process.env).database)
const products = new Repository(database.client, { model: 'Product', filterable: [], sortable: {} })
await products.exists({})

const rssBefore = process.memoryUsage.rss()
let rows = 0
let sum = 0
for await (const { priceCents } of products.iterate()) {
  rows += 1
  sum += priceCents
}
// Of the operating system, in KiB: the most there ever was, not what happens to be left.
const grownBytes = process.resourceUsage().maxRSS * 1024 - rssBefore
await database.close()
console.log(JSON.stringify({ rows, sum, grownBytes }))
