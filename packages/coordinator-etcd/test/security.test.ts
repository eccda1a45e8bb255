/** TLS, client certificates, users and roles; and what is refused before anything is sent. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { keepLeases } from '@understudy/coordination'
import { etcdCoordinator, type EtcdCoordinatorOptions } from '@understudy/coordinator-etcd'
import { certificateFiles, certificateTexts, pem } from '@understudy/testkit/certificates'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { HAS_ETCD, post, startEtcd, WHY_SKIPPED } from './support/etcd.ts'
import { Watched } from './support/watched.ts'

if (!HAS_ETCD) process.stderr.write(`skipped: ${WHY_SKIPPED}\n`)

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'etcd-security-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

async function observed(options: Omit<EtcdCoordinatorOptions, 'cluster'>): Promise<unknown> {
  await using coordinator = etcdCoordinator({ cluster: 'c', ...options })
  return await coordinator.observe({ timeoutMs: 4000 }).catch((error: unknown) => error)
}

const NOTHING = expect.objectContaining({ revision: '0' }) as unknown
const failing = (code: string): Error => expect.objectContaining({ code }) as Error

describe.skipIf(!HAS_ETCD)('TLS', () => {
  const serverArguments = (asksForCertificates: boolean): string[] => {
    const { cert, key, ca } = certificateFiles(join(folder, 'server'), 'server')
    // With an authority etcd asks every client for a certificate.
    const asking = asksForCertificates ? ['--client-cert-auth=true', '--trusted-ca-file', ca.file] : []
    return ['--cert-file', cert.file, '--key-file', key.file, ...asking]
  }

  test('the members prove who they are', async () => {
    await using etcd = await startEtcd({ clientScheme: 'https', arguments: serverArguments(false) })
    const { endpoints } = etcd
    expect(await observed({ endpoints, tls: { ca: pem('ca') } })).toEqual(NOTHING)
    expect(await observed({ endpoints, tls: { ca: pem('other-ca') } })).toEqual(failing('TLS_FAILED'))
    const elsewhere = { ca: pem('ca'), serverName: 'etcd.example' }
    expect(await observed({ endpoints, tls: elsewhere })).toEqual(failing('TLS_FAILED'))
    const plain = endpoints.map((endpoint) => endpoint.replace('https:', 'http:'))
    expect(await observed({ endpoints: plain })).toEqual(failing('COORDINATOR_UNAVAILABLE'))
  })

  test('and ask for a certificate of this side, in the thread of a keeper too', async () => {
    await using etcd = await startEtcd({ clientScheme: 'https', arguments: serverArguments(true) })
    const { endpoints } = etcd
    const { ca } = certificateTexts('client')
    expect(await observed({ endpoints, tls: { ca } })).toEqual(failing('TLS_FAILED'))
    expect(await observed({ endpoints, tls: certificateTexts('stranger') })).toEqual(failing('TLS_FAILED'))
    const tls = certificateFiles(join(folder, 'client'), 'client')
    expect(await observed({ endpoints, tls })).toEqual(NOTHING)
    await using coordinator = etcdCoordinator({ endpoints, cluster: 'c', tls })
    await using keeper = await keepLeases({ coordinator, ttlMs: 2000 })
    const lease = await keeper.acquire({ holder: 'a', epoch: 1 })
    expect(lease.isValid()).toBe(true)
    expect((await coordinator.observe()).lease?.holder).toBe('a')
  })

  test('what does not go together is refused before anything is sent', () => {
    const make = (options: Partial<EtcdCoordinatorOptions>) => () =>
      etcdCoordinator({ endpoints: ['https://127.0.0.1:1'], cluster: 'c', ...options })
    expect(make({})).toThrow(failing('INVALID_ARGUMENT'))
    expect(make({ endpoints: [] })).toThrow(failing('INVALID_ARGUMENT'))
    expect(make({ endpoints: ['http://etcd.example:2379'] })).toThrow(failing('INSECURE_ADDRESS'))
    expect(make({ endpoints: ['http://10.0.0.1:2379'] })).toThrow(failing('INSECURE_ADDRESS'))
    expect(make({ endpoints: ['http://127.0.0.1:2379/x'] })).toThrow(failing('ADDRESS_INVALID'))
    expect(make({ endpoints: ['http://a:b@127.0.0.1:2379'] })).toThrow(failing('ADDRESS_INVALID'))
    expect(make({ endpoints: ['tcp://127.0.0.1:2379'] })).toThrow(failing('ADDRESS_INVALID'))
    expect(make({ tls: { ca: 'no certificate' } })).toThrow(failing('TLS_FAILED'))
    expect(make({ tls: certificateTexts('expired') })).toThrow(failing('TLS_FAILED'))
    for (const cluster of ['', 'a/b', '../x', '-'])
      expect(make({ cluster, endpoints: ['http://127.0.0.1:1'] })).toThrow(failing('INVALID_ARGUMENT'))
  })
})

describe.skipIf(!HAS_ETCD)('users', () => {
  /** A user `node` who may do everything with the keys of cluster `c`. */
  async function enableAuthentication(url: string): Promise<void> {
    const prefix = { key: base64('/understudy/c/'), range_end: base64('/understudy/c0') }
    const steps: [string, unknown][] = [
      ['user/add', { name: 'root', password: 'r' }],
      ['role/add', { name: 'root' }],
      ['user/grant', { user: 'root', role: 'root' }],
      ['user/add', { name: 'node', password: 'sesame' }],
      ['role/add', { name: 'understudy' }],
      ['role/grant', { name: 'understudy', perm: { permType: 'READWRITE', ...prefix } }],
      ['user/grant', { user: 'node', role: 'understudy' }],
      ['enable', {}],
    ]
    for (const [path, body] of steps) expect(await post(url, `/v3/auth/${path}`, body)).toBeDefined()
  }
  const base64 = (text: string): string => Buffer.from(text).toString('base64')

  test('who may do what', async () => {
    await using etcd = await startEtcd()
    const { endpoints } = etcd
    const user = { name: 'node', password: 'sesame' }
    // A security option that cannot be honoured is an error.
    expect(await observed({ endpoints, user })).toEqual(failing('AUTHENTICATION_FAILED'))
    await enableAuthentication(endpoints[0]!)
    expect(await observed({ endpoints })).toEqual(failing('AUTHENTICATION_FAILED'))
    expect(await observed({ endpoints, user: { ...user, password: 'x' } })).toEqual(
      failing('AUTHENTICATION_FAILED'),
    )
    expect(await observed({ endpoints, user })).toEqual(NOTHING)
    await using foreign = etcdCoordinator({ endpoints, cluster: 'd', user })
    await expect(foreign.observe()).rejects.toMatchObject({ code: 'FORBIDDEN' })
    await expect(foreign.acquire({ holder: 'a', epoch: 1, ttlMs: 500 })).rejects.toMatchObject({
      code: 'FORBIDDEN',
    })

    const file = join(folder, 'password')
    writeFileSync(file, 'sesame\n', { mode: 0o644 })
    expect(await observed({ endpoints, user: { ...user, password: { file } } })).toEqual(
      failing('CREDENTIALS_INVALID'),
    )
    spawnSync('chmod', ['600', file])
    expect(await observed({ endpoints, user: { ...user, password: { file } } })).toEqual(NOTHING)
  })

  test('a login that a member has forgotten is done again, and a watch goes on', async () => {
    await using etcd = await startEtcd()
    const { endpoints } = etcd
    await enableAuthentication(endpoints[0]!)
    const user = { name: 'node', password: 'sesame' }
    await using coordinator = etcdCoordinator({ endpoints, cluster: 'c', user })
    const lease = await coordinator.acquire({ holder: 'a', epoch: 1, ttlMs: 60_000 })
    const [member] = etcd.members
    await member!.kill()
    member!.start()
    await lease.renew({ timeoutMs: 20_000 })
    // Another state of the users: tokens of the one before are refused.
    const admin = await post(endpoints[0]!, '/v3/auth/authenticate', { name: 'root', password: 'r' })
    const added = await fetch(new URL('/v3/auth/user/add', endpoints[0]), {
      method: 'POST',
      headers: { authorization: String(admin?.['token']) },
      body: JSON.stringify({ name: 'x', password: 'x' }),
    })
    expect(added.ok).toBe(true)
    await lease.renew()
    const watched = new Watched()
    coordinator.watch(watched.watcher)
    await watched.until(({ observed }) => observed.length > 0)
    const { beat } = watched.last!.lease!
    await lease.renew()
    await watched.until(({ last }) => last?.lease?.beat !== beat)
    await lease.release()
  })
})

