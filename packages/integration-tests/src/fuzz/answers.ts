/**
 * Answers of a node, as the client package gets them: a real server with made-up answers, whose frames are changed on their
 * way. Every call ends with an answer or a reason, and nothing of an answer reaches `Object.prototype`.
 */
import type { Receipt } from '@understudy/contracts'
import { connect, type Client } from '@understudy/client'
import { isUnderstudyError } from '@understudy/contracts'
import { Connection } from '@understudy/protocol'
import { serveClient, type ClientHandlers, type NodeIdentity, type RowCursor } from '@understudy/server'
import type { SimulatedClock } from '@understudy/testkit'
import { Mutator, type Frame } from './mutator.ts'
import { PipeTransport } from './pipe.ts'
import type { Position, RunContext } from './position.ts'
import { specimens } from './specimens.ts'
import type { Watch } from './watch.ts'
import { WatchedClock } from './watched-clock.ts'

export const answers: Position = {
  name: 'answers to a client',
  weight: 8,
  frames: 4000,
  run,
}

const NODE = 'pipe://a'
const POSITION = { epoch: 3, lsn: 9 }
const IDENTITY: NodeIdentity = { cluster: 'c1', node: 'a', history: [], end: { ...POSITION, crc: 7 } }
const RESULT = {
  columns: ['id', '__proto__'],
  rows: [
    [1, 'a'],
    [2n ** 60n, null],
    [new Uint8Array(9), 0.5],
  ],
  changes: 2,
}

const OF = { kind: 'any', count: 1, names: ['b'] } as const
const RECEIPT: Receipt = {
  cluster: 'c',
  position: POSITION,
  runId: '0123456789abcdef',
  index: 0,
  crc: 7,
  asked: 'durable',
  reached: 'durable',
  members: [{ name: 'b', durableAt: 5 }],
  degraded: false,
}

const nothing = (): undefined => undefined

/** Three pages of the same rows. */
function pages(): RowCursor {
  let page = 0
  const { columns, rows } = RESULT
  return { next: () => ({ columns, rows, isLast: (page += 1) >= 3 }), close: nothing }
}

const HANDLERS: ClientHandlers = {
  status: () => ({ node: 'a', constructor: { prototype: 1 }, slots: [] }),
  write: (statements, { key }) => ({
    results: statements.map(() => RESULT),
    position: POSITION,
    receipt: RECEIPT,
    ...(key && { replayed: true, valueKept: true }),
  }),
  read: () => ({ result: RESULT, position: POSITION, proof: { crc: 7, runId: RECEIPT.runId } }),
  whoLeads: () => ({
    node: 'b',
    cluster: 'c',
    role: 'follower',
    takesWrites: false,
    forwardsWrites: true,
    epoch: { number: 3, runId: RECEIPT.runId },
    applied: { ...POSITION, crc: 7 },
    stalenessMs: 4,
    leader: { name: 'a', address: 'tcp://a:1' },
    members: [{ name: 'b', address: 'tcp://b:1' }],
  }),
  describe: () => ({ columns: [{ name: 'id', type: 'INTEGER' }], parameters: 1, readOnly: true }),
  openRead: () => Promise.resolve({ position: POSITION, run: () => RESULT, cursor: pages, close: nothing }),
  openWrite: () =>
    Promise.resolve({
      position: POSITION,
      run: () => RESULT,
      commit: () => Promise.resolve({ results: [], position: POSITION, receipt: RECEIPT }),
      rollback: () => Promise.resolve(),
    }),
  mark: () => POSITION,
  digest: (at) => ({ position: at, tables: [{ table: 't', rows: 3, digest: 'ab'.repeat(16) }] }),
  rows: () => ({ key: ['id'], columns: ['types', 'id'], rows: [['n', 1]] }),
  verdict: () => ({ verdict: 'unknown', reason: 'nobody knows' }),
  reach: () => ({ level: 'durable', members: [{ name: 'b', durableAt: 1 }] }),
  release: () => undefined,
  slots: () => [{ name: 'local', lsn: 3, state: 'reserved', heldBytes: 0 }],
  exposure: () => ({ knownFrom: 1, upTo: POSITION, ranges: [], forgotten: 0 }),
  dropSlot: () => undefined,
  forget: () => undefined,
  switchFormat: () => POSITION,
  setAcks: () => POSITION,
  promote: () => ({ leader: 'a', epoch: 2, tookMs: 40 }),
  switchover: () => ({ leader: 'b', epoch: 3, tookMs: 40, mayLose: { after: POSITION } }),
  pauseFailover: () => undefined,
  decisions: () => ['{"version":1}', '{}'],
}

