import { isUnderstudyError, LOCAL_SLOT, type Log } from '@understudy/contracts'
import { SeededRandom, SimulatedClock, SimulatedDisk } from '@understudy/testkit'
import { expect, test } from 'vitest'
import { openLog, readSegments } from '../src/index.ts'
import { begin, draft, errorOf, RUN, texts } from './helpers.ts'

const CAPS = { slotBytesMax: 20_000, slotBytesNormal: 6000 }

function open(disk: SimulatedDisk, caps: typeof CAPS = CAPS): Log {
  return openLog({
    directory: '/log',
    files: disk.mount(),
    random: new SeededRandom(9),
    segmentBytes: 8192,
    ...caps,
  })
}

/** Records of 1,000 bytes: four in a segment of 8 KiB, less the one that does not fit. */
function fill(log: Log, count: number): void {
  for (let i = 0; i < count; i++) log.append([draft(`r${log.end.lsn + 1}`.padEnd(960, '.'))])
  log.syncNow()
}

function segments(disk: SimulatedDisk): string[] {
  return disk.list('/log').filter((name) => name.endsWith('.segment'))
}

test('a slot goes reserved, extended, unreserved, lost', async () => {
  const disk = new SimulatedDisk()
  const log = open(disk)
  begin(log)
  log.slots.reserve(LOCAL_SLOT, 1)
  log.slots.reserve('f', 1)
  expect(log.slots.get('f')).toEqual({
    name: 'f',
    lsn: 1,
    state: 'reserved',
    heldBytes: 0,
    safeBytes: 20_000,
  })
  fill(log, 3)
  expect(log.slots.get('f')).toMatchObject({
    state: 'reserved',
    safeBytes: 20_000 - log.slots.get('f')!.heldBytes,
  })
  fill(log, 7)
  expect(log.slots.get('f')).toMatchObject({ state: 'extended' })
  expect(log.collect()).toBe(1)
  fill(log, 20)
  expect(log.slots.get('f')).toMatchObject({ state: 'unreserved', safeBytes: 0 })
  expect(log.slots.get(LOCAL_SLOT)).toMatchObject({ state: 'extended', safeBytes: undefined })
  expect(log.collect()).toBe(1)
  expect(log.slots.get('f')).toMatchObject({ state: 'unreserved' })
  log.slots.advance(LOCAL_SLOT, 25)
  const first = log.collect()
  expect(first).toBeGreaterThan(20)
  expect(first).toBeLessThanOrEqual(26)
  expect(log.slots.get('f')).toEqual({ name: 'f', lsn: 1, state: 'lost', heldBytes: 0, safeBytes: 0 })
  expect(errorOf(() => log.slots.advance('f', 30))).toMatchObject({ code: 'SLOT_LOST' })
  expect(errorOf(() => log.read(1))).toMatchObject({ code: 'LOG_TRUNCATED', details: { lsn: 1, first } })
  expect(errorOf(() => log.slots.reserve('f', 1))).toMatchObject({ code: 'LOG_TRUNCATED' })
  disk.crash('lose-all')
  const again = open(disk)
  expect(again.first).toBe(first)
  expect(again.slots.get('f')).toMatchObject({ state: 'lost' })
  expect(again.slots.reserve('f', 31)).toMatchObject({ state: 'reserved', lsn: 31 })
  again.slots.drop('f')
  expect(errorOf(() => again.slots.drop('f'))).toMatchObject({ code: 'SLOT_UNKNOWN' })
  expect(errorOf(() => again.slots.advance('f', 1))).toMatchObject({ code: 'SLOT_UNKNOWN' })
  expect(again.slots.list().map((slot) => slot.name)).toEqual([LOCAL_SLOT])
})

test('a follower that catches up in time keeps its slot', () => {
  const log = open(new SimulatedDisk())
  begin(log)
  log.slots.reserve('f', 0)
  fill(log, 30)
  expect(log.slots.get('f')).toMatchObject({ state: 'unreserved' })
  log.slots.advance('f', 29)
  expect(log.slots.get('f')).toMatchObject({ state: 'reserved' })
  expect(log.collect()).toBeLessThanOrEqual(30)
  log.slots.advance('f', 3)
  expect(log.slots.get('f')).toMatchObject({ lsn: 29 })
})

