import { isUnderstudyError, UnderstudyError, type Files, type Log } from '@understudy/contracts'
import { SeededRandom, SimulatedDisk } from '@understudy/testkit'
import { expect, test } from 'vitest'
import { openLog } from '../src/index.ts'
import { begin, draft, errorOf, texts } from './helpers.ts'

function open(disk: SimulatedDisk, segmentBytes = 16_384): Log {
  return openLog({ directory: '/log', files: disk.mount(), random: new SeededRandom(5), segmentBytes })
}

test('after a failed fsync the log takes no further records and never syncs again', async () => {
  for (const how of ['now', 'group'] as const) {
    const disk = new SimulatedDisk()
    const log = open(disk)
    begin(log)
    log.syncNow()
    log.append([draft('doubtful')])
    disk.failOnce('dataSync')
    const first =
      how === 'now' ? errorOf(() => log.syncNow()) : await log.sync().catch((error: unknown) => error)
    expect(first).toMatchObject({ code: 'LOG_FAILED' })
    expect(first).toMatchObject({ cause: { code: 'STORAGE_FAILED' } })
    expect(log.failure).toBe(first)
    expect(log.durable).toBe(1)
    const syncs = disk.counts.dataSyncs
    expect(errorOf(() => log.syncNow())).toBe(first)
    await expect(log.sync()).rejects.toBe(first)
    expect(errorOf(() => log.append([draft('more')]))).toBe(first)
    expect(errorOf(() => log.truncateAfter(1))).toBe(first)
    expect(errorOf(() => log.slots.reserve('a', 1))).toBe(first)
    expect(log.read(1)).toMatchObject({ first: 1, last: 1 })
    await log.close()
    expect(disk.counts.dataSyncs).toBe(syncs)
  }
})

test('what a failed fsync left in memory alone reaches the disk when the log is opened anew', () => {
  for (let seed = 0; seed < 30; seed++) {
    const disk = new SimulatedDisk({ random: new SeededRandom(seed) })
    const log = open(disk)
    begin(log)
    log.syncNow()
    log.append([draft('doubtful'.padEnd(2000, '.'))])
    disk.failOnce('dataSync')
    expect(errorOf(() => log.syncNow())).toMatchObject({ code: 'LOG_FAILED' })
    disk.kill()
    const again = open(disk)
    const { end, durable } = again
    expect(durable).toBe(end.lsn)
    disk.crash('lose-all')
    expect(open(disk).end).toEqual(end)
  }
})

test('everyone who waits for a failed sync is told, the ones in the next group too', async () => {
  const disk = new SimulatedDisk()
  const log = open(disk)
  begin(log)
  disk.failOnce('dataSync')
  const waiting = [log.sync(), log.sync()]
  log.append([draft('x')])
  waiting.push(log.sync())
  for (const outcome of await Promise.allSettled(waiting)) {
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'LOG_FAILED' } })
  }
  expect(log.durable).toBe(0)
})

test('concurrent syncs share one fdatasync', async () => {
  const disk = new SimulatedDisk()
  const log = open(disk)
  begin(log)
  log.syncNow()
  const before = disk.counts.dataSyncs
  const waiting: Promise<number>[] = []
  for (let i = 0; i < 20; i++) {
    log.append([draft(`r${i}`)])
    waiting.push(log.sync())
  }
  // The first went alone, the other nineteen together.
  expect((await Promise.all(waiting)).every((durable) => durable >= 2)).toBe(true)
  expect(await waiting.at(-1)).toBe(21)
  expect(disk.counts.dataSyncs - before).toBe(2)
  await log.sync()
  log.syncNow()
  expect(disk.counts.dataSyncs - before).toBe(2)
})

test('a sync speaks only for what was appended before it began', async () => {
  const disk = new SimulatedDisk()
  const log = open(disk)
  begin(log)
  const first = log.sync()
  log.append([draft('later')])
  await first
  expect(log.durable).toBe(1)
})

test('a full disk at a new segment leaves the log unchanged and usable', async () => {
  const disk = new SimulatedDisk()
  const log = open(disk)
  begin(log)
  disk.bytesMax = disk.usedBytes + 5000
  const bodies: string[] = []
  let refused: unknown
  while (refused === undefined) {
    const body = `r${bodies.length}`.padEnd(1000, '.')
    const before = log.end
    refused = errorOf(() => log.append([draft(body)]))
    if (refused === undefined) bodies.push(body)
    else expect(log.end).toEqual(before)
  }
  expect(refused).toMatchObject({ code: 'DISK_FULL' })
  expect(log.failure).toBeUndefined()
  log.append([draft('small')])
  log.syncNow()
  expect(disk.list('/log').filter((name) => name.endsWith('.segment'))).toHaveLength(1)
  disk.bytesMax = Number.POSITIVE_INFINITY
  log.append([draft('again'.padEnd(8000, '.'))])
  log.syncNow()
  expect(texts(log)).toEqual([...bodies, 'small', 'again'.padEnd(8000, '.')])
  expect(disk.list('/log').filter((name) => name.endsWith('.segment'))).toHaveLength(2)
  await log.close()
  expect(texts(open(disk))).toHaveLength(bodies.length + 2)
})