const CALLS: readonly ((client: Client) => Promise<unknown>)[] = [
  (client) => client.status(),
  (client) => client.write([{ sql: 'insert', params: [1] }, { sql: 'delete' }]),
  (client) => client.read('select', [], { timeoutMs: 500 }),
  (client) =>
    client.read('select', [], { after: { ...POSITION, crc: 7, runId: RECEIPT.runId }, maxStalenessMs: 5 }),
  (client) => client.whoLeads({ unlessEpoch: { number: 3, runId: RECEIPT.runId }, waitMs: 5 }),
  (client) => client.mark(),
  (client) => client.digest(POSITION, { timeoutMs: 500, keep: true }),
  (client) => client.rows(POSITION, 't', 0),
  (client) => client.release(POSITION),
  (client) => client.write([{ sql: 'insert' }], { ack: 'durable', of: OF, ackTimeoutMs: 5, key: 'k' }),
  (client) =>
    client.batch([
      { sql: 'insert' },
      { sql: 'delete', when: { or: [{ changed: 0, rows: 2 }, { not: { error: 0 } }] } },
      { require: { ok: 0 } },
    ]),
  (client) => client.transaction((tx) => tx.run('insert', [1n])),
  (client) => client.transaction((tx) => tx.get('select'), { readOnly: true, after: POSITION }),
  async (client) => {
    const statement = await client.prepare('select ?')
    await statement.all([1])
    for await (const rows of statement.iterate([2], { batchRows: 3 }).batches())
      if (rows.rows.length > 5) break
    await statement.close()
  },
  async (client) => {
    for await (const row of client.iterate('select', [], { bigint: 'bigint' })) if (row['id'] === 0) break
  },
  (client) => client.verdict(RECEIPT),
  (client) => client.reach(RECEIPT, 'durable', 1, { timeoutMs: 500 }),
  (client) => client.slots(),
  (client) => client.exposure({ after: POSITION, timeoutMs: 500 }),
  (client) => client.dropSlot('b'),
  (client) => client.forget('b'),
  (client) => client.switchFormat('row'),
  (client) => client.setAcks('any 1 (b)', { onUnmet: 'fail', ackTimeoutMs: 5 }),
  (client) => client.promote({ timeoutMs: 500 }),
  (client) => client.switchover({ target: 'b', timeoutMs: 500 }),
  (client) => client.pauseFailover(true),
  (client) => client.decisions(2),
]

async function run(context: RunContext): Promise<void> {
  const { random, watch, framesMax } = context
  const clock = new WatchedClock(watch)
  const transport = new PipeTransport(watch)
  await transport.listen(NODE, (channel) => serve(channel, clock, watch))
  const sound = await record(transport, clock)
  const likely = [...sound, ...sound, ...sound]
  const mutator = new Mutator(random, [...likely, ...specimens()], 0.5)
  transport.opened = (_, far) => {
    const damageChance = random.pick([0.1, 0.4, 0.8])
    far.tap = (frame) => {
      const changed = mutator.stream(frame, damageChance)
      if (changed.length === 1 && changed[0] === frame) return changed
      watch.sent(Math.max(1, changed.length))
      return changed
    }
  }
  while (watch.frames < framesMax) await converse(transport, clock, context)
  transport.opened = undefined
  const client = await clock.complete(connect({ transport, address: NODE, clock, random }))
  const { rows } = await clock.complete(client.read('select'))
  if (rows.length !== RESULT.rows.length) watch.fail('a sound conversation does not work any more')
  await client.close()
}

/** One connection with calls until it ends; every call settles. */
async function converse(
  transport: PipeTransport,
  clock: SimulatedClock,
  { random, watch }: RunContext,
): Promise<void> {
  const connection = { isLost: false }
  const judge = (error: unknown): undefined => {
    watch.judge(error)
    if (!isUnderstudyError(error)) return
    watch.note(`call ${error.code}`)
    connection.isLost ||= error.code === 'PROTOCOL_VIOLATION' || error.code === 'CONNECTION_LOST'
  }
  const connecting = connect({ transport, address: NODE, clock, random, timeoutMs: 1000 }).catch(judge)
  const client = await clock.complete(connecting)
  if (client === undefined) return
  // A connection that ended fails every call at once.
  for (let round = 0; round < 6 && !connection.isLost; round++) {
    const calls = Array.from({ length: 1 + random.below(6) }, () =>
      random
        .pick(CALLS)(client)
        .then(() => watch.note('call answered'), judge),
    )
    await clock.complete(Promise.all(calls), { what: 'calls of a client' })
    await watch.settle()
  }
  await clock.complete(client.close())
}

function serve(
  channel: ConstructorParameters<typeof Connection>[0],
  clock: SimulatedClock,
  watch: Watch,
): void {
  const connection = new Connection(channel, clock)
  connection.next({ timeoutMs: 1000 }).then(
    (hello) => {
      if (hello.type !== 'hello') return connection.close()
      serveClient(connection, hello, HANDLERS, {
        clock,
        identity: IDENTITY,
        onUnexpectedError: (error) => watch.fail('a handler failed', error),
      })
    },
    () => connection.close(),
  )
}

async function record(transport: PipeTransport, clock: SimulatedClock): Promise<Frame[]> {
  const frames: Frame[] = []
  transport.opened = (_, far) => {
    far.tap = (frame) => {
      frames.push(frame)
      return [frame]
    }
  }
  const client = await clock.complete(connect({ transport, address: NODE, clock }))
  for (const call of CALLS) await clock.complete(call(client))
  await clock.complete(client.close())
  transport.opened = undefined
  return frames
}