describe('servers that are not etcd', () => {
  let server: Server

  async function serve(answer: (path: string) => { status: number; body: string }): Promise<string[]> {
    server = createServer((request, response) => {
      request.resume()
      const { status, body } = answer(request.url ?? '')
      response.writeHead(status, { 'content-type': 'application/json' }).end(body)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    return [`http://127.0.0.1:${(server.address() as AddressInfo).port}`]
  }
  afterEach(async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })

  test.each([
    ['knows no such path', 404, 'not found', 'COORDINATOR_UNSUITABLE'],
    ['answers with no JSON', 200, '<html>', 'COORDINATOR_UNAVAILABLE'],
    ['answers with another JSON', 200, '[]', 'COORDINATOR_UNAVAILABLE'],
    ['answers without a header', 200, '{}', 'COORDINATOR_UNAVAILABLE'],
    [
      'answers with keys that are none',
      200,
      '{"header":{"revision":"1"},"kvs":[7]}',
      'COORDINATOR_UNAVAILABLE',
    ],
    ['is a proxy whose etcd is gone', 502, 'bad gateway', 'COORDINATOR_UNAVAILABLE'],
    ['answers without end', 200, ' '.repeat(5 * 1024 * 1024), 'COORDINATOR_UNAVAILABLE'],
  ])('one that %s', async (_name, status, body, code) => {
    const endpoints = await serve(() => ({ status, body }))
    await using coordinator = etcdCoordinator({ endpoints, cluster: 'c' })
    await expect(coordinator.observe({ timeoutMs: 300 })).rejects.toMatchObject({ code })
  })

  test('a change that was answered by nonsense is uncertain', async () => {
    const endpoints = await serve((path) =>
      path.endsWith('range')
        ? { status: 200, body: '{"header":{"revision":"1"}}' }
        : { status: 500, body: 'oops' },
    )
    await using coordinator = etcdCoordinator({ endpoints, cluster: 'c' })
    const acquiring = coordinator.acquire({ holder: 'a', epoch: 1, ttlMs: 500, timeoutMs: 300 })
    await expect(acquiring).rejects.toMatchObject({ code: 'COORDINATOR_UNCERTAIN' })
  })
})
