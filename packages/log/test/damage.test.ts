import { isUnderstudyError, type Lsn } from '@understudy/contracts'
import { SeededRandom, SimulatedDisk } from '@understudy/testkit'
import { expect, test } from 'vitest'
import { openLog, readSegments } from '../src/index.ts'
import { begin, draft, errorOf, texts } from './helpers.ts'

const SEGMENT = '/log/00000000000000000001.segment'

/** A log of five records, synced after the third, closed by a kill: records 4 and 5 are above the last mark. */
function smallLog(): {
  readonly disk: SimulatedDisk
  readonly crcs: readonly number[]
  readonly used: number
} {
  const disk = new SimulatedDisk({ random: new SeededRandom(1) })
  const log = openLog({
    directory: '/log',
    files: disk.mount(),
    random: new SeededRandom(2),
    segmentBytes: 8192,
  })
  begin(log)
  log.append([draft('second'), draft('third')])
  log.syncNow()
  log.append([draft('fourth')])
  log.append([draft('fifth')])
  const crcs = [0, 1, 2, 3, 4, 5].map((lsn) => log.crcAt(lsn)!)
  const used = 4096 + 3 * 32 + 32 + [1 + 8 + 1, 6, 5, 6, 5].reduce((sum, bytes) => sum + 40 + bytes, 0)
  disk.kill()
  return { disk, crcs, used }
}

/** Opens a copy of the disk after `change`; says where the log ended, or which error came. */
function outcome(
  disk: SimulatedDisk,
  change: (copy: SimulatedDisk) => void,
  knownDurable: Lsn = 0,
): Lsn | string {
  const copy = disk.copy(new SeededRandom(3))
  change(copy)
  try {
    const log = openLog({ directory: '/log', files: copy.mount(), segmentBytes: 8192, knownDurable })
    return log.end.lsn
  } catch (error) {
    if (!isUnderstudyError(error)) throw error
    return error.code
  }
}

function cut(disk: SimulatedDisk, size: number): void {
  const handle = disk.open(SEGMENT, { write: true })
  handle.truncate(size)
  handle.close()
}

test('a file cut at any byte keeps whole records, or is damage where a mark says that it had been synced', () => {
  const { disk, used } = smallLog()
  // The marks of records 4 and 5 say that 3 had been synced: they are gone as well when the file ends before them.
  const ends = new Map<number, Lsn | string>()
  for (let size = 0; size <= used; size++)
    ends.set(
      size,
      outcome(disk, (copy) => cut(copy, size)),
    )
  const found = [...new Set(ends.values())]
  expect(found).toEqual(['LOG_CORRUPT', 0, 1, 2, 3, 4, 5])
  for (let size = 0; size < 4096; size++) expect(ends.get(size)).toBe('LOG_CORRUPT')
  for (let size = 4097; size <= used; size++)
    expect(Number(ends.get(size))).toBeGreaterThanOrEqual(Number(ends.get(size - 1)))
  expect(ends.get(used)).toBe(5)
  expect(ends.get(used - 1)).toBe(4)
})

test('a file cut below what the caller knows to be durable is damage', () => {
  const { disk, used } = smallLog()
  for (let size = 4096; size < used; size++) {
    const end = outcome(disk, (copy) => cut(copy, size))
    expect(outcome(disk, (copy) => cut(copy, size), 4)).toBe(Number(end) >= 4 ? end : 'LOG_CORRUPT')
  }
})

test('every flipped byte of a segment is cut above the last mark or is damage, and never a wrong record', () => {
  const { disk, crcs, used } = smallLog()
  const fourth = 4096 + 3 * 32 + 40 * 3 + 10 + 6 + 5 - 32
  for (let offset = 0; offset < used + 16; offset++) {
    for (const bit of [0, 7]) {
      const copy = disk.copy(new SeededRandom(3))
      copy.flipBit(SEGMENT, { offset, bit })
      const error = errorOf(() => {
        const log = openLog({ directory: '/log', files: copy.mount(), segmentBytes: 8192 })
        const end = log.end.lsn
        expect(end).toBeGreaterThanOrEqual(3)
        for (let lsn = 0; lsn <= end; lsn++) expect(log.crcAt(lsn)).toBe(crcs[lsn])
        expect(texts(log)).toEqual(['second', 'third', 'fourth', 'fifth'].slice(0, end - 1))
        if (offset < used) expect(end).toBeLessThan(5)
        else expect(end).toBe(5)
        expect(offset).toBeGreaterThanOrEqual(fourth)
      })
      if (error === undefined) continue
      if (!isUnderstudyError(error)) throw error
      expect(['LOG_CORRUPT', 'FORMAT_VERSION']).toContain(error.code)
      expect(offset).toBeLessThan(fourth)
      expect(error.details).toMatchObject({ segment: SEGMENT })
    }
  }
})

