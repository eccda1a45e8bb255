/** Ack rules, keys and receipts of a client's writes. */
import { UnderstudyError, type Receipt } from '@understudy/contracts'
import type { ClientHandlers } from '@understudy/server'
import { expect, test } from 'vitest'
import type { Client } from '../src/index.ts'
import { Cluster } from './harness.ts'

const POSITION = { epoch: 2, lsn: 7 }
const RECEIPT: Receipt = {
  cluster: 'c1',
  position: POSITION,
  runId: 'fedcba9876543210',
  index: 1,
  crc: 0xdeadbeef,
  asked: 'durable',
  reached: 'received',
  members: [{ name: 'b', durableAt: 1_700_000_000_000.5 }, { name: 'c' }],
  degraded: true,
}
const STATEMENTS = [{ sql: 'insert into t values (?)', params: [1] }]

async function clientOf(handlers: Partial<ClientHandlers>): Promise<Client> {
  const cluster = new Cluster()
  return cluster.connect(await cluster.start({ handlers }))
}

test('what a write asks for reaches the node, and the whole receipt comes back', async () => {
  const seen: unknown[] = []
  const client = await clientOf({
    write: (statements, { ack, of, ackTimeoutMs, key }) => {
      seen.push(statements, { ack, of, ackTimeoutMs, key })
      return { results: [], position: POSITION, receipt: RECEIPT, replayed: true, valueKept: false }
    },
  })
  const asks = {
    ack: 'durable',
    of: { kind: 'first', count: 1, names: ['b', 'c'] },
    ackTimeoutMs: 500,
    key: 'order-17',
  } as const
  expect(await client.write(STATEMENTS, asks)).toEqual({
    results: [],
    position: POSITION,
    receipt: RECEIPT,
    replayed: true,
    valueKept: false,
  })
  expect(seen).toEqual([[{ sql: STATEMENTS[0]?.sql, parameters: [1] }], asks])
})

test('an error of a write that is in the log names its record', async () => {
  const client = await clientOf({
    write: () => {
      throw new UnderstudyError('WRITTEN_NOT_ACKED', 'not in time', { position: POSITION, crc: 5 })
    },
  })
  const error: unknown = await client.write(STATEMENTS).catch((reason: unknown) => reason)
  expect(error).toMatchObject({
    code: 'WRITTEN_NOT_ACKED',
    position: POSITION,
    details: { crc: 5, cluster: 'c1', fromPeer: true },
  })
})

test('a verdict and a wait are asked with what a receipt says', async () => {
  const seen: unknown[] = []
  const client = await clientOf({
    verdict: (receipt) => (seen.push(receipt), { verdict: 'lost', epoch: 3, reason: 'epoch 3 began there' }),
    reach: (receipt, { level, count, timeoutMs }) => {
      seen.push(receipt, level, count, timeoutMs)
      return { level, members: [{ name: 'b' }] }
    },
  })
  expect(await client.verdict(RECEIPT)).toEqual({ verdict: 'lost', epoch: 3, reason: 'epoch 3 began there' })
  expect(await client.reach(RECEIPT, 'applied', 2, { timeoutMs: 700 })).toEqual({
    level: 'applied',
    members: [{ name: 'b' }],
  })
  const { cluster, position, crc, runId } = RECEIPT
  const reference = { cluster, position, crc, runId }
  expect(seen).toEqual([reference, reference, 'applied', 2, 700])
})

test.each([{ key: '' }, { key: 'x'.repeat(256) }, { ackTimeoutMs: 0 }, { ackTimeoutMs: 1.5 }])(
  '%j is refused before anything is sent',
  async (options) => {
    const client = await clientOf({})
    await expect(client.write(STATEMENTS, options)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  },
)
