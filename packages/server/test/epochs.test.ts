/** A node answers with its epoch, and does nothing for a client that has seen a higher one. */
import type { EpochStamp } from '@understudy/contracts'
import type { RequestBody, Response } from '@understudy/protocol'
import { expect, test } from 'vitest'
import { startSession, type Peer } from './harness.ts'

const AT = { epoch: 3, lsn: 1 }
const OWN: EpochStamp = { number: 3, runId: '00000000000000aa' }
const STATEMENT = { sql: 'select 1', parameters: [] }
const RESULT = { columns: [], rows: [], changes: 0 }
const PROOF = { crc: 7, runId: OWN.runId }

const WRITE: RequestBody = { kind: 'write', statements: [STATEMENT] }
const READ: RequestBody = { kind: 'read', statement: STATEMENT, timeoutMs: 1 }
const OTHERS: readonly RequestBody[] = [
  { kind: 'mark' },
  {
    kind: 'reach',
    receipt: { cluster: 'c', position: AT, crc: 1 },
    level: 'durable',
    count: 1,
    timeoutMs: 1,
  },
  { kind: 'forget', name: 'b' },
  { kind: 'switchFormat', format: 'row' },
  { kind: 'setAcks', rule: 'async', acceptLoss: false },
]

async function ask(peer: Peer, id: number, body: RequestBody, epoch?: EpochStamp): Promise<Response> {
  peer.connection.send({ type: 'request', id, ...(epoch && { epoch }), body })
  await peer.response(id)
  return peer.received.find(
    (message): message is Response => message.type === 'response' && message.id === id,
  )!
}

test('every answer names the newest epoch of the node, an error too', async () => {
  let epoch: EpochStamp | undefined = OWN
  const peer = await startSession({
    epoch: () => epoch,
    handlers: { write: () => ({ results: [RESULT], position: AT }) },
  })
  expect(await ask(peer, 1, WRITE)).toMatchObject({ epoch: OWN, body: { kind: 'results' } })
  epoch = { number: 4, runId: OWN.runId }
  expect(await ask(peer, 2, READ)).toMatchObject({ epoch, body: { kind: 'error' } })
  epoch = undefined
  expect(await ask(peer, 3, WRITE)).not.toHaveProperty('epoch')
})

test.each([WRITE, READ, ...OTHERS])(
  '$kind of a client that has seen a higher epoch reaches no handler',
  async (body) => {
    const peer = await startSession({ epoch: () => OWN, handlers: {} })
    const higher = { number: 4, runId: OWN.runId }
    expect(await ask(peer, 1, body, higher)).toMatchObject({ body: { code: 'EPOCH_STALE' } })
    const fork = { number: 3, runId: '00000000000000bb' }
    expect(await ask(peer, 2, body, fork)).toMatchObject({ body: { code: 'EPOCH_FORK' } })
  },
)

test('a node that knows no epoch yet is behind every client that knows one', async () => {
  const peer = await startSession({ epoch: () => undefined, handlers: {} })
  expect(await ask(peer, 1, READ, OWN)).toMatchObject({ body: { code: 'EPOCH_STALE' } })
})

test('a client of the same or a lower epoch is answered', async () => {
  const seen: unknown[] = []
  const peer = await startSession({
    epoch: () => OWN,
    handlers: {
      write: (_, { epoch }) => {
        seen.push(epoch)
        return { results: [], position: AT }
      },
      read: (_, { after, stalenessMsMax }) => {
        seen.push([after, stalenessMsMax])
        return { result: RESULT, position: AT, proof: PROOF }
      },
      status: () => ({}),
    },
  })
  const lower = { number: 2, runId: '00000000000000cc' }
  await ask(peer, 1, WRITE, OWN)
  await ask(peer, 2, WRITE, lower)
  const read: RequestBody = { ...READ, after: AT, afterProof: PROOF, stalenessMsMax: 50 }
  expect(await ask(peer, 3, read, OWN)).toMatchObject({ body: { position: AT, proof: PROOF } })
  expect(seen).toEqual([OWN, lower, [{ ...AT, ...PROOF }, 50]])
  // What says which node it is of is answered by any node.
  expect(await ask(peer, 4, { kind: 'status' }, { number: 9, runId: OWN.runId })).toMatchObject({
    body: { kind: 'json' },
  })
})
