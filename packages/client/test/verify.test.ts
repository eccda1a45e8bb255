import { UnderstudyError, type Position } from '@understudy/contracts'
import type { TableDigest } from '@understudy/protocol'
import { expect, test } from 'vitest'
import { verifyCluster, type Client } from '../src/index.ts'
import { Cluster } from './harness.ts'

const MARK = { epoch: 2, lsn: 40 }
const table = (name: string, rows: number, digest: string): TableDigest => ({ table: name, rows, digest })
const SAME = [table('b', 2, 'beef'), table('a', 1, 'abba')]

interface NodeSetup {
  readonly tables?: readonly TableDigest[]
  readonly cluster?: string
  readonly at?: Position
  readonly error?: UnderstudyError
}

/** Connects to a leader `a` and to the nodes given by name; `digested` collects the positions asked for. */
async function clients(
  setups: Readonly<Record<string, NodeSetup>>,
): Promise<{ clients: Client[]; digested: Position[] }> {
  const cluster = new Cluster()
  const digested: Position[] = []
  const connected: Client[] = []
  for (const [name, { tables = SAME, at, error, cluster: id = 'c1' }] of Object.entries(setups)) {
    const address = await cluster.start({
      name,
      cluster: id,
      handlers: {
        mark: () => MARK,
        digest: (position) => {
          digested.push(position)
          if (error !== undefined) throw error
          return { position: at ?? position, tables }
        },
      },
    })
    connected.push(await cluster.connect(address))
  }
  return { clients: connected, digested }
}

async function verify(setups: Readonly<Record<string, NodeSetup>>): ReturnType<typeof verifyCluster> {
  const { clients: all } = await clients(setups)
  return verifyCluster({ leader: all[0] as Client, nodes: all.slice(1) })
}

test('equal digests at the marker are ok, listed by table and node', async () => {
  const { clients: all, digested } = await clients({ a: {}, b: { tables: SAME.toReversed() }, c: {} })
  const report = await verifyCluster({ leader: all[0] as Client, nodes: all })
  expect(digested).toEqual([MARK, MARK, MARK])
  const each = (rows: number, digest: string): object => ({
    a: { rows, digest },
    b: { rows, digest },
    c: { rows, digest },
  })
  expect(report).toEqual({
    ok: true,
    position: MARK,
    tables: [
      { table: 'a', nodes: each(1, 'abba'), equal: true },
      { table: 'b', nodes: each(2, 'beef'), equal: true },
    ],
    failures: {},
  })
})

test.each([
  ['another digest', [table('b', 2, 'dead'), table('a', 1, 'abba')]],
  ['another number of rows', [table('b', 3, 'beef'), table('a', 1, 'abba')]],
  ['a table less', [table('a', 1, 'abba')]],
])('%s on one node is not equal, for that table alone', async (_, tables) => {
  const report = await verify({ a: {}, b: {}, c: { tables } })
  expect(report.ok).toBe(false)
  expect(report.tables.map((each) => [each.table, each.equal])).toEqual([
    ['a', true],
    ['b', false],
  ])
})

test('a table that the leader lacks is not equal', async () => {
  const report = await verify({ a: {}, b: { tables: [...SAME, table('extra', 0, '')] } })
  expect(report.ok).toBe(false)
  expect(report.tables.find((each) => each.table === 'extra')).toEqual({
    table: 'extra',
    nodes: { b: { rows: 0, digest: '' } },
    equal: false,
  })
})

test('a node that fails, or stands elsewhere, or belongs elsewhere, is named and not ok', async () => {
  const report = await verify({
    a: {},
    b: { error: new UnderstudyError('TIMEOUT', 'b is at 2/7.') },
    c: { at: { epoch: 2, lsn: 41 } },
    d: { cluster: 'c2' },
  })
  expect(report.ok).toBe(false)
  expect(report.tables.every((each) => each.equal)).toBe(true)
  expect(report.failures).toMatchObject({
    b: { code: 'TIMEOUT', message: 'b is at 2/7.' },
    c: { code: 'PROTOCOL_VIOLATION' },
    d: { code: 'FOREIGN_CLUSTER' },
  })
})

test('two nodes of one name cannot be told apart', async () => {
  const first = await clients({ a: {}, b: {} })
  const second = await clients({ b: {} })
  const [leader, ...nodes] = first.clients
  const outcome = verifyCluster({ leader: leader as Client, nodes: [...nodes, ...second.clients] })
  await expect(outcome).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  expect(first.digested).toEqual([])
})
