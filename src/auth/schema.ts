import * as z from 'zod'
import { text } from '../http/validation.ts'

/** Longer passwords are refused rather than hashed: hashing is the expensive part of a login. */
const MAX_PASSWORD_LENGTH = 200

export const credentialsSchema = z.strictObject({
  email: text(1, 255).toLowerCase(),
  password: text(1, MAX_PASSWORD_LENGTH),
})