test('damage below the end of an older segment shows when it is read, with segment and offset', async () => {
  const disk = new SimulatedDisk({ random: new SeededRandom(1) })
  const log = openLog({ directory: '/log', files: disk.mount(), segmentBytes: 8192, tailCacheBytes: 0 })
  begin(log)
  for (let i = 2; i <= 60; i++) log.append([draft(`r${i}`.padEnd(200, '.'))])
  await log.close()
  disk.flipBit(SEGMENT, { offset: 4096 + 32 + 50 + 32 + 100, bit: 1 })
  const again = openLog({ directory: '/log', files: disk.mount(), segmentBytes: 8192, tailCacheBytes: 0 })
  expect(again.end.lsn).toBe(60)
  expect(again.read(1, { bytesMax: 50 })).toMatchObject({ first: 1, last: 1 })
  for (const run of [() => again.read(2), () => again.crcAt(2), () => again.truncateAfter(5)]) {
    expect(errorOf(run)).toMatchObject({
      code: 'LOG_CORRUPT',
      details: { segment: SEGMENT, offset: 4096 + 32 + 50 + 32, lsn: 2 },
    })
  }
  expect(again.end.lsn).toBe(60)
  expect(again.read(30)!.first).toBe(30)
  const items = [...readSegments('/log', disk.mount())]
  expect(items.filter((item) => item.kind === 'damage')).toMatchObject([
    { segment: SEGMENT, lsn: 2, offset: 4210 },
  ])
  expect(items.filter((item) => item.kind === 'record').map((item) => item.record.lsn)).toEqual(
    Array.from({ length: 60 }, (_, i) => i + 1).filter((lsn) => lsn !== 2),
  )
})

test('a missing segment is damage', async () => {
  const disk = new SimulatedDisk({ random: new SeededRandom(1) })
  const log = openLog({ directory: '/log', files: disk.mount(), segmentBytes: 8192 })
  begin(log)
  for (let i = 2; i <= 90; i++) log.append([draft(`r${i}`.padEnd(200, '.'))])
  await log.close()
  const segments = disk.list('/log').filter((name) => name.endsWith('.segment'))
  expect(segments.length).toBeGreaterThan(3)
  for (const name of segments.slice(0, -1)) {
    expect(outcome(disk, (copy) => copy.remove(`/log/${name}`))).toBe('LOG_CORRUPT')
  }
  expect(outcome(disk, (copy) => copy.remove('/log/log.state'))).toBe('STATE_CORRUPT')
})

test('every flipped byte of the state file is an error', async () => {
  const disk = new SimulatedDisk({ random: new SeededRandom(1) })
  const log = openLog({ directory: '/log', files: disk.mount(), segmentBytes: 8192 })
  begin(log)
  log.slots.reserve('local', 0)
  log.slots.reserve('follower', 1)
  await log.close()
  for (let offset = 0; offset < disk.size('/log/log.state'); offset++) {
    const found = outcome(disk, (copy) => copy.flipBit('/log/log.state', { offset, bit: 0 }))
    expect(['STATE_CORRUPT', 'FORMAT_VERSION']).toContain(found)
    const size = outcome(disk, (copy) => {
      const handle = copy.open('/log/log.state', { write: true })
      handle.truncate(offset)
      handle.close()
    })
    expect(size).toBe('STATE_CORRUPT')
  }
})

test('after a clean close even the last record is protected', async () => {
  const disk = new SimulatedDisk({ random: new SeededRandom(1) })
  const log = openLog({ directory: '/log', files: disk.mount(), segmentBytes: 8192 })
  begin(log)
  await log.close()
  const used = 4096 + 32 + 50
  expect(outcome(disk, () => undefined)).toBe(1)
  expect(outcome(disk, (copy) => copy.flipBit(SEGMENT, { offset: used - 1, bit: 3 }))).toBe('LOG_CORRUPT')
})
