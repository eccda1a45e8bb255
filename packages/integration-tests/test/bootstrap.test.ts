/** A real database over TCP onto a real disk, while the leader goes on writing. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { createSnapshotServer, receiveSnapshot, type ReceivedSnapshot } from '@understudy/bootstrap'
import type { Clock, EpochHistory, Lsn, Random, Recorder } from '@understudy/contracts'
import { nodeFiles } from '@understudy/log'
import { Connection, type Hello } from '@understudy/protocol'
import { openStorage, type SqliteStorage } from '@understudy/sqlite'
import { SeededRandom } from '@understudy/testkit'
import { tcp } from '@understudy/transport-tcp'

const CLUSTER = '0011223344556677'
const HISTORY: EpochHistory = [
  { number: 1, runId: '00000000000000aa', leader: 'a', firstLsn: 1, crcBefore: 0 },
]
const RECORDER: Recorder = {
  beginGroup: () => undefined,
  beginWrite: () => undefined,
  endWrite: () => undefined,
  abandonWrite: () => undefined,
  finishGroup: () => [],
  abandonGroup: () => undefined,
  close: () => undefined,
}

const clock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  schedule: (delayMs, run) => {
    const timer = setTimeout(run, delayMs)
    return { cancel: () => clearTimeout(timer) }
  },
}
const random: Random = new SeededRandom('bootstrap')

let directory: string
let storage: SqliteStorage
let lsn: Lsn
const closing: (() => Promise<unknown>)[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'understudy-bootstrap-'))
  storage = openStorage({ path: join(directory, 'leader.sqlite'), readers: 1 })
  lsn = 0
  commit((sql) => sql('create table t (lsn integer primary key, body blob)'))
})

afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
  await storage.close()
  rmSync(directory, { recursive: true, force: true })
})

/** One record: its row says its LSN. */
function commit(more: (sql: (text: string) => void) => void = () => undefined): void {
  lsn += 1
  storage.begin()
  storage.write((tx) => {
    more((text) => tx.exec(text))
    tx.run('insert into t values (?, randomblob(3000))', [lsn])
  }, RECORDER)
  storage.mark({ epoch: 1, lsn, crc: lsn * 3 })
  storage.commit()
}

interface Leader {
  readonly address: string
  readonly slots: Map<string, Lsn>
  /** Chunk bytes sent by each transfer. */
  readonly sentBytes: number[]
}

async function lead(
  options: { heldBytesMax?: number; onServe?: (connection: Connection) => void } = {},
): Promise<Leader> {
  const slots = new Map<string, Lsn>()
  const sentBytes: number[] = []
  const server = createSnapshotServer({
    openSnapshot: () =>
      storage.snapshot(options.heldBytesMax === undefined ? {} : { heldBytesMax: options.heldBytesMax }),
    applied: () => storage.applied,
    history: () => HISTORY,
    reserveSlot: (name, at) => void slots.set(name, at),
    clock,
    random,
    chunkBytes: 64 * 1024,
    windowBytes: 256 * 1024,
  })
  const listener = await tcp().listen('tcp://127.0.0.1:0', (channel) => {
    const connection = new Connection(channel, clock)
    void connection.next({ timeoutMs: 5000 }).then(async (hello) => {
      connection.frameBytesMax = 1024 * 1024
      connection.send({
        type: 'welcome',
        version: 1,
        cluster: CLUSTER,
        node: 'a',
        history: HISTORY,
        end: storage.applied,
        verdict: { kind: 'continue', from: 1 },
        heartbeatMs: 1000,
        deadlineMs: 10_000,
      })
      options.onServe?.(connection)
      sentBytes.push((await server.serve(connection, hello as Hello)).sentBytes)
    })
  })
  closing.push(
    () => server.close(),
    () => listener.close(),
  )
  return { address: listener.address, slots, sentBytes }
}