test('what a write on a full disk left behind never becomes a record', () => {
  const disk = new SimulatedDisk()
  const files = disk.mount()
  let full = false
  const log = openLog({
    directory: '/log',
    segmentBytes: 16_384,
    files: {
      open(path, options) {
        const handle = files.open(path, options)
        const write = handle.write.bind(handle)
        handle.write = (parts, offset) => {
          write(parts, offset)
          if (!full || !path.endsWith('.segment')) return
          full = false
          disk.bytesMax = disk.usedBytes
          write([new Uint8Array(1)], disk.size(path))
        }
        return handle
      },
      exists: (path) => files.exists(path),
      size: (path) => files.size(path),
      makeDirectory: (path) => files.makeDirectory(path),
      list: (path) => files.list(path),
      rename: (from, to) => files.rename(from, to),
      remove: (path) => files.remove(path),
      syncDirectory: (path) => files.syncDirectory(path),
    },
  })
  begin(log)
  log.append([draft('kept')])
  log.syncNow()
  full = true
  expect(errorOf(() => log.append([draft('refused'), draft('refused too')]))).toMatchObject({
    code: 'DISK_FULL',
  })
  expect(log.failure).toBeUndefined()
  expect(log.end.lsn).toBe(2)
  disk.bytesMax = Number.POSITIVE_INFINITY
  disk.crash('keep-all')
  expect(texts(open(disk))).toEqual(['kept'])
})

/** A disk whose `call` fails once, for want of space, when `armed`. */
function fullAt(
  disk: SimulatedDisk,
  call: 'syncDirectory' | 'dataSyncNow',
): { files: Files; arm: () => void } {
  const files = disk.mount()
  let armed = false
  const full = (): void => {
    if (!armed) return
    armed = false
    throw new UnderstudyError('DISK_FULL', 'no space for the metadata')
  }
  const wrapped: Files = {
    open(path, options) {
      const handle = files.open(path, options)
      const sync = handle.dataSyncNow.bind(handle)
      handle.dataSyncNow = () => {
        if (call === 'dataSyncNow') full()
        sync()
      }
      return handle
    },
    exists: (path) => files.exists(path),
    size: (path) => files.size(path),
    makeDirectory: (path) => files.makeDirectory(path),
    list: (path) => files.list(path),
    rename: (from, to) => files.rename(from, to),
    remove: (path) => files.remove(path),
    syncDirectory(path) {
      if (call === 'syncDirectory') full()
      files.syncDirectory(path)
    },
  }
  return { files: wrapped, arm: () => void (armed = true) }
}

test('a sync that fails for want of space is a failed sync', () => {
  const { files, arm } = fullAt(new SimulatedDisk(), 'dataSyncNow')
  const log = openLog({ directory: '/log', files })
  begin(log)
  arm()
  expect(errorOf(() => log.syncNow())).toMatchObject({ code: 'LOG_FAILED', cause: { code: 'DISK_FULL' } })
  expect(log.durable).toBe(0)
})

test('a name that may or may not be on the disk fails the log, for want of space too', () => {
  for (const run of [
    (log: Log) => void log.append([draft('two'.padEnd(9000, '.'))]),
    (log: Log) => log.resetTo({ epoch: 1, lsn: 50, crc: 1 }, log.history),
    (log: Log) => void log.slots.reserve('a', 1),
  ]) {
    const { files, arm } = fullAt(new SimulatedDisk(), 'syncDirectory')
    const log = openLog({ directory: '/log', files, segmentBytes: 16_384 })
    begin(log)
    log.append([draft('one'.padEnd(9000, '.'))])
    arm()
    expect(errorOf(() => run(log))).toMatchObject({ code: 'LOG_FAILED' })
    expect(log.failure).toBeDefined()
  }
})

test('another failed write fails the log', () => {
  const disk = new SimulatedDisk()
  const log = open(disk)
  begin(log)
  disk.failOnce('write')
  const error = errorOf(() => log.append([draft('x')]))
  expect(error).toMatchObject({ code: 'LOG_FAILED' })
  expect(log.failure).toBe(error)
  expect(log.end.lsn).toBe(1)
})

test('a failed directory sync at a new segment fails the log, and nothing synced is lost', () => {
  for (const outcome of ['lose-all', 'keep-all', 'random'] as const) {
    const disk = new SimulatedDisk()
    const log = open(disk)
    begin(log)
    log.append([draft('one'.padEnd(9000, '.'))])
    disk.failOnce('syncDirectory')
    expect(errorOf(() => log.append([draft('two'.padEnd(9000, '.'))]))).toMatchObject({ code: 'LOG_FAILED' })
    disk.crash(outcome)
    expect(texts(open(disk))).toEqual(['one'.padEnd(9000, '.')])
  }
})

test('a read-only disk is an error of its own', () => {
  const disk = new SimulatedDisk()
  disk.readOnly = true
  expect(errorOf(() => open(disk))).toMatchObject({ code: 'READ_ONLY_DISK' })
})

test('a closed log says so', async () => {
  const log = open(new SimulatedDisk())
  begin(log)
  await log.close()
  await log.close()
  for (const run of [
    () => log.append([draft('x')]),
    () => log.syncNow(),
    () => log.read(1),
    () => log.crcAt(1),
  ]) {
    expect(isUnderstudyError(errorOf(run), 'CLOSED')).toBe(true)
  }
  await expect(log.sync()).rejects.toMatchObject({ code: 'CLOSED' })
})
