/** A hostile or damaged leader: when the file that it sent is opened, and what its names can reach. */
import { crc32 } from 'node:zlib'
import { expect, it } from 'vitest'
import { LIMITS } from '@understudy/protocol'
import { progressPath } from '../src/index.ts'
import { CHUNK, failureOf, TARGET, world } from './support/world.ts'

it('nobody opens an image whose digest is wrong', async () => {
  const w = await world()
  // A crafted database, each chunk with the CRC that fits, beneath a digest of other bytes.
  const crafted = w.newImage(20)
  w.serverTap = (message) => {
    if (message.type !== 'snapshotChunk' || message.bytes.length === 0) return message
    const bytes = crafted.subarray(message.offset, message.offset + message.bytes.length)
    return { ...message, bytes, crc: crc32(bytes) }
  }
  let looks = 0
  const failure = await failureOf(
    w.bootstrap({
      check: async () => {
        looks += 1
      },
    }),
  )
  expect(failure).toMatchObject({ code: 'SNAPSHOT_CORRUPT', details: { digest: true } })
  expect(looks).toBe(0)
  // Its bytes are there, as a held image that counts for nothing.
  expect(w.disk.exists(progressPath(TARGET))).toBe(true)
})

it('an image with the right digest is looked into once, before it counts', async () => {
  const w = await world()
  const looks: unknown[] = []
  await w.bootstrap({
    check: async (target, announced) => {
      looks.push({ target, ...announced, progress: w.disk.exists(progressPath(target)), bytes: w.read() })
    },
  })
  expect(looks).toEqual([
    {
      target: TARGET,
      pageBytes: 512,
      totalBytes: w.image.length,
      point: w.point,
      progress: true,
      bytes: w.image,
    },
  ])
  expect(w.disk.exists(progressPath(TARGET))).toBe(false)
})

it('an image that is no good is asked for again, then the bootstrap ends with the reason', async () => {
  const w = await world()
  let looks = 0
  const failure = await failureOf(
    w.bootstrap({
      check: async () => {
        looks += 1
        throw new Error('its schema is malformed')
      },
    }),
  )
  expect(failure).toMatchObject({ code: 'SNAPSHOT_CORRUPT', position: w.point })
  expect((failure as Error).message).toContain('its schema is malformed')
  expect(looks).toBe(3)
  // The leader never heard that this follower has the image.
  expect(w.served.every((served) => !served.finished)).toBe(true)
})

it('an image that is good the second time is used', async () => {
  const w = await world()
  let looks = 0
  await w.bootstrap({
    check: async () => {
      looks += 1
      if (looks === 1) throw new Error('a bit flipped in memory')
    },
  })
  expect(looks).toBe(2)
  expect(w.read()).toEqual(w.image)
})

it('an abort during the look waits until the file was let go', async () => {
  const w = await world()
  const abort = new AbortController()
  const letGo = Promise.withResolvers<void>()
  const looking = Promise.withResolvers<AbortSignal>()
  const received = w.receive({
    signal: abort.signal,
    check: async (_target, _announced, signal) => {
      looking.resolve(signal)
      await letGo.promise
      signal.throwIfAborted()
    },
  })
  let isOver = false
  const failure = failureOf(received).finally(() => (isOver = true))
  const signal = await w.clock.complete(looking.promise)
  abort.abort()
  expect(signal.aborted).toBe(true)
  await w.clock.advance(60_000)
  expect(isOver).toBe(false)
  letGo.resolve()
  expect(await failure).toMatchObject({ code: 'ABORTED' })
  expect(w.disk.exists(progressPath(TARGET))).toBe(true)
})

it.each([
  ['..', '../../escape'],
  ['absolute', '/escape'],
  ['a device of Windows', 'C:\\escape|NUL:'],
  ['as long as can be', '/'.repeat(64)],
])('a snapshot id that is a path names no file: %s', async (_name, id) => {
  const w = await world()
  const directories: string[] = []
  w.serverTap = (message) => (message.type === 'snapshotStart' ? { ...message, id } : message)
  await w.bootstrap({
    onProgress: () => {
      for (const name of w.disk.list('/new')) directories.push(name)
    },
  })
  expect(new Set(directories)).toEqual(new Set(['database.sqlite', 'database.sqlite.progress']))
  expect(w.disk.list('/')).toEqual(['new'])
  expect(w.read()).toEqual(w.image)
})

it.each([
  ['empty', ''],
  ['a NUL', 'a\0b'],
  ['a line break', 'a\nb'],
  ['not ASCII', 'ä'],
  ['too long', 'x'.repeat(65)],
])('a snapshot id that cannot be one is refused: %s', async (_name, id) => {
  const w = await world()
  w.serverTap = (message) => (message.type === 'snapshotStart' ? { ...message, id } : message)
  await expect(w.bootstrap({ attemptsMax: 1 })).rejects.toMatchObject({ code: 'PROTOCOL_VIOLATION' })
})

it.each([
  ['a size that is no number of pages', { totalBytes: 20 * CHUNK + 1 }],
  ['a size of zero', { totalBytes: 0 }],
  ['a page size of SQLite that is none', { pageBytes: 768 }],
  ['a page of one byte', { pageBytes: 1 }],
  ['a chunk smaller than a page', { chunkBytes: 256 }],
  ['a chunk that fits no frame', { chunkBytes: LIMITS.frameBytesMax }],
  ['more pages than SQLite has', { totalBytes: 512 * 0x1_0000_0000 }],
  ['a window of zero', { windowBytes: 0 }],
])('an announcement that cannot be is refused before a byte is written: %s', async (_name, lie) => {
  const w = await world()
  w.serverTap = (message) => (message.type === 'snapshotStart' ? { ...message, ...lie } : message)
  await expect(w.bootstrap({ attemptsMax: 1 })).rejects.toMatchObject({ code: 'PROTOCOL_VIOLATION' })
  expect(w.disk.size(TARGET)).toBe(0)
})

it('a database of a terabyte takes no memory because it was announced', async () => {
  const w = await world()
  w.serverTap = (message) =>
    message.type === 'snapshotStart' ? { ...message, totalBytes: 2 ** 40, chunkBytes: 512 } : message
  const before = process.memoryUsage().arrayBuffers
  let most = 0
  const failure = await failureOf(
    w.bootstrap({
      attemptsMax: 1,
      onProgress: () => {
        most = Math.max(most, process.memoryUsage().arrayBuffers - before)
      },
    }),
  )
  expect(failure).toMatchObject({ code: 'PROTOCOL_VIOLATION' })
  expect(most).toBeGreaterThanOrEqual(0)
  expect(most).toBeLessThan(64 * 1024 * 1024)
})
