import { describe, expect, it } from 'vitest'
import { isUnderstudyError, type UnderstudyError } from '@understudy/contracts'
import { progressPath } from '../src/index.ts'
import { CHUNK, entry, FakeSource, TARGET, world, type World } from './support/world.ts'

/** Calls `act` once, when the leader is about to send the chunk at `offset`. */
function whenSending(w: World, offset: number, act: () => void): void {
  let done = false
  w.serverTap = (message) => {
    if (!done && message.type === 'snapshotChunk' && message.offset >= offset) {
      done = true
      act()
    }
    return message
  }
}

/** Drives a bootstrap whose process is killed when the leader is about to send the chunk at `offset`. */
async function killedAt(
  w: World,
  offset: number,
  options: Parameters<World['receive']>[0] = {},
): Promise<void> {
  let dead = false
  whenSending(w, offset, () => {
    w.network.crash('follower')
    w.disk.kill()
    dead = true
  })
  // What is left of a killed process hears nothing and settles nothing.
  void w.receive(options).catch(() => undefined)
  await w.clock.runUntil(() => dead, { withinMs: 60_000 })
}

describe('a broken connection', () => {
  it.each(Array.from({ length: 20 }, (_, chunk) => chunk))(
    'before chunk %i goes on with the same snapshot',
    async (chunk) => {
      const w = await world()
      const resumed: boolean[] = []
      whenSending(w, chunk * CHUNK, () => w.reset())
      const received = await w.bootstrap({ onProgress: (progress) => resumed.push(progress.resumed) })
      expect(w.read()).toEqual(w.image)
      expect(w.sources.length).toBe(1)
      expect(received.transferredBytes).toBe(w.image.length)
      // The first window was on its way when it was cut, the announcement of the snapshot included.
      expect(resumed.at(-1)).toBe(chunk >= 4)
    },
  )

  it('with chunks on their way loses only those', async () => {
    const w = await world({ chunks: 100, server: { windowBytes: 8 * CHUNK } })
    let sentBytes = 0
    w.serverTap = (message) => {
      if (message.type === 'snapshotChunk') sentBytes += message.bytes.length
      return message
    }
    const receiving = w.receive()
    for (let cut = 0; cut < 12; cut++) {
      await w.clock.advance(7.3)
      w.reset()
      await w.clock.advance(6000)
    }
    await w.clock.complete(receiving)
    expect(w.read()).toEqual(w.image)
    expect(w.sources.length).toBe(1)
    expect(sentBytes).toBeLessThanOrEqual(w.image.length + 12 * 8 * CHUNK)
  })

  it('after the last chunk needs nothing but the digest', async () => {
    const w = await world()
    let cut = false
    let sentAfter = 0
    w.serverTap = (message) => {
      if (message.type === 'snapshotEnd' && !cut) {
        cut = true
        w.clock.schedule(5, () => w.reset())
        return undefined
      }
      if (cut && message.type === 'snapshotChunk') sentAfter += 1
      return message
    }
    await w.bootstrap()
    expect(w.read()).toEqual(w.image)
    expect(sentAfter).toBe(0)
  })

  it('while the follower syncs the verified image changes nothing', async () => {
    const w = await world()
    w.serverTap = (message) => {
      if (message.type === 'snapshotEnd') w.clock.schedule(1.05, () => w.reset())
      return message
    }
    const retries: unknown[] = []
    await w.bootstrap({ onRetry: (error) => retries.push(error) })
    expect(retries).toEqual([])
    expect(w.read()).toEqual(w.image)
  })

  it('that shows no error is noticed by the deadline on both sides', async () => {
    const w = await world()
    whenSending(w, 10 * CHUNK, () => w.network.cut('leader', 'follower'))
    const retries: UnderstudyError[] = []
    const receiving = w.receive({ onRetry: (error) => retries.push(error) })
    await w.clock.runUntil(() => retries.length > 0 && w.served.length > 0, { withinMs: 12_500 })
    expect(retries[0]?.code).toBe('PEER_SILENT')
    w.network.healAll()
    await w.clock.complete(receiving)
    expect(w.read()).toEqual(w.image)
    expect(w.sources.length).toBe(1)
  })

  it('longer than keepMs goes on by hashes against a new snapshot', async () => {
    const w = await world({ server: { keepMs: 1000 } })
    const old = w.image
    whenSending(w, 15 * CHUNK, () => {
      w.network.cut('follower', 'leader')
      w.reset()
      w.image = w.changed(2, 18)
      w.point = { epoch: 1, lsn: 70, crc: 7070 }
    })
    const receiving = w.receive()
    await w.clock.advance(4000)
    expect(w.sources[0]?.closed).toBe(true)
    w.network.healAll()
    const received = await w.clock.complete(receiving)
    expect(received.point.lsn).toBe(70)
    expect(w.read()).toEqual(w.image)
    expect(w.read()).not.toEqual(old)
    // Chunk 2 and what the first connection had not brought: at most a window of the 15 before the cut.
    expect(received.skippedBytes).toBeGreaterThanOrEqual(10 * CHUNK)
    expect(received.skippedBytes + received.transferredBytes).toBeGreaterThanOrEqual(w.image.length)
  })
})

