import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { openLog } from '../src/index.ts'
import { begin, draft, RUN, scratch, text, texts } from './helpers.ts'

describe('appending and reading', () => {
  test('a new log is empty and begins at 1', async () => {
    using dir = scratch()
    await using log = openLog({ directory: path.join(dir.path, 'a', 'b') })
    expect([log.first, log.durable, log.end, log.history]).toEqual([1, 0, { epoch: 0, lsn: 0, crc: 0 }, []])
    expect(log.read(1)).toBeUndefined()
    expect(log.crcAt(0)).toBe(0)
  })

  test('records come back in order with their fields, before and after reopening', async () => {
    using dir = scratch()
    const before = []
    {
      await using log = openLog({ directory: dir.path })
      begin(log)
      const point = log.append([draft('one', 1), draft('two')])
      expect(point).toEqual(log.end)
      log.append([draft('three')])
      expect(log.durable).toBe(0)
      log.syncNow()
      expect(log.durable).toBe(4)
      before.push(...log.records(1))
      expect(before.map((record) => [record.lsn, record.epoch, record.format, record.flags])).toEqual([
        [1, 1, 0, 0],
        [2, 1, 1, 1],
        [3, 1, 1, 0],
        [4, 1, 1, 0],
      ])
      expect(before.map((record) => record.previousCrc)).toEqual([
        0,
        ...before.slice(0, 3).map((record) => record.crc),
      ])
    }
    await using log = openLog({ directory: dir.path })
    expect([...log.records(1)]).toEqual(before)
    expect(log.history).toEqual([{ number: 1, runId: RUN[0], leader: 'a', firstLsn: 1, crcBefore: 0 }])
    expect([1, 2, 3, 4].map((lsn) => log.crcAt(lsn))).toEqual(before.map((record) => record.crc))
  })

  test('nothing unsynced is read by default', async () => {
    using dir = scratch()
    await using log = openLog({ directory: dir.path })
    begin(log)
    log.append([draft('x')])
    expect(log.read(1)).toBeUndefined()
    expect(log.read(1, { upTo: 1 })).toMatchObject({ first: 1, last: 1 })
    await log.sync()
    expect(log.read(1)).toMatchObject({ first: 1, last: 2 })
  })

  test('a follower has the same bytes', async () => {
    using a = scratch()
    using b = scratch()
    await using leader = openLog({ directory: a.path, segmentBytes: 8192 })
    await using follower = openLog({ directory: b.path, segmentBytes: 16384, tailCacheBytes: 0 })
    begin(leader)
    for (let i = 0; i < 300; i++) leader.append([draft(`record ${i}`.padEnd(i % 200, '.'))])
    leader.syncNow()
    for (let from = 1; ;) {
      const chunk = leader.read(from, { bytesMax: 1000 })
      if (chunk === undefined) break
      const records = follower.appendEncoded(chunk.bytes)
      expect([records[0]!.lsn, records.at(-1)!.lsn]).toEqual([chunk.first, chunk.last])
      from = chunk.last + 1
    }
    follower.syncNow()
    expect(follower.end).toEqual(leader.end)
    expect(follower.history).toEqual(leader.history)
    expect([...follower.records(1)].map(text)).toEqual([...leader.records(1)].map(text))
    expect(fs.readdirSync(a.path).filter((name) => name.endsWith('.segment')).length).toBeGreaterThan(5)
  })

  test('truncate, reset, collect', async () => {
    using dir = scratch()
    await using log = openLog({ directory: dir.path, segmentBytes: 8192 })
    begin(log)
    for (let i = 2; i <= 200; i++) log.append([draft(`r${i}`.padEnd(100, '.'))])
    log.syncNow()
    const crc = log.crcAt(120)
    log.truncateAfter(120)
    expect(log.end).toEqual({ epoch: 1, lsn: 120, crc })
    begin(log, RUN[1], 'b')
    expect(log.end.lsn).toBe(121)
    log.append([draft('later')])
    log.syncNow()
    expect(texts(log).slice(-2)).toEqual(['r120'.padEnd(100, '.'), 'later'])
    log.slots.reserve('local', 100)
    const first = log.collect()
    expect(first).toBeGreaterThan(50)
    expect(first).toBeLessThanOrEqual(101)
    expect(log.read(first)!.first).toBe(first)
    const point = { epoch: 2, lsn: 1000, crc: 77 }
    log.resetTo(point, log.history)
    expect([log.first, log.end, log.durable]).toEqual([1001, point, 1000])
    log.append([draft('after')])
    expect(log.end.lsn).toBe(1001)
    expect(texts(log)).toEqual(['after'])
    expect(log.crcAt(1000)).toBe(77)
  })
})

describe('bytes after a position', () => {
  test('are exact among the newest records, never too few below them, and none from the end on', async () => {
    using dir = scratch()
    await using log = openLog({ directory: dir.path, segmentBytes: 256 * 1024, tailCacheBytes: 64 * 1024 })
    begin(log)
    const exact = (lsn: number): number => {
      let bytes = 0
      for (let next = lsn + 1; next <= log.end.lsn;) {
        const run = log.read(next, { upTo: log.end.lsn })!
        bytes += run.bytes.length
        next = run.last + 1
      }
      return bytes
    }
    for (let n = 0; n < 2000; n++) log.append([draft(`${n}`.padEnd(n % 700, '.')), draft('more')])
    const end = log.end.lsn
    expect([log.bytesAfter(end), log.bytesAfter(end + 9)]).toEqual([0, 0])
    for (const lsn of [end - 1, end - 2, end - 50]) expect(log.bytesAfter(lsn)).toBe(exact(lsn))
    for (let lsn = 0; lsn < end; lsn += 97) {
      const excess = log.bytesAfter(lsn) - exact(lsn)
      expect(excess).toBeGreaterThanOrEqual(0)
      // What stands between appends is counted too, below the newest.
      expect(excess).toBeLessThanOrEqual(64 * 1024 + 32 * (end - lsn))
    }
  })
})
