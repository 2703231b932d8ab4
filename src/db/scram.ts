/** What SCRAM asks of a client once the server has spoken. */
export interface ScramAnswer {
  /** client-final-message */
  message: string
  /** What the server must prove to know, in base64. */
  serverSignature: string
}

/**
 * Answers the server's first message of a SCRAM-SHA-256 log-in, with Web Crypto alone.
 * Source: https://www.rfc-editor.org/rfc/rfc5802#section-3
 * @throws {Error} if the message is not what the protocol asks for
 */
export async function answerScram(password: string, clientNonce: string, serverFirst: string): Promise<ScramAnswer> {
  const { r: nonce = '', s: salt = '', i: iterations = '' } = attributes(serverFirst)
  if (!nonce.startsWith(clientNonce) || nonce.length === clientNonce.length || !/^[1-9]\d{0,8}$/.test(iterations)) {
    throw new Error('The server broke the rules of SCRAM')
  }
  const { subtle } = crypto
  const secret = await subtle.importKey('raw', encode(password), 'PBKDF2', false, ['deriveBits'])
  const derivation = { name: 'PBKDF2', hash: 'SHA-256', salt: fromBase64(salt), iterations: Number(iterations) }
  const saltedPassword = await subtle.deriveBits(derivation, secret, 256)

  const clientKey = await sign(saltedPassword, 'Client Key')
  const storedKey = await subtle.digest('SHA-256', clientKey)
  const withoutProof = `c=biws,r=${nonce}`
  const exchange = `n=*,r=${clientNonce},${serverFirst},${withoutProof}`
  const clientSignature = await sign(storedKey, exchange)
  const proof = clientKey.map((byte, index) => byte ^ (clientSignature[index] ?? 0))
  const serverKey = await sign(saltedPassword, 'Server Key')
  const serverSignature = await sign(serverKey, exchange)
  return { message: `${withoutProof},p=${toBase64(proof)}`, serverSignature: toBase64(serverSignature) }
}

async function sign(key: ArrayBuffer | Uint8Array<ArrayBuffer>, text: string): Promise<Uint8Array<ArrayBuffer>> {
  const hmac = await crypto.subtle.importKey('raw', key, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'])
  return new Uint8Array(await crypto.subtle.sign('HMAC', hmac, encode(text)))
}

function attributes(message: string): Partial<Record<string, string>> {
  return Object.fromEntries(message.split(',').map((pair) => [pair.slice(0, 1), pair.slice(2)]))
}

const encode = (text: string) => new TextEncoder().encode(text)
const fromBase64 = (text: string) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
const toBase64 = (bytes: Uint8Array) => btoa(String.fromCharCode(...bytes))
