/**
 * Undo, position and truncation are one step that can be taken up again: a power loss at any call to the disk and any turn
 * of the clock leaves a database and a log that fit, and the step can be made again from there.
 */
import { LOCAL_SLOT, type Clock, type Log, type LogFormat } from '@understudy/contracts'
import { openLog } from '@understudy/log'
import { ApplyLoop, checkLogMatchesStorage, planUndo, redo, undoTail } from '@understudy/replication'
import {
  MemoryStorage,
  SeededRandom,
  SimulatedClock,
  SimulatedDisk,
  memoryFormat,
  type DiskOperation,
  type MemoryConnection,
} from '@understudy/testkit'
import { expect, test } from 'vitest'

const FORMATS: readonly LogFormat<MemoryConnection>[] = [memoryFormat()]
const COMMON = 12
const RECORDS = 30
const OPERATIONS: readonly DiskOperation[] = [
  'write',
  'dataSync',
  'truncate',
  'rename',
  'remove',
  'open',
  'syncDirectory',
]

class Node {
  readonly clock: SimulatedClock = new SimulatedClock()
  readonly disk: SimulatedDisk
  readonly random: SeededRandom
  storage: MemoryStorage
  log!: Log
  #view!: { stop(): void } & Clock
  #lives = 0

  constructor(seed: number) {
    this.random = new SeededRandom(seed)
    this.disk = new SimulatedDisk({ random: this.random.fork('disk') })
    this.storage = new MemoryStorage({ random: this.random.fork('storage'), clock: this.clock })
    this.open()
  }

  open(): void {
    const clock = this.clock.view()
    this.#view = clock
    this.log = openLog({
      directory: '/log',
      files: this.disk.mount({ clock }),
      clock,
      random: this.random.fork(`log ${this.#lives++}`),
      segmentBytes: 8192,
      knownDurable: this.storage.applied.lsn,
    })
  }

  powerLoss(): void {
    this.#view.stop()
    this.disk.crash()
    this.storage = this.storage.crash({ clock: this.clock })
  }

  loop(): ApplyLoop<MemoryConnection, unknown> {
    return new ApplyLoop<MemoryConnection, unknown>({
      storage: this.storage,
      formats: FORMATS,
      clock: this.#view,
    })
  }

  async undo(): Promise<void> {
    const context = {
      log: this.log,
      storage: this.storage,
      formats: FORMATS,
      clock: this.#view,
      transactionBytesMax: 1 << 20,
    }
    await undoTail(context, this.loop(), planUndo(context, COMMON), COMMON)
  }

  async redo(): Promise<void> {
    const { log, storage, clock } = this
    await clock.complete(
      redo({ log, storage, formats: FORMATS, clock, defer: (run) => clock.schedule(0, run) }),
    )
  }
}

/** A node that applied a log of several segments, and what it held at the common point. */
async function build(seed: number): Promise<{ node: Node; digest: string }> {
  const node = new Node(seed)
  const { log, clock, storage } = node
  log.startEpoch({ runId: '0123456789abcdef', leader: 'a', committedAtMs: 0 })
  log.slots.reserve(LOCAL_SLOT, 0)
  const recorder = FORMATS[0]!.recorder(storage.connection)
  let digest = ''
  while (log.end.lsn < RECORDS) {
    storage.begin()
    recorder.beginGroup()
    storage.write((tx) => tx.set(`k${log.end.lsn % 5}`, `${log.end.lsn} ${'x'.repeat(900)}`), recorder)
    const payloads = recorder.finishGroup()
    const point = log.append(
      payloads.map((payload) => ({ format: FORMATS[0]!.id, flags: 0, committedAtMs: 0, payload })),
    )
    storage.mark(point)
    log.syncNow()
    storage.commit()
    if (point.lsn === COMMON) digest = storage.digest()
    if (point.lsn === 20) await clock.complete(storage.checkpoint())
  }
  recorder.close()
  return { node, digest }
}

/** After a power loss: what a start and another attempt make of it. */
async function expectResumed(node: Node, digest: string, where: string): Promise<void> {
  node.open()
  checkLogMatchesStorage(node.log, node.storage.applied)
  await node.redo()
  await node.clock.complete(node.undo())
  expect({
    where,
    end: node.log.end.lsn,
    applied: node.storage.applied,
    digest: node.storage.digest(),
  }).toEqual({
    where,
    end: COMMON,
    applied: node.log.end,
    digest,
  })
  // And it holds.
  node.powerLoss()
  node.open()
  checkLogMatchesStorage(node.log, node.storage.applied)
  await node.redo()
  expect({ where, digest: node.storage.digest() }).toEqual({ where, digest })
}

test('a power loss at any call to the disk', async () => {
  let faults = 0
  for (const operation of OPERATIONS) {
    for (let after = 0; ; after += 1) {
      const { node, digest } = await build(after + 1)
      const before = node.disk.counts.injectedFaults
      node.disk.failOnce(operation, { after })
      const outcome = await node.clock.complete(
        node.undo().then(
          () => 'done',
          () => 'failed',
        ),
      )
      const hit = node.disk.counts.injectedFaults > before
      if (!hit) break
      faults += 1
      node.powerLoss()
      await expectResumed(node, digest, `${operation} ${after}, ${outcome}`)
    }
  }
  expect(faults).toBeGreaterThan(5)
})

test('a power loss at any turn of the clock', async () => {
  for (let seed = 1; seed <= 40; seed += 1) {
    const { node, digest } = await build(seed)
    node.undo().catch(() => undefined)
    for (let turn = 0; turn < seed % 8; turn += 1) await node.clock.step()
    node.powerLoss()
    await expectResumed(node, digest, `seed ${seed}`)
  }
})