test('creation, loss and removal of a slot are durable, its positions never go forward in a crash', () => {
  const disk = new SimulatedDisk()
  let log = open(disk)
  begin(log)
  fill(log, 10)
  log.slots.reserve('f', 2)
  log.slots.advance('f', 9)
  disk.crash('lose-all')
  log = open(disk)
  expect(log.slots.get('f')).toMatchObject({ lsn: 2 })
  log.slots.advance('f', 9)
  log.slots.reserve('f', 1)
  disk.crash('keep-all')
  log = open(disk)
  expect(log.slots.get('f')).toMatchObject({ lsn: 1 })
  log.slots.drop('f')
  disk.crash('lose-all')
  expect(open(disk).slots.list()).toEqual([])
})

test('slots are checked: names, positions, number', () => {
  const log = open(new SimulatedDisk())
  for (const run of [
    () => log.slots.reserve('', 0),
    () => log.slots.reserve('é'.repeat(128), 0),
    () => log.slots.reserve('a', -1),
    () => log.slots.reserve('a', 1.5),
  ]) {
    expect(isUnderstudyError(errorOf(run), 'INVALID_ARGUMENT')).toBe(true)
  }
})

test('collect deletes whole segments that no slot holds, and the log reads on from there', async () => {
  const disk = new SimulatedDisk()
  const log = open(disk, { slotBytesMax: 1_000_000, slotBytesNormal: 6000 })
  begin(log)
  fill(log, 40)
  const before = segments(disk)
  log.slots.reserve('a', 20)
  log.slots.reserve('b', 12)
  const first = log.collect()
  expect(first).toBeLessThanOrEqual(13)
  expect(segments(disk)).toEqual(before.filter((name) => Number(name.slice(0, 20)) >= first))
  expect(texts(log, first)).toHaveLength(41 - first + 1)
  expect(log.crcAt(first - 1)).toBe([...log.records(first)][0]!.previousCrc)
  expect(log.crcAt(first - 2)).toBeUndefined()
  log.slots.drop('a')
  log.slots.drop('b')
  log.collect()
  expect(segments(disk)).toHaveLength(1)
  fill(log, 1)
  expect(log.end.lsn).toBe(42)
})

test('a recycled file shows nothing of its former life', async () => {
  const disk = new SimulatedDisk()
  let log = open(disk)
  begin(log)
  for (let round = 0; round < 20; round++) {
    fill(log, 7)
    log.collect()
    expect(disk.list('/log')).toContain('next.spare')
    log.append([draft('after')])
    log.syncNow()
    const found = [...readSegments('/log', disk.mount())]
    expect(found.every((item) => item.kind === 'record')).toBe(true)
    expect(found.at(-1)).toMatchObject({ record: { lsn: log.end.lsn } })
    const { end } = log
    disk.crash('lose-all')
    log = open(disk)
    expect(log.end).toEqual(end)
    expect(disk.list('/log')).not.toContain('next.spare')
  }
})

test('the next segment is prepared ahead, off the append', async () => {
  const disk = new SimulatedDisk()
  const clock = new SimulatedClock()
  const log = openLog({ directory: '/log', files: disk.mount(), clock, segmentBytes: 8192 })
  begin(log)
  fill(log, 1)
  expect(disk.list('/log')).not.toContain('next.spare')
  log.append([draft('half'.padEnd(1000, '.'))])
  await clock.advance(10)
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
  expect(disk.list('/log')).toContain('next.spare')
  const { writtenBytes } = disk.counts
  fill(log, 4)
  expect(segments(disk)).toHaveLength(2)
  expect(disk.counts.writtenBytes - writtenBytes).toBeLessThan(4096 + 4 * 1100)
  expect(disk.list('/log')).not.toContain('next.spare')
  await log.close()
})

test('a record larger than a segment gets a file of its own', async () => {
  const disk = new SimulatedDisk()
  let log = open(disk)
  begin(log)
  const big = 'big'.padEnd(50_000, '.')
  log.append([draft('small'), draft(big)])
  log.append([draft('next')])
  await log.close()
  log = open(disk)
  expect(texts(log)).toEqual(['small', big, 'next'])
  expect(segments(disk)).toHaveLength(3)
  const fresh = new SimulatedDisk()
  log = open(fresh)
  begin(log)
  log.truncateAfter(0)
  begin(log, RUN[1])
  log.append([draft(big)])
  await log.close()
  expect(texts(open(fresh))).toEqual([big])
})
