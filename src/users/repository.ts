import type { DatabaseHandle } from '../db/database.ts'
import { Repository, type RepositoryDefinition } from '../db/repository.ts'

const definition = {
  model: 'User',
  filterable: ['email', 'fullName', 'role', 'isActive', 'createdAt'],
  sortable: { createdAt: 'required', email: 'required', fullName: 'required' },
  keptBy: ['orders'],
} as const satisfies RepositoryDefinition<'User'>

export class UserRepository extends Repository<typeof definition> {
  constructor(handle: DatabaseHandle) {
    super(handle, definition)
  }

  /** @param email in lower case, as it is stored */
  findByEmail(email: string) {
    return this.findOne({ email: { eq: email } })
  }
}
