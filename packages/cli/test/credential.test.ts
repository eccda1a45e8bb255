/** Credentials by the command line: made, shown without their secrets, taken out; and a node that asks for them. */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { CommandProcess, list, run, temporaryFolder, text } from './helpers.ts'

let folder = ''
beforeEach(() => (folder = temporaryFolder()))
afterEach(() => vi.unstubAllEnvs())

const all = (): string => join(folder, 'all.json')
const own = (name: string): string => join(folder, `${name}.json`)

async function add(name: string, roles: string, ...more: string[]): Promise<string> {
  const { code, error } = await run(
    'credential',
    'add',
    all(),
    name,
    '--roles',
    roles,
    '--out',
    own(name),
    ...more,
  )
  expect({ code, error }).toEqual({ code: 0, error: [] })
  return own(name)
}

describe('understudy credential', () => {
  test('makes a private file with the secret, and shows it nowhere', async () => {
    const { out } = await run(
      'credential',
      'add',
      all(),
      'b',
      '--roles',
      'replicate,snapshot',
      '--out',
      own('b'),
    )
    const { secret } = JSON.parse(readFileSync(own('b'), 'utf8')) as { secret: string }
    expect(statSync(own('b')).mode & 0o777).toBe(0o600)
    const listed = await run('credential', 'list', all())
    const listedJson = await run('credential', 'list', all(), '--json')
    for (const lines of [out, listed.out, listedJson.out, [readFileSync(all(), 'utf8')]])
      expect(lines.join('\n')).not.toContain(secret)
    expect(list(listedJson.json['credentials'])).toEqual([
      {
        name: 'b',
        roles: ['replicate', 'snapshot'],
        nodes: ['b'],
        proof: 'secret',
        identities: [],
        expires: null,
      },
    ])
  })

  test('takes names of a certificate, node names and an expiry', async () => {
    await add(
      'ops',
      'admin',
      '--certificate',
      'URI:understudy://ops',
      '--nodes',
      'x,y',
      '--expires',
      '2030-01-01',
    )
    expect(list((await run('credential', 'list', all(), '--json')).json['credentials'])).toEqual([
      {
        name: 'ops',
        roles: ['admin'],
        nodes: ['x', 'y'],
        proof: 'certificate',
        identities: ['URI:understudy://ops'],
        expires: '2030-01-01T00:00:00.000Z',
      },
    ])
    expect((await run('credential', 'list', all())).out.join('\n')).toContain(
      'certificate: URI:understudy://ops',
    )
  })

  test('overwrites nothing, and says so without a stack trace', async () => {
    await add('b', 'read')
    const before = readFileSync(all(), 'utf8')
    const again = await run('credential', 'add', all(), 'b', '--roles', 'write', '--out', own('b2'))
    expect(again).toMatchObject({
      code: 1,
      error: [expect.stringMatching(/^CREDENTIALS_INVALID .*knows b already/)],
    })
    const other = await run('credential', 'add', all(), 'c', '--roles', 'write', '--out', own('b'))
    expect(other).toMatchObject({ code: 1, error: [expect.stringContaining('exists and was kept')] })
    expect(readFileSync(all(), 'utf8')).toBe(before)
    expect((await run('credential', 'remove', all(), 'b')).out).toEqual(['removed b'])
    expect((await run('credential', 'remove', all(), 'b')).code).toBe(1)
  })

  test.each([
    ['--roles', 'root'],
    ['--roles', 'read,,write'],
    ['--expires', 'soon'],
  ])('%s %s is a mistake in the command line', async (option, value) => {
    const roles = option === '--roles' ? [] : ['--roles', 'read']
    const { code } = await run('credential', 'add', all(), 'b', '--out', own('b'), ...roles, option, value)
    expect(code).toBe(2)
  })
})

test('a leader with credentials lets in its follower and each command by its role', async () => {
  const b = await add('b', 'replicate,snapshot')
  const app = await add('app', 'read,write')
  const ops = await add('ops', 'read,admin')
  const listen = 'tcp://127.0.0.1:0'
  const leader = new CommandProcess(
    'start',
    '--name',
    'a',
    '--directory',
    join(folder, 'a'),
    '--listen',
    listen,
    '--credentials',
    all(),
    '--json',
  )
  const address = text((await leader.event('ready'))['address'])
  const table = 'create table note (id integer primary key, body text)'
  expect((await run('sql', address, table, '--credential', app)).code).toBe(0)
  const follower = new CommandProcess(
    'start',
    '--name',
    'b',
    '--directory',
    join(folder, 'b'),
    '--leader',
    address,
    '--listen',
    listen,
    '--credential',
    b,
    '--compression',
    '--json',
  )
  const second = text((await follower.event('ready'))['address'])
  vi.stubEnv('UNDERSTUDY_CREDENTIAL_FILE', app)
  expect((await run('sql', address, "insert into note (body) values ('x')")).code).toBe(0)
  vi.unstubAllEnvs()
  // No credential, the wrong role, the right one.
  expect((await run('status', address, '--json')).json).toMatchObject({
    ok: false,
    nodes: [{ error: { code: 'AUTHENTICATION_REQUIRED' } }],
  })
  expect(await run('slots', address, '--credential', app)).toMatchObject({
    code: 1,
    error: [expect.stringMatching(/^FORBIDDEN /)],
  })
  expect(list((await run('slots', address, '--credential', ops, '--json')).json['slots'])).toMatchObject([
    { name: 'b' },
    { name: 'local' },
  ])
  expect((await leader.event('refused'))['error']).toMatchObject({ code: 'AUTHENTICATION_REQUIRED' })
  // A follower without a list asks nobody for a credential, and cannot prove anything to who brings one.
  expect((await run('status', second, '--credential', ops, '--json')).json).toMatchObject({
    nodes: [{ error: { code: 'AUTHENTICATION_FAILED' } }],
  })
  expect((await run('status', second)).code).toBe(0)
})

test('a file of credentials that others can read starts nothing', async () => {
  const b = await add('b', 'read')
  const { chmodSync } = await import('node:fs')
  chmodSync(b, 0o644)
  expect(await run('status', 'tcp://127.0.0.1:1', '--credential', b)).toMatchObject({
    code: 1,
    error: [expect.stringMatching(/^CREDENTIALS_INVALID .*chmod 600/)],
  })
})
