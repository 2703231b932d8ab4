import { sha256 } from '../sha256.ts'

/** Compares in a time that tells nothing of the secret: digests have one length, and all of both is looked at. */
export async function isSecret(given: string, secret: string): Promise<boolean> {
  const [left, right] = await Promise.all([sha256(given), sha256(secret)])
  let difference = 0
  for (let index = 0; index < right.length; index++) difference |= left.charCodeAt(index) ^ right.charCodeAt(index)
  return difference === 0
}
