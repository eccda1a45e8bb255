/** Files of credentials: what is taken, what is refused, and what a change of them does. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { verifierOf } from '@understudy/protocol'
import {
  addGrant,
  credentialFromEnvironment,
  makeCredential,
  readCredential,
  readGrants,
  removeGrant,
  writeCredential,
} from '../src/index.ts'

const KEY = Buffer.alloc(32, 1).toString('base64url')
const GRANT = { name: 'b', roles: ['read'], storedKey: KEY, serverKey: KEY }
const INVALID = expect.objectContaining({ code: 'CREDENTIALS_INVALID' })

let folder = ''
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'understudy-credentials-'))))
afterEach(() => rmSync(folder, { recursive: true }))

function file(content: unknown, mode = 0o600): string {
  const path = join(folder, 'file.json')
  rmSync(path, { force: true })
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content), { mode })
  chmodSync(path, mode)
  return path
}

const list = (...credentials: unknown[]) => ({ version: 1, credentials })

test('a credential that was made is let in by the list it was added to', () => {
  const own = join(folder, 'b.json')
  const all = join(folder, 'all.json')
  const expires = new Date('2030-01-01T00:00:00Z')
  const { credential, entry } = makeCredential({
    name: 'b',
    roles: ['replicate', 'snapshot'],
    nodes: ['b', 'c'],
    expires,
  })
  writeCredential(own, credential)
  addGrant(all, entry)
  for (const path of [own, all]) expect(statSync(path).mode & 0o777).toBe(0o600)
  const read = readCredential(own)
  if (!('secret' in read)) throw new Error('no secret')
  const grant = readGrants(all).find('b')
  expect(grant).toEqual({
    name: 'b',
    roles: ['replicate', 'snapshot'],
    nodes: ['b', 'c'],
    expiresAt: expires.getTime(),
    verifier: verifierOf(read.secret),
  })
  // The list of a listener does not hold the secret.
  expect(readFileSync(all, 'utf8')).not.toContain(Buffer.from(read.secret).toString('base64url'))
  const again = makeCredential({ name: 'b', roles: ['read'] }).credential
  expect('secret' in again && Buffer.from(again.secret).equals(read.secret)).toBe(false)
})

test('a certificate takes the place of a secret', () => {
  const { credential, entry } = makeCredential({
    name: 'b',
    roles: ['read'],
    identities: ['URI:understudy://b'],
  })
  writeCredential(join(folder, 'b.json'), credential)
  addGrant(join(folder, 'all.json'), entry)
  expect(readCredential(join(folder, 'b.json'))).toEqual({ name: 'b', certificate: true })
  expect(readGrants(join(folder, 'all.json')).find('b')).toEqual({
    name: 'b',
    roles: ['read'],
    identities: ['URI:understudy://b'],
  })
})

test('nothing is overwritten or added twice, and no link is followed', () => {
  const { credential, entry } = makeCredential({ name: 'b', roles: ['read'] })
  const own = join(folder, 'b.json')
  writeCredential(own, credential)
  const before = readFileSync(own, 'utf8')
  expect(() => writeCredential(own, makeCredential({ name: 'b', roles: ['read'] }).credential)).toThrow(
    INVALID,
  )
  expect(readFileSync(own, 'utf8')).toBe(before)
  symlinkSync(join(folder, 'elsewhere'), join(folder, 'link.json'))
  expect(() => writeCredential(join(folder, 'link.json'), credential)).toThrow(INVALID)
  const all = join(folder, 'all.json')
  addGrant(all, entry)
  expect(() => addGrant(all, entry)).toThrow(INVALID)
})

test.each([0o640, 0o604, 0o620, 0o602])(
  'a file of mode %o is refused: others can read or write it',
  (mode) => {
    const path = file({ version: 1, name: 'b', secret: KEY }, mode)
    expect(() => readCredential(path)).toThrow(/chmod 600/)
    expect(() => readGrants(file(list(GRANT), mode))).toThrow(INVALID)
  },
)

describe('a list', () => {
  test('that changes is reread: who was taken out is not let in any more', () => {
    const path = file(list(GRANT, { ...GRANT, name: 'c' }))
    const grants = readGrants(path)
    expect(grants.find('b')).toMatchObject({ roles: ['read'] })
    removeGrant(path, 'b')
    expect(grants.find('b')).toBeUndefined()
    expect(grants.find('c')).toBeDefined()
    addGrant(path, makeCredential({ name: 'd', roles: ['write'] }).entry)
    expect(grants.find('d')).toBeDefined()
    expect(() => removeGrant(path, 'b')).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
  })

  test('that becomes wrong, unreadable or missing is not taken: the one before stays, and the problem is told until it is mended', () => {
    const path = file(list(GRANT))
    const grants = readGrants(path)
    file('{')
    expect(grants.find('b')).toBeDefined()
    expect(grants.problem).toMatchObject({ code: 'CREDENTIALS_INVALID' })
    rmSync(path)
    expect(grants.find('b')).toBeDefined()
    expect(grants.problem).toMatchObject({ code: 'CREDENTIALS_INVALID' })
    file(list({ ...GRANT, name: 'c' }), 0o644)
    expect(grants.find('c')).toBeUndefined()
    chmodSync(path, 0o600)
    expect(grants.find('c')).toBeDefined()
    expect(grants.problem).toBeUndefined()
  })

  test.each([
    ['no JSON', '{"version": 1, SECRET'],
    ['a list', []],
    ['another version', { version: 2, credentials: [] }],
    ['no credentials', { version: 1 }],
    ['an unknown field', { ...list(), user: 'SECRET' }],
    ['an unknown field of a credential', list({ ...GRANT, role: 'SECRET' })],
    ['an unknown role', list({ ...GRANT, roles: ['SECRET'] })],
    ['no roles', list({ ...GRANT, roles: [] })],
    ['no name', list({ ...GRANT, name: '' })],
    ['a name twice', list(GRANT, GRANT)],
    ['a short key', list({ ...GRANT, storedKey: 'SECRET' })],
    ['one key alone', list({ name: 'b', roles: ['read'], storedKey: KEY })],
    ['no proof', list({ name: 'b', roles: ['read'] })],
    ['an expiry that is no time', list({ ...GRANT, expires: 'SECRET' })],
    ['identities that are no list', list({ ...GRANT, identities: 'SECRET' })],
    ['null', list(null)],
  ])('with %s is refused, and the message quotes nothing of it', (_, content) => {
    const path = file(content)
    expect(() => readGrants(path)).toThrow(INVALID)
    try {
      readGrants(path)
    } catch (error) {
      expect(String(error)).not.toContain('SECRET')
      expect(inspect(error)).not.toContain('SECRET')
    }
  })
})

describe('the own credential', () => {
  test.each([
    ['no secret', { version: 1, name: 'b' }],
    ['a password', { version: 1, name: 'b', secret: 'SECRET' }],
    ['both proofs', { version: 1, name: 'b', secret: KEY, certificate: true }],
    ['a field too many', { version: 1, name: 'b', secret: KEY, roles: ['SECRET'] }],
    ['no name', { version: 1, secret: KEY }],
  ])('with %s is refused', (_, content) => {
    const path = file(content)
    expect(() => readCredential(path)).toThrow(INVALID)
    expect(() => readCredential(path)).not.toThrow(/SECRET/)
  })

  test('comes from the environment, by path or by value, not by both', () => {
    expect(credentialFromEnvironment({})).toBeUndefined()
    const path = file({ version: 1, name: 'b', secret: KEY })
    const expected = { name: 'b', secret: new Uint8Array(32).fill(1) }
    expect(credentialFromEnvironment({ UNDERSTUDY_CREDENTIAL_FILE: path })).toEqual(expected)
    expect(credentialFromEnvironment({ UNDERSTUDY_CREDENTIAL: `b:${KEY}` })).toEqual(expected)
    expect(() =>
      credentialFromEnvironment({ UNDERSTUDY_CREDENTIAL: `b:${KEY}`, UNDERSTUDY_CREDENTIAL_FILE: path }),
    ).toThrow(INVALID)
    for (const value of ['SECRET', ':SECRET', `b:${KEY}x`, 'b:'])
      expect(() => credentialFromEnvironment({ UNDERSTUDY_CREDENTIAL: value })).toThrow(INVALID)
    expect(() => credentialFromEnvironment({ UNDERSTUDY_CREDENTIAL: 'SECRET' })).not.toThrow(/SECRET/)
  })
})
