import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { Clock } from '@understudy/contracts'
import type { Message } from '@understudy/protocol'
import { SeededRandom, SimulatedClock, SimulatedDisk } from '@understudy/testkit'
import { assertReplaceable } from '../src/index.ts'
import { backoffMs } from '../src/backoff.ts'
import { BufferRing } from '../src/buffer-ring.ts'
import { digestOf } from '../src/checks.ts'
import { Doorbell } from '../src/doorbell.ts'
import { KeepAlive } from '../src/keep-alive.ts'
import { lowerRate, Pace } from '../src/pace.ts'
import { decodeProgress, encodeProgress, ProgressFile, PROGRESS_RECORD_BYTES } from '../src/progress-file.ts'
import { SharedSnapshot } from '../src/shared-snapshot.ts'
import { SnapshotSender } from '../src/snapshot-sender.ts'
import { progressPath, TargetFile } from '../src/target-file.ts'
import { CHUNK, entry, FakeSource, PAGE } from './support/world.ts'

describe('assertReplaceable', () => {
  const state = { directory: '/data/b', node: 'b', led: false, history: [entry(1, 1, 'a')] }
  const refused = expect.objectContaining({
    code: 'DIRECTORY_OF_LEADER',
    details: { directory: '/data/b', node: 'b' },
  })

  it('lets a follower, and an empty directory, be replaced', () => {
    expect(() => assertReplaceable(state)).not.toThrow()
    expect(() => assertReplaceable({ ...state, history: [] })).not.toThrow()
  })

  it('refuses a directory that is or ever was a leader', () => {
    expect(() => assertReplaceable({ ...state, led: true })).toThrow(refused)
    expect(() => assertReplaceable({ ...state, led: true, history: [] })).toThrow(refused)
  })

  it('refuses one whose newest epoch is its own, whatever its state file says', () => {
    expect(() => assertReplaceable({ ...state, history: [entry(1, 1, 'a'), entry(2, 9, 'b')] })).toThrow(
      refused,
    )
  })

  it('lets one be replaced whose own epoch a later leader continued', () => {
    expect(() => assertReplaceable({ ...state, history: [entry(1, 1, 'b'), entry(2, 9, 'a')] })).not.toThrow()
  })

  it('obeys a person who says so', () => {
    expect(() =>
      assertReplaceable({ ...state, led: true, history: [entry(1, 1, 'b')], replaceLeader: true }),
    ).not.toThrow()
  })

  it('says what was kept and what to do', () => {
    expect(() => assertReplaceable({ ...state, led: true })).toThrow(
      /Nothing in it was changed.*Promote this node/,
    )
  })
})

describe('the progress record', () => {
  const progress = {
    id: '00112233445566778899aabbccddeeff',
    point: { epoch: 3, lsn: 2 ** 40 + 1, crc: 0xfedcba98 },
    pageBytes: 4096,
    chunkBytes: 262_144,
    totalBytes: 2 ** 41,
    offset: 2 ** 40,
  }

  it('stands in the bytes that its table says', () => {
    expect(Buffer.from(encodeProgress(progress, 7)).toString('hex')).toBe(
      '55534459424f4f54' +
        '01000000' +
        '7a79b169' +
        '0700000000000000' +
        '0000000000010000' +
        '0000000000020000' +
        '00000400' +
        '00100000' +
        '0300000000000000' +
        '0100000000010000' +
        '98badcfe' +
        '20000000' +
        Buffer.from(progress.id).toString('hex') +
        '00'.repeat(56),
    )
    expect(decodeProgress(encodeProgress(progress, 7))).toEqual({ progress, sequence: 7 })
  })

  it('is refused with any one bit changed', () => {
    const record = encodeProgress(progress, 7)
    for (let bit = 0; bit < record.length * 8; bit++) {
      const damaged = Uint8Array.from(record)
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(decodeProgress(damaged)).toBeUndefined()
    }
  })

  it('is refused when it makes no sense, or is short', () => {
    expect(decodeProgress(encodeProgress({ ...progress, offset: 2 ** 41 + 262_144 }, 1))).toBeUndefined()
    expect(decodeProgress(encodeProgress({ ...progress, offset: 5 }, 1))).toBeUndefined()
    expect(decodeProgress(encodeProgress({ ...progress, chunkBytes: 0 }, 1))).toBeUndefined()
    expect(decodeProgress(encodeProgress(progress, 1).subarray(0, PROGRESS_RECORD_BYTES - 1))).toBeUndefined()
  })
})

it('the digest is SHA-256 over the CRCs, little-endian, however many', () => {
  for (const count of [0, 1, 3, 16_384, 16_385, 40_000]) {
    const crcs = Uint32Array.from({ length: count }, (_, index) => Math.imul(index + 1, 0x9e3779b1) >>> 0)
    const bytes = Buffer.alloc(count * 4)
    for (const [index, crc] of crcs.entries()) bytes.writeUInt32LE(crc, index * 4)
    expect(Buffer.from(digestOf(crcs))).toEqual(createHash('sha256').update(bytes).digest())
  }
})

describe('the pace', () => {
  it('lets the first chunk pass, then keeps the rate, and no pause becomes a burst', async () => {
    const clock = new SimulatedClock()
    const pace = new Pace(clock, 1000)
    expect(pace.delayMs()).toBe(0)
    pace.take(500)
    expect(pace.delayMs()).toBeCloseTo(500)
    await clock.advance(500)
    expect(pace.delayMs()).toBe(0)
    await clock.advance(60_000)
    pace.take(500)
    pace.take(500)
    expect(pace.delayMs()).toBeCloseTo(900)
  })

  it('without a limit never waits', () => {
    const pace = new Pace(new SimulatedClock(), 0)
    pace.take(1e12)
    expect(pace.delayMs()).toBe(0)
  })

  it('takes the lower of two limits, where 0 is none', () => {
    expect([lowerRate(0, 0), lowerRate(5, 0), lowerRate(0, 5), lowerRate(4, 5)]).toEqual([0, 5, 5, 4])
  })
})