describe('another snapshot', () => {
  it('follows when the leader restarted, by hashes of what is in place', async () => {
    const w = await world()
    whenSending(w, 12 * CHUNK, () => {
      w.reset()
      w.image = w.changed(1, 5)
      w.history = [entry(1, 1), entry(2, 41)]
      w.point = { epoch: 2, lsn: 55, crc: 1 }
      void w.restartServer()
    })
    const received = await w.bootstrap()
    expect(received.point).toEqual(w.point)
    expect(received.history).toEqual(w.history)
    expect(w.read()).toEqual(w.image)
    expect(received.skippedBytes).toBeGreaterThanOrEqual((12 - 4 - 2) * CHUNK)
    expect(w.sources.length).toBe(2)
  })

  it('follows when the first one went over its cap', async () => {
    const w = await world()
    w.onSource = (source) => {
      if (w.sources.length === 1) source.endsAt = 13 * CHUNK
      else w.image = source.bytes
    }
    const retries: UnderstudyError[] = []
    const received = await w.bootstrap({ onRetry: (error) => retries.push(error) })
    expect(retries.map((error) => error.code)).toEqual(['SNAPSHOT_ENDED'])
    expect(w.read()).toEqual(w.image)
    expect(received).toMatchObject({ transferredBytes: w.image.length, skippedBytes: 13 * CHUNK })
    expect(w.sources[0]?.closed).toBe(true)
    expect(w.served[0]?.error?.code).toBe('SNAPSHOT_ENDED')
  })

  it('that is ended again and again before anything new came is given up', async () => {
    const w = await world()
    w.onSource = (source) => {
      source.endsAt = 13 * CHUNK
    }
    await expect(w.bootstrap({ attemptsMax: 5 })).rejects.toMatchObject({ code: 'SNAPSHOT_ENDED' })
    expect(w.sources.length).toBe(5)
  })

  it('of another size is cut or grown to', async () => {
    for (const chunks of [6, 33]) {
      const w = await world()
      whenSending(w, 12 * CHUNK, () => {
        w.reset()
        const image = w.newImage(chunks)
        image.set(w.image.subarray(0, Math.min(image.length, 5 * CHUNK)))
        w.image = image
        void w.restartServer()
      })
      await w.bootstrap()
      expect(w.read()).toEqual(w.image)
    }
  })

  it('with another chunk size is taken all the same', async () => {
    const w = await world()
    whenSending(w, 12 * CHUNK, () => {
      w.reset()
      void w.restartServer({ chunkBytes: 3 * CHUNK, windowBytes: CHUNK })
    })
    const received = await w.bootstrap()
    expect(w.read()).toEqual(w.image)
    expect(received.skippedBytes).toBeGreaterThanOrEqual(6 * CHUNK)
  })
})

describe('a killed follower', () => {
  it('goes on with the same snapshot from its progress file, hashing what came after', async () => {
    const w = await world({ chunks: 60, server: { bytesPerSecondMax: 200_000 } })
    await killedAt(w, 41 * CHUNK, { flushBytes: 8 * CHUNK })
    const received = await w.bootstrap({ flushBytes: 8 * CHUNK })
    expect(w.read()).toEqual(w.image)
    expect(w.sources.length).toBe(1)
    expect(received.resumedBytes).toBeGreaterThanOrEqual(24 * CHUNK)
    expect(received.resumedBytes + received.skippedBytes).toBeGreaterThanOrEqual(36 * CHUNK)
    expect(received.resumedBytes + received.skippedBytes + received.transferredBytes).toBe(w.image.length)
  })

  it('goes on by hashes when the leader has the snapshot no more', async () => {
    const w = await world({ chunks: 60 })
    await killedAt(w, 41 * CHUNK, { flushBytes: 8 * CHUNK })
    w.image = w.changed(3)
    await w.clock.complete(w.restartServer())
    const received = await w.bootstrap()
    expect(w.read()).toEqual(w.image)
    expect(received.resumedBytes).toBe(0)
    expect(received.skippedBytes).toBeGreaterThanOrEqual(35 * CHUNK)
  })

  it.each(Array.from({ length: 30 }, (_, seed) => seed))(
    'after a power loss builds the right image all the same (seed %i)',
    async (seed) => {
      const w = await world({
        chunks: 60,
        seed: `power ${seed}`,
        syncMs: { min: 1, max: 40 },
        server: { bytesPerSecondMax: 200_000 },
      })
      const at = w.random.below(60)
      const twice = w.random.chance(0.5)
      await killedAt(w, at * CHUNK, { flushBytes: 4 * CHUNK })
      w.disk.crash()
      if (twice) {
        w.image = w.changed(w.random.below(60))
        await w.clock.complete(w.restartServer())
        await killedAt(w, w.random.below(60) * CHUNK, { flushBytes: 4 * CHUNK })
        w.disk.crash()
      }
      const retries: UnderstudyError[] = []
      const received = await w.bootstrap({ flushBytes: 4 * CHUNK, onRetry: (error) => retries.push(error) })
      // The progress file claimed only what was on the disk: no digest was ever wrong.
      expect(retries).toEqual([])
      expect(w.read()).toEqual(w.image)
      expect(received.point).toEqual(w.point)
      w.disk.crash('lose-all')
      expect(w.read()).toEqual(w.image)
    },
  )
})

