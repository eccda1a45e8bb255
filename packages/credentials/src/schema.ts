/**
 * What stands in a file of credentials: JSON, version 1.
 *
 * Of whoever is let in (`readGrants`):
 *
 *     { "version": 1, "credentials": [ { "name": "b", "roles": ["replicate", "snapshot"],
 *       "storedKey": "…", "serverKey": "…", "identities": ["URI:understudy://b"], "nodes": ["b"], "expires": "2027-01-01T00:00:00Z" } ] }
 *
 * Of one end itself (`readCredential`): `{ "version": 1, "name": "b", "secret": "…" }`, or with `"certificate": true`
 * in place of the secret. Keys and secrets are 32 bytes in base64url.
 *
 * A field that is not known is an error: an option that protects must not be ignored because it was misspelt. Messages
 * never quote a value.
 */
import { ROLES, SECRET_BYTES, type Credential, type Grant, type Role } from '@understudy/protocol'

export interface GrantEntry {
  readonly name: string
  readonly roles: readonly Role[]
  readonly storedKey?: string
  readonly serverKey?: string
  readonly identities?: readonly string[]
  readonly nodes?: readonly string[]
  readonly expires?: string
}

/** A fault, in words that continue "The file …". */
export class Fault extends Error {}

const VERSION = 1
const GRANT_FIELDS = new Set(['name', 'roles', 'storedKey', 'serverKey', 'identities', 'nodes', 'expires'])

export function parseGrants(text: string): Grant[] {
  return parseEntries(text).map((entry) => toGrant(entry))
}

/** The entries as they stand there, checked. */
export function parseEntries(text: string): GrantEntry[] {
  const file = objectOf(text)
  only(file, new Set(['version', 'credentials']), 'has')
  const list = file['credentials']
  if (!Array.isArray(list)) throw new Fault('has no list "credentials"')
  return list.map((entry: unknown, index) => checkEntry(entry, `has in credential ${index + 1}`))
}

export function formatEntries(entries: readonly GrantEntry[]): string {
  return `${JSON.stringify({ version: VERSION, credentials: entries }, null, 2)}\n`
}

export function parseCredential(text: string): Credential {
  const file = objectOf(text)
  only(file, new Set(['version', 'name', 'secret', 'certificate']), 'has')
  const name = textOf(file['name'], 'has a "name" that')
  if (file['certificate'] === true && file['secret'] === undefined) return { name, certificate: true }
  if (file['certificate'] !== undefined)
    throw new Fault('has a "certificate" that is not true, or beside a "secret"')
  return { name, secret: bytesOf(file['secret'], 'has a "secret" that') }
}

export function formatCredential(credential: Credential): string {
  const proof =
    'secret' in credential
      ? { secret: Buffer.from(credential.secret).toString('base64url') }
      : { certificate: true }
  return `${JSON.stringify({ version: VERSION, name: credential.name, ...proof }, null, 2)}\n`
}

/** 32 bytes in base64url; `where` begins the words for a fault. */
export function bytesOf(value: unknown, where: string): Uint8Array {
  const bytes =
    typeof value === 'string' && /^[\w-]{43}$/.test(value) ? Buffer.from(value, 'base64url') : undefined
  if (bytes?.length !== SECRET_BYTES) throw new Fault(`${where} is not ${SECRET_BYTES} bytes in base64url`)
  return new Uint8Array(bytes)
}

function checkEntry(value: unknown, where: string): GrantEntry {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Fault(`${where} no object`)
  const entry = value as Record<string, unknown>
  only(entry, GRANT_FIELDS, where)
  textOf(entry['name'], `${where} a "name" that`)
  const roles = textsOf(entry['roles'], `${where} "roles" that`)
  for (const role of roles)
    if (!ROLES.includes(role as Role)) throw new Fault(`${where} a role that is none of ${ROLES.join(', ')}`)
  for (const field of ['identities', 'nodes'])
    if (entry[field] !== undefined) textsOf(entry[field], `${where} "${field}" that`)
  for (const field of ['storedKey', 'serverKey'])
    if (entry[field] !== undefined) bytesOf(entry[field], `${where} a "${field}" that`)
  if ((entry['storedKey'] === undefined) !== (entry['serverKey'] === undefined))
    throw new Fault(`${where} one of "storedKey" and "serverKey" without the other`)
  if (entry['storedKey'] === undefined && entry['identities'] === undefined)
    throw new Fault(`${where} neither keys nor "identities" of a certificate`)
  const { expires } = entry
  if (expires !== undefined && (typeof expires !== 'string' || !Number.isFinite(Date.parse(expires))))
    throw new Fault(`${where} an "expires" that is no time, such as 2027-01-01T00:00:00Z`)
  return entry as unknown as GrantEntry
}

function toGrant({ name, roles, storedKey, serverKey, identities, nodes, expires }: GrantEntry): Grant {
  return {
    name,
    roles,
    ...(storedKey !== undefined && {
      verifier: { storedKey: bytesOf(storedKey, ''), serverKey: bytesOf(serverKey, '') },
    }),
    ...(identities && { identities }),
    ...(nodes && { nodes }),
    ...(expires !== undefined && { expiresAt: Date.parse(expires) }),
  }
}

function objectOf(text: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // The error of JSON.parse quotes what it read.
    throw new Fault('is no JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Fault('is no JSON object')
  const file = value as Record<string, unknown>
  if (file['version'] !== VERSION) throw new Fault(`is not of version ${VERSION}`)
  return file
}

function only(value: Record<string, unknown>, fields: ReadonlySet<string>, where: string): void {
  for (const field of Object.keys(value))
    if (!fields.has(field))
      throw new Fault(`${where} a field that is not known; the fields are ${[...fields].join(', ')}`)
}

function textOf(value: unknown, where: string): string {
  if (typeof value !== 'string' || value === '' || Buffer.byteLength(value) > 255)
    throw new Fault(`${where} is no text of 1 to 255 bytes`)
  return value
}

function textsOf(value: unknown, where: string): string[] {
  if (
    !Array.isArray(value) ||
    value.length === 0 ||
    !value.every((each) => typeof each === 'string' && each !== '')
  )
    throw new Fault(`${where} are no list of texts`)
  return value as string[]
}
