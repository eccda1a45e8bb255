import fs from 'node:fs'
import path from 'node:path'
import { SimulatedDisk } from '@understudy/testkit'
import { expect, test } from 'vitest'
import { openLog, readSegments } from '../src/index.ts'
import { GOLDEN_FILES, writeGolden } from './golden-scenario.ts'
import { draft, RUN, scratch } from './helpers.ts'

const FIXTURES = path.join(import.meta.dirname, 'fixtures', 'v1')

test('version 1 is written byte for byte as it was released', async () => {
  const disk = new SimulatedDisk()
  await writeGolden(disk.mount(), '/log')
  expect(disk.list('/log')).toEqual([...GOLDEN_FILES])
  for (const name of GOLDEN_FILES) {
    const bytes = Buffer.alloc(disk.size(`/log/${name}`))
    disk.open(`/log/${name}`).read(bytes, 0)
    expect(bytes.equals(fs.readFileSync(path.join(FIXTURES, name)))).toBe(true)
  }
})

test('version 1 is read as it was released', async () => {
  using dir = scratch()
  for (const name of GOLDEN_FILES) fs.copyFileSync(path.join(FIXTURES, name), path.join(dir.path, name))
  await using log = openLog({ directory: dir.path, segmentBytes: 8192 })
  expect([log.first, log.durable, log.crcAt(7), log.crcAt(4)]).toEqual([8, 14, 0xdeadbeef, 0x01020304])
  expect(log.history.map((entry) => [entry.number, entry.runId, entry.leader, entry.firstLsn])).toEqual([
    [1, RUN[0], 'a', 1],
    [2, RUN[1], 'bé', 5],
    [3, RUN[2], 'c', 8],
  ])
  const records = [...log.records(8)]
  expect(
    records.map(({ lsn, epoch, format, flags, committedAtMs }) => [lsn, epoch, format, flags, committedAtMs]),
  ).toEqual([
    [8, 3, 0, 0, 1_700_000_000_123.5],
    [9, 3, 1, 1, 1_700_000_000_000.25],
    [10, 3, 1, 0, 1_700_000_000_000.25],
    [11, 3, 65_535, 0, -1],
    [12, 3, 1, 0, 1_700_000_000_000.25],
    [13, 3, 0, 0, 0],
    [14, 3, 1, 0, 1_700_000_000_000.25],
  ])
  expect(records.map((record) => record.crc)).toEqual([
    1411172571, 2166653447, 1959156333, 2909083758, 4218688359, 2122029329, 2896323999,
  ])
  expect(Buffer.from(records[1]!.payload).toString()).toBe('first part')
  expect(log.slots.list().map(({ name, lsn, state }) => [name, lsn, state])).toEqual([
    ['follower é', 13, 'reserved'],
    ['local', 9, 'reserved'],
  ])
  log.append([draft('goes on')])
  log.syncNow()
  expect([...readSegments(dir.path)].map((item) => item.kind)).toEqual(
    Array.from({ length: 8 }, () => 'record'),
  )
})

test('a newer version is refused, and the file is kept', () => {
  for (const [name, offset] of [
    [GOLDEN_FILES[1], 8],
    ['log.state', 8],
  ] as const) {
    using dir = scratch()
    for (const file of GOLDEN_FILES) fs.copyFileSync(path.join(FIXTURES, file), path.join(dir.path, file))
    const bytes = fs.readFileSync(path.join(dir.path, name))
    bytes.writeUInt16LE(2, offset)
    fs.writeFileSync(path.join(dir.path, name), bytes)
    expect(() => openLog({ directory: dir.path })).toThrow(
      expect.objectContaining({ code: 'FORMAT_VERSION' }),
    )
    expect(fs.readFileSync(path.join(dir.path, name)).equals(bytes)).toBe(true)
  }
})