describe('a stale progress file', () => {
  it('that speaks of another target file costs hashing, never a wrong image', async () => {
    const w = await world({ chunks: 60, server: { bytesPerSecondMax: 200_000 } })
    await killedAt(w, 41 * CHUNK, { flushBytes: 8 * CHUNK })
    w.write(TARGET, w.changed(0, 4, 50))
    const retries: UnderstudyError[] = []
    await w.bootstrap({ onRetry: (error) => retries.push(error) })
    expect(w.read()).toEqual(w.image)
    expect(retries.map((error) => error.code)).toEqual(['SNAPSHOT_CORRUPT'])
  })

  it('that claims more than the target has is ignored', async () => {
    const w = await world({ chunks: 60, server: { bytesPerSecondMax: 200_000 } })
    await killedAt(w, 41 * CHUNK, { flushBytes: 8 * CHUNK })
    w.write(TARGET, w.image.subarray(0, 3 * CHUNK))
    const received = await w.bootstrap()
    expect(w.read()).toEqual(w.image)
    expect(received).toMatchObject({ resumedBytes: 0, skippedBytes: 3 * CHUNK })
  })

  it('that is damaged anywhere is ignored or falls back to its older record', async () => {
    const w = await world({ chunks: 60, server: { bytesPerSecondMax: 200_000 } })
    await killedAt(w, 41 * CHUNK, { flushBytes: 8 * CHUNK })
    const progress = w.read(progressPath(TARGET))
    for (const at of [0, 9, 14, 17, 30, 47, 60, 100, 4096, 4105, 4120, 4200]) {
      const damaged = Uint8Array.from(progress)
      damaged[at] = (damaged[at] ?? 0) ^ 1
      const target = `/new/${at}`
      w.write(target, w.image.subarray(0, 40 * CHUNK))
      w.write(progressPath(target), damaged)
      const retries: unknown[] = []
      await w.bootstrap({ target, onRetry: (error) => retries.push(error) })
      expect(w.read(target)).toEqual(w.image)
      expect(retries).toEqual([])
    }
  })
})

it('two followers at once share a snapshot and both get it', async () => {
  const w = await world({ chunks: 60 })
  const both = Promise.all([
    w.receive({ node: 'follower', target: '/new/one' }),
    w.receive({ node: 'other', target: '/new/two' }),
  ])
  const [one, two] = await w.clock.complete(both)
  expect(one.point).toEqual(two.point)
  expect(w.read('/new/one')).toEqual(w.image)
  expect(w.read('/new/two')).toEqual(w.image)
  expect(w.sources.length).toBe(1)
  await w.clock.advance(100)
  expect(w.sources[0]?.closed).toBe(true)
})

it('a source that reads short is read on', async () => {
  const w = await world({
    server: {
      openSnapshot: async () => {
        const source = new FakeSource(w.image, w.point)
        const read = source.read.bind(source)
        source.read = (target, offset) => read(target.subarray(0, 512), offset)
        return source
      },
    },
  })
  await w.bootstrap()
  expect(w.read()).toEqual(w.image)
})

it('an unknown failure is not tried again', async () => {
  const w = await world()
  const mistake = new Error('a mistake in a callback')
  const failing = w.bootstrap({
    onProgress: () => {
      throw mistake
    },
  })
  await expect(failing).rejects.toBe(mistake)
  expect(isUnderstudyError(mistake)).toBe(false)
})
