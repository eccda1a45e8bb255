/** Making credentials: a random secret for one end, and the entry by which a listener knows it. */
import { existsSync } from 'node:fs'
import { UnderstudyError, systemRandom, type Random } from '@understudy/contracts'
import { SECRET_BYTES, verifierOf, type Credential, type Role } from '@understudy/protocol'
import { invalid, readPrivateFile, writePrivateFile } from './private-file.ts'
import { Fault, formatCredential, formatEntries, parseEntries, type GrantEntry } from './schema.ts'

export interface NewGrant {
  readonly name: string
  readonly roles: readonly Role[]
  /** Names of nodes it may follow as. Default: its own name. */
  readonly nodes?: readonly string[]
  /** Names in a certificate, in place of a secret. */
  readonly identities?: readonly string[]
  readonly expires?: Date
}

/** A new credential and its entry; a secret is in the first alone. */
export function makeCredential(
  grant: NewGrant,
  random: Random = systemRandom(),
): { readonly credential: Credential; readonly entry: GrantEntry } {
  const { name, roles, nodes, identities, expires } = grant
  const common = { name, roles, ...(nodes && { nodes }), ...(expires && { expires: expires.toISOString() }) }
  if (identities !== undefined)
    return { credential: { name, certificate: true }, entry: { ...common, identities } }
  const secret = new Uint8Array(Uint32Array.from({ length: SECRET_BYTES / 4 }, () => random.uint32()).buffer)
  const { storedKey, serverKey } = verifierOf(secret)
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64url')
  return {
    credential: { name, secret },
    entry: { ...common, storedKey: text(storedKey), serverKey: text(serverKey) },
  }
}

/** Throws `CREDENTIALS_INVALID` when the file exists: a credential is not overwritten. */
export function writeCredential(path: string, credential: Credential): void {
  writePrivateFile(path, formatCredential(credential), { exclusive: true })
}

/** Adds an entry to the list in a file, which is made when it is missing. Throws `CREDENTIALS_INVALID`; the file is as before then. */
export function addGrant(path: string, entry: GrantEntry): void {
  const entries = existsSync(path) ? read(path) : []
  if (entries.some(({ name }) => name === entry.name))
    throw invalid(
      path,
      `knows ${entry.name} already`,
      'Nothing was changed; take it out first, or choose another name.',
    )
  writeEntries(path, [...entries, entry])
}

/** Takes an entry out. Throws `INVALID_ARGUMENT` when there is none of that name, or `CREDENTIALS_INVALID`. */
export function removeGrant(path: string, name: string): void {
  const entries = read(path)
  const rest = entries.filter((entry) => entry.name !== name)
  if (rest.length === entries.length)
    throw new UnderstudyError('INVALID_ARGUMENT', `${path} knows no credential ${name}. Nothing was changed.`)
  writeEntries(path, rest)
}

function read(path: string): GrantEntry[] {
  return checked(path, readPrivateFile(path).text)
}

/** What was written can be read: checked before it replaces what is there. */
function writeEntries(path: string, entries: readonly GrantEntry[]): void {
  const text = formatEntries(entries)
  checked(path, text)
  writePrivateFile(path, text)
}

function checked(path: string, text: string): GrantEntry[] {
  try {
    return parseEntries(text)
  } catch (error) {
    if (error instanceof Fault) throw invalid(path, error.message, 'Nothing was changed; mend it first.')
    throw error
  }
}