it('the pause between attempts doubles up to five seconds and is drawn from its upper half', () => {
  const random = new SeededRandom(1)
  for (let failures = 1; failures < 2000; failures++) {
    const whole = Math.min(5000, 100 * 2 ** Math.min(failures - 1, 10))
    const delay = backoffMs(failures, random)
    expect(delay).toBeGreaterThanOrEqual(whole / 2)
    expect(delay).toBeLessThan(whole)
  }
})

it('a buffer comes back only when the chunk in it was acknowledged', () => {
  const ring = new BufferRing(8)
  const first = ring.take(8)
  ring.sent(first, 8)
  const second = ring.take(8)
  ring.sent(second, 16)
  expect(ring.inFlightBytes).toBe(16)
  ring.acknowledge(7)
  expect([first, second]).not.toContain(ring.take(8))
  ring.acknowledge(8)
  expect(ring.inFlightBytes).toBe(8)
  expect(ring.take(8)).toBe(first)
  expect(ring.take(8)).not.toBe(second)
})

it('a doorbell remembers one ring that nobody waited for', async () => {
  const bell = new Doorbell()
  bell.ring()
  bell.ring()
  await bell.wait()
  let rung = false
  const waiting = bell.wait().then(() => {
    rung = true
  })
  await Promise.resolve()
  expect(rung).toBe(false)
  bell.ring()
  await waiting
})

it('another snapshot is on record before the first chunk of the old one is overwritten', async () => {
  const disk = new SimulatedDisk({ directories: 'durable' })
  const path = '/image'
  const target = new TargetFile({ files: disk, path, seed: undefined, flushBytes: CHUNK })
  const start = {
    type: 'snapshotStart',
    point: { epoch: 1, lsn: 1, crc: 1 },
    history: [entry(1, 1)],
    pageBytes: PAGE,
    totalBytes: 4 * CHUNK,
    chunkBytes: CHUNK,
    mode: 'stream',
    offset: 0,
    windowBytes: CHUNK,
  } as const
  target.begin({ ...start, id: 'old' })
  for (let chunk = 0; chunk < 3; chunk++) {
    target.write(new Uint8Array(CHUNK), 0)
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  }
  expect(new ProgressFile(disk.open(progressPath(path))).read()).toMatchObject({
    id: 'old',
    offset: 3 * CHUNK,
  })
  target.begin({ ...start, id: 'new' })
  for (let attempt = 0; attempt < 20; attempt++) {
    const copy = disk.copy(new SeededRandom(attempt))
    copy.crash()
    expect(new ProgressFile(copy.open(progressPath(path))).read()).toMatchObject({ id: 'new', offset: 0 })
  }
  await target.leave()
})

it('everything cannot be acknowledged before the digest was sent', async () => {
  const clock = new SimulatedClock()
  const source = new FakeSource(new Uint8Array(CHUNK), { epoch: 1, lsn: 1, crc: 1 })
  const snapshot = new SharedSnapshot({ id: 'x', source, history: [], chunkBytes: CHUNK, openedAtMs: 0 })
  const sent: string[] = []
  const sender = new SnapshotSender({
    send: (message) => {
      sent.push(message.type)
      return message.type !== 'snapshotChunk'
    },
    snapshot,
    request: { type: 'snapshotRequest', resumeId: '', resumeOffset: 0, heldBytes: 0, bytesPerSecondMax: 0 },
    pace: new Pace(clock, 0),
    clock,
    windowBytes: CHUNK,
  })
  const running = sender.run()
  await clock.settle()
  expect(sent).toEqual(['snapshotStart', 'snapshotChunk'])
  const all: Message = { type: 'snapshotAck', offset: CHUNK }
  expect(() => sender.receive(all)).toThrow(expect.objectContaining({ code: 'PROTOCOL_VIOLATION' }))
  sender.drained()
  await clock.settle()
  sender.receive(all)
  await running
  expect(sent).toEqual(['snapshotStart', 'snapshotChunk', 'snapshotEnd'])
})

describe('keep-alive', () => {
  /** A clock whose timers run when told, however late. */
  function stalling(): { clock: Clock; readonly pass: (ms: number) => void } {
    let nowMs = 0
    let due: { atMs: number; run: () => void } | undefined
    const clock: Clock = {
      now: () => nowMs,
      monotonic: () => nowMs,
      schedule: (delayMs, run) => {
        due = { atMs: nowMs + delayMs, run }
        return { cancel: () => (due = undefined) }
      },
    }
    const pass = (ms: number): void => {
      nowMs += ms
      const ready = due !== undefined && due.atMs <= nowMs ? due : undefined
      if (ready !== undefined) due = undefined
      ready?.run()
    }
    return { clock, pass }
  }

  it('blames the peer for its silence, never for a standstill of this process', () => {
    for (const heardAfter of [true, false]) {
      const { clock, pass } = stalling()
      const closed: (string | undefined)[] = []
      const connection = {
        remote: 'peer',
        send: () => true,
        close: (error?: { code: string }) => void closed.push(error?.code),
      }
      const keepAlive = new KeepAlive({ connection, clock, heartbeatMs: 1000, deadlineMs: 10_000 })
      pass(60_000)
      expect(closed).toEqual([])
      if (heardAfter) keepAlive.heard()
      pass(500)
      expect(closed).toEqual(heardAfter ? [] : ['PEER_SILENT'])
    }
  })
})