function follow(
  leader: Leader,
  options: Partial<Parameters<typeof receiveSnapshot>[0]> = {},
): Promise<ReceivedSnapshot> {
  return receiveSnapshot({
    dial: async () => new Connection(await tcp().connect(leader.address), clock),
    node: 'b',
    cluster: CLUSTER,
    files: nodeFiles(),
    target: join(directory, 'follower.sqlite'),
    clock,
    random,
    ...options,
  })
}

/** The file is a sound database that has exactly the records up to the position that it names. */
async function expectExact(received: ReceivedSnapshot): Promise<void> {
  const path = join(directory, 'follower.sqlite')
  const database = new DatabaseSync(path)
  expect(database.prepare('pragma integrity_check').get()).toEqual({ integrity_check: 'ok' })
  expect(database.prepare('select count(*) as n, max(lsn) as last from t').get()).toEqual({
    n: received.point.lsn,
    last: received.point.lsn,
  })
  database.close()
  const opened = openStorage({ path, readers: 1 })
  expect(opened.applied).toEqual(received.point)
  await opened.close()
}

it('a follower gets the database as of one position while the leader commits on and checkpoints', async () => {
  for (let n = 0; n < 2000; n++) commit()
  await storage.checkpoint()
  for (let n = 0; n < 500; n++) commit()
  const leader = await lead()
  const before = lsn
  const received = await follow(leader, {
    onProgress: () => {
      for (let n = 0; n < 50; n++) commit()
      void storage.checkpoint()
    },
  })
  expect(received.point.lsn).toBeGreaterThanOrEqual(before)
  expect(lsn).toBeGreaterThan(received.point.lsn)
  expect(leader.slots.get('b')).toBe(received.point.lsn)
  expect(received.transferredBytes).toBe(received.bytes)
  await expectExact(received)
  expect(readdirSync(directory).filter((name) => name.includes('progress'))).toEqual([])
})

it('connections that break again and again cost a window each, not the transfer', async () => {
  for (let n = 0; n < 2000; n++) commit()
  let serves = 0
  const leader = await lead({
    onServe: (connection) => {
      serves += 1
      if (serves > 5) return
      const send = connection.send.bind(connection)
      let left = 20
      connection.send = (message) => {
        if (message.type === 'snapshotChunk' && left-- === 0) connection.close()
        return send(message)
      }
    },
  })
  const received = await follow(leader)
  expect(serves).toBe(6)
  expect(received.transferredBytes).toBe(received.bytes)
  await expectExact(received)
})

it('a snapshot over its cap ends, and the follower goes on with the next one by hashes', async () => {
  for (let n = 0; n < 3000; n++) commit()
  await storage.checkpoint()
  const leader = await lead({ heldBytesMax: 512 * 1024 })
  const codes: string[] = []
  const received = await follow(leader, {
    bytesPerSecondMax: 40_000_000,
    onProgress: ({ receivedBytes, totalBytes }) => {
      if (codes.length > 0 || receivedBytes < totalBytes / 3) return
      for (let n = 0; n < 400; n++) commit()
    },
    onRetry: (error) => {
      codes.push(error.code)
      // What a node does when nothing holds checkpoints back any more.
      void storage.checkpoint()
    },
  })
  expect(codes[0]).toBe('SNAPSHOT_ENDED')
  expect(received.skippedBytes).toBeGreaterThan(received.bytes / 5)
  expect(received.point.lsn).toBeGreaterThan(3001)
  await expectExact(received)
})

it('a follower that was away too long gets only the chunks that changed', async () => {
  for (let n = 0; n < 3000; n++) commit()
  const leader = await lead()
  await expectExact(await follow(leader))
  for (let n = 0; n < 50; n++) commit()
  const seed = join(directory, 'follower.sqlite')
  const target = join(directory, 'generation-2.sqlite')
  const received = await follow(leader, { seed, target, node: 'c' })
  expect(received.skippedBytes).toBeGreaterThan(received.bytes / 2)
  rmSync(seed)
  const database = new DatabaseSync(target)
  expect(database.prepare('select count(*) as n from t').get()).toEqual({ n: received.point.lsn })
  database.close()
})
