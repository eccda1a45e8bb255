/** How a cluster fails over, as the command line says it. */
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  etcdOf,
  failoverOf,
  hasFailover,
  memberOf,
  membersOf,
  openCoordinator,
} from '../src/failover-options.ts'
import { run, temporaryFolder } from './helpers.ts'

const MEMBERS = ['a=tcp://127.0.0.1:7401', 'b=tcp://127.0.0.1:7402;priority=5', 'c=unix:///run/c;never']

describe('members', () => {
  test.each([
    ['a=tcp://10.0.0.1:7401', { name: 'a', address: 'tcp://10.0.0.1:7401' }],
    [' a = tcp://h:1 ; priority=-3 ', { name: 'a', address: 'tcp://h:1', priority: -3 }],
    ['a=ws://h/path?x=1;never', { name: 'a', address: 'ws://h/path?x=1', neverPromote: true }],
    ['a=tcp://h:1;never;priority=7', { name: 'a', address: 'tcp://h:1', neverPromote: true, priority: 7 }],
  ])('%s', (text, member) => {
    expect(memberOf(text)).toEqual(member)
  })

  test.each([
    ['a=', 'no address'],
    ['=tcp://h:1', 'no name'],
    ['tcp://h:1', 'no name'],
    ['a=tcp://h:1;priority=high', "the setting 'priority=high'"],
    ['a=tcp://h:1;allways', "the setting 'allways'"],
  ])('%s is refused', (text, why) => {
    expect(() => memberOf(text)).toThrow(why)
  })

  test('names alone are followers that count, not a cluster that fails over', () => {
    expect(hasFailover({ members: ['b', 'c'] })).toBe(false)
    expect(membersOf({ members: ['b', 'c'] })).toBeUndefined()
    expect(hasFailover({ members: MEMBERS })).toBe(true)
    expect(() => membersOf({ members: [...MEMBERS, 'd'] })).toThrow("The member 'd' has no name")
  })
})

describe('what would be ignored is refused', () => {
  test.each([
    [{ found: true }, '--found'],
    [{ coordinator: 'manual' }, '--coordinator'],
    [{ leaseMs: 500 }, '--lease-ms'],
    [{ observe: true, members: ['b'] }, '--observe'],
    [{ allowAsyncFailover: true }, '--allow-async-failover'],
    [{ etcdPasswordFile: 'x' }, '--etcd-password-file'],
  ])('%o without addresses of members', (options, option) => {
    expect(() => membersOf(options)).toThrow(`${option} says how a cluster fails over`)
  })

  test('options of etcd beside another coordinator', async () => {
    await expect(openCoordinator({ members: MEMBERS, etcdCluster: 'orders' })).rejects.toThrow(
      '--etcd-cluster is for etcd, and the coordinator is manual',
    )
  })
})

describe('options of the node', () => {
  test('what is not given is left to the defaults', () => {
    expect(failoverOf({ members: MEMBERS }, undefined)).toEqual({ members: MEMBERS.map(memberOf) })
  })

  test('all of it', () => {
    const options = {
      members: MEMBERS,
      leaseMs: 500,
      heartbeatMs: 50,
      observe: true,
      allowAsyncFailover: true,
    }
    expect(failoverOf(options, undefined)).toEqual({
      members: MEMBERS.map(memberOf),
      leaseMs: 500,
      heartbeatMs: 50,
      mode: 'observe',
      allowAsyncFailover: true,
    })
  })

  test('with etcd a lease outlives an election of its own, unless another one is asked for', () => {
    const options = { members: MEMBERS, coordinator: 'etcd:http://127.0.0.1:2379' }
    expect(failoverOf(options, undefined)).toMatchObject({ leaseMs: 3000 })
    expect(failoverOf({ ...options, leaseMs: 2000 }, undefined)).toMatchObject({ leaseMs: 2000 })
  })
})

describe('coordinators', () => {
  test('manual is none', async () => {
    expect(await openCoordinator({ members: MEMBERS })).toBeUndefined()
    expect(await openCoordinator({ members: MEMBERS, coordinator: 'manual' })).toBeUndefined()
  })

  test('a file of SQLite', async () => {
    const path = join(temporaryFolder(), 'coordinator.db')
    await using coordinator = await openCoordinator({ members: MEMBERS, coordinator: `sqlite:${path}` })
    expect(coordinator?.kind).toBe('sqlite')
  })

  test('etcd, with files for what is secret', () => {
    const options = {
      etcdCluster: 'orders',
      etcdUser: 'understudy',
      etcdPasswordFile: '/etc/password',
      etcdCa: 'ca.pem',
      etcdCert: 'crt.pem',
      etcdKey: 'key.pem',
    }
    expect(etcdOf('https://e1:2379, https://e2:2379', options)).toEqual({
      endpoints: ['https://e1:2379', 'https://e2:2379'],
      cluster: 'orders',
      user: { name: 'understudy', password: { file: '/etc/password' } },
      tls: { ca: { file: 'ca.pem' }, cert: { file: 'crt.pem' }, key: { file: 'key.pem' } },
    })
    expect(etcdOf('http://e1:2379', { etcdCluster: 'orders', etcdInsecure: true })).toEqual({
      endpoints: ['http://e1:2379'],
      cluster: 'orders',
      insecure: true,
    })
  })

  test('etcd is opened without asking it anything', async () => {
    await using coordinator = await openCoordinator({
      coordinator: 'etcd:http://127.0.0.1:1',
      etcdCluster: 'orders',
    })
    expect(coordinator?.kind).toBe('etcd')
  })

  test.each([
    [{ coordinator: 'zookeeper' }, "--coordinator is 'zookeeper'"],
    [{ coordinator: 'sqlite:' }, "--coordinator is 'sqlite:'"],
    [{ coordinator: 'etcd:http://127.0.0.1:2379' }, '--etcd-cluster does not say'],
    [{ coordinator: 'etcd:http://127.0.0.1:2379', etcdCluster: 'a', etcdUser: 'u' }, 'belong together'],
  ])('%o is refused', async (options, why) => {
    await expect(openCoordinator(options)).rejects.toThrow(why)
  })
})

describe('start', () => {
  const start = (...more: string[]): ReturnType<typeof run> =>
    run('start', '--name', 'a', '--directory', join(temporaryFolder(), 'a'), ...more)

  test.each([
    [['--observe'], '--observe says how a cluster fails over'],
    [['--members', 'b=tcp://127.0.0.1:1'], '--members has no a, which this node is called'],
    [['--members', 'a=tcp://127.0.0.1:0', '--leader', 'tcp://127.0.0.1:1'], '--leader is found out'],
    [['--members', 'a=tcp://127.0.0.1:0', '--rejoin'], '--rejoin is found out'],
    [['--members', 'a=tcp://127.0.0.1:0', '--coordinator', 'raft'], "--coordinator is 'raft'"],
  ])('%j fails in one line', async (argv, why) => {
    const { code, error } = await start(...argv)
    expect(code).toBe(1)
    expect(error).toHaveLength(1)
    expect(error[0]).toContain('INVALID_ARGUMENT')
    expect(error[0]).toContain(why)
  })
})
