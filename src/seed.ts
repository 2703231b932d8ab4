import { hashPassword } from './auth/password.ts'
import type { Config } from './config.ts'
import type { Database } from './db/database.ts'

const users = [
  { id: 1, email: 'admin@dev.local', password: 'Admin123!', fullName: 'Ada Admin', role: 'admin' },
  { id: 2, email: 'user@dev.local', password: 'User1234!', fullName: 'Uma User', role: 'user' },
]

const products = [
  ['MUG-STONE-350', 'Stoneware mug, 350 ml', 'Speckled glaze, dishwasher safe.', 1490, 120],
  ['POUROVER-V2', 'Pour-over coffee dripper', 'Ceramic cone for one to four cups.', 2890, 45],
  ['GRINDER-HAND-38', 'Hand coffee grinder', '38 mm steel burrs, 25 g capacity.', 7900, 18],
  ['KETTLE-GOOSE-09', 'Gooseneck kettle, 0.9 l', 'Stove top, with a thermometer in the lid.', 5450, 22],
  ['BEANS-ETH-250', 'Ethiopia Guji, 250 g', 'Washed. Bergamot, peach, black tea.', 1350, 200],
  ['BEANS-COL-1000', 'Colombia Huila, 1 kg', 'Washed. Caramel, red apple, cocoa.', 3600, 60],
  ['FILTER-02-100', 'Paper filters 02, 100 pieces', 'Unbleached, compostable.', 690, 300],
  ['SCALE-TIMER-2K', 'Kitchen scale with timer', '2 kg by 0.1 g, USB-C.', 4290, 31],
  ['TEAPOT-GLASS-12', 'Glass teapot, 1.2 l', 'Borosilicate, with a steel strainer.', 3950, 16],
  ['TEA-SENCHA-100', 'Sencha, 100 g', 'First flush, Shizuoka.', 1890, 80],
  ['TOWEL-LINEN-2', 'Linen tea towels, set of two', 'Stonewashed, 50 x 70 cm.', 2450, 50],
  // One piece: the README shows what an order for two of it says.
  ['ESPRESSO-LEVER-1', 'Lever espresso machine', 'Refurbished, the last one.', 89_000, 1],
] as const

export interface Seeded {
  users: number
  products: number
}

/**
 * Adds the development users and products that are missing; what is there already stays as it is.
 * @returns how many were added
 * @throws {Error} in production
 */
export async function seed({ client }: Database, config: Config): Promise<Seeded> {
  if (config.production) throw new Error('Development data is never seeded when NODE_ENV is production.')
  const addedUsers = await client.user.createMany({
    data: await Promise.all(
      users.map(async ({ id, password, ...user }) => ({
        ...user,
        id: seedId(id),
        passwordHash: await hashPassword(password),
      })),
    ),
    skipDuplicates: true,
  })
  const addedProducts = await client.product.createMany({
    data: products.map(([sku, name, description, priceCents, stock], index) => {
      return { id: seedId(101 + index), sku, name, description, priceCents, stock }
    }),
    skipDuplicates: true,
  })
  return { users: addedUsers.count, products: addedProducts.count }
}

const seedId = (n: number) => `00000000-0000-0000-0000-${String(n).padStart(12, '0')}`
