import { describe, expect, test } from 'vitest'
import type { FileHandle } from '@understudy/contracts'
import { SeededRandom, SimulatedClock, SimulatedDisk, Trace } from '@understudy/testkit'

const SECTOR = 512

function diskWithFile(seed: number | string = 1): { disk: SimulatedDisk; file: FileHandle } {
  const disk = new SimulatedDisk({ random: new SeededRandom(seed) })
  const file = disk.open('/file', { create: true, write: true })
  disk.syncDirectory('/')
  return { disk, file }
}

function contentOf(disk: SimulatedDisk, path: string): Uint8Array {
  const bytes = new Uint8Array(disk.size(path))
  disk.open(path).read(bytes, 0)
  return bytes
}

/** Which of the values stand in each sector: one letter a sector, `?` for a mixture. */
function sectorsOf(disk: SimulatedDisk, path: string): string {
  const bytes = contentOf(disk, path)
  let letters = ''
  for (let from = 0; from < bytes.byteLength; from += SECTOR) {
    const sector = bytes.subarray(from, from + SECTOR)
    const whole = sector.every((byte) => byte === sector[0])
    letters += whole ? (sector[0] === 0 ? '.' : String.fromCharCode(sector[0] ?? 0)) : '?'
  }
  return letters
}

function fill(letter: string, sectors: number): Uint8Array {
  return new Uint8Array(sectors * SECTOR).fill(letter.charCodeAt(0))
}

describe('contents after a crash', () => {
  test('what was synced is never lost, whatever the seed', () => {
    for (let seed = 0; seed < 200; seed++) {
      const { disk, file } = diskWithFile(seed)
      file.write([fill('a', 6)], 0)
      file.dataSyncNow()
      file.write([fill('b', 2)], 4 * SECTOR)
      disk.crash()
      expect(sectorsOf(disk, '/file')).toMatch(/^aaaa[ab][ab]$/)
    }
  })

  test('unsynced writes can be kept, lost, torn between sectors and reordered', () => {
    const outcomes = new Set<string>()
    for (let seed = 0; seed < 400; seed++) {
      const { disk, file } = diskWithFile(seed)
      file.write([fill('a', 4)], 0)
      file.dataSyncNow()
      file.write([fill('b', 2)], 0)
      file.write([fill('c', 2)], 2 * SECTOR)
      disk.crash()
      outcomes.add(sectorsOf(disk, '/file'))
    }
    // All kept, none kept, torn, the later without the earlier.
    for (const outcome of ['bbcc', 'aaaa', 'baaa', 'aacc', 'bbca']) expect(outcomes).toContain(outcome)
    for (const outcome of outcomes) expect(outcome).toMatch(/^[ab][ab][ac][ac]$/)
  })

  test('of two writes to one sector the later never loses to the earlier', () => {
    const outcomes = new Set<string>()
    for (let seed = 0; seed < 100; seed++) {
      const { disk, file } = diskWithFile(seed)
      file.write([fill('b', 1)], 0)
      file.write([fill('c', 1)], 0)
      const copy = disk.copy(new SeededRandom(seed))
      copy.crash('keep-all')
      expect(sectorsOf(copy, '/file')).toBe('c')
      disk.crash()
      outcomes.add(sectorsOf(disk, '/file'))
    }
    expect([...outcomes].sort()).toEqual(['', '.', 'b', 'c'])
  })

  test('a file can have grown by zeros instead of what was written', () => {
    const outcomes = new Set<string>()
    for (let seed = 0; seed < 300; seed++) {
      const { disk, file } = diskWithFile(seed)
      file.write([fill('a', 3)], 0)
      disk.crash()
      outcomes.add(sectorsOf(disk, '/file'))
    }
    for (const outcome of ['', 'aaa', '...', '.a', 'a..', 'a']) expect(outcomes).toContain(outcome)
  })

  test('an unsynced truncation can be undone, a synced one cannot', () => {
    const sizes = new Set<number>()
    for (let seed = 0; seed < 60; seed++) {
      const { disk, file } = diskWithFile(seed)
      file.write([fill('a', 4)], 0)
      file.dataSyncNow()
      file.truncate(SECTOR)
      if (seed % 2 === 0) file.dataSyncNow()
      disk.crash()
      if (seed % 2 === 0) expect(disk.size('/file')).toBe(SECTOR)
      else sizes.add(disk.size('/file'))
    }
    expect([...sizes].sort((a, b) => a - b)).toEqual([SECTOR, 4 * SECTOR])
  })

  test('the extremes can be asked for', () => {
    const { disk, file } = diskWithFile()
    file.write([fill('a', 3)], 0)
    const lost = disk.copy()
    lost.crash('lose-all')
    expect(lost.size('/file')).toBe(0)
    disk.crash('keep-all')
    expect(sectorsOf(disk, '/file')).toBe('aaa')
  })

  test('a copy is independent, and may crash many times from one state', () => {
    const { disk, file } = diskWithFile()
    file.write([fill('a', 4)], 0)
    const outcomes = new Set<string>()
    for (let seed = 0; seed < 50; seed++) {
      const copy = disk.copy(new SeededRandom(seed))
      copy.crash()
      outcomes.add(sectorsOf(copy, '/file'))
    }
    expect(outcomes.size).toBeGreaterThan(3)
    expect(sectorsOf(disk, '/file')).toBe('aaaa')
    file.write([fill('b', 1)], 0)
    expect(disk.hasUnsynced('/file')).toBe(true)
  })
})

describe('syncs', () => {
  test('dataSync covers what was written before it began, not what came meanwhile', async () => {
    const clock = new SimulatedClock()
    const disk = new SimulatedDisk({ clock, random: new SeededRandom(1), syncMs: 5 })
    const file = disk.open('/file', { create: true, write: true })
    disk.syncDirectory('/')
    file.write([fill('a', 1)], 0)
    const synced = file.dataSync()
    file.write([fill('b', 1)], SECTOR)
    await clock.complete(synced)
    expect(clock.monotonic()).toBe(1005)
    disk.crash('lose-all')
    expect(sectorsOf(disk, '/file')).toBe('a')
  })

  test('nothing is durable before the sync has ended, and one under way in a crash never settles', async () => {
    const clock = new SimulatedClock()
    const disk = new SimulatedDisk({ clock, random: new SeededRandom(1), syncMs: 5 })
    const file = disk.open('/file', { create: true, write: true })
    disk.syncDirectory('/')
    file.write([fill('a', 1)], 0)
    let settled = false
    const mark = (): void => {
      settled = true
    }
    file.dataSync().then(mark, mark)
    await clock.advance(4.9)
    disk.crash('lose-all')
    await clock.advance(1000)
    expect(settled).toBe(false)
    expect(disk.size('/file')).toBe(0)
  })

  test('two syncs under way at once each make their part durable, in whichever order they end', async () => {
    for (let seed = 0; seed < 20; seed++) {
      const clock = new SimulatedClock()
      const disk = new SimulatedDisk({ clock, random: new SeededRandom(seed), syncMs: { min: 1, max: 10 } })
      const file = disk.open('/file', { create: true, write: true })
      disk.syncDirectory('/')
      file.write([fill('a', 1)], 0)
      const first = file.dataSync()
      file.write([fill('b', 1)], 0)
      const second = file.dataSync()
      await clock.complete(Promise.all([first, second]))
      disk.crash('lose-all')
      expect(sectorsOf(disk, '/file')).toBe('b')
    }
  })

  test('a failed sync loses what it should have written, also for a later sync that succeeds', () => {
    const lost = new Set<string>()
    for (let seed = 0; seed < 40; seed++) {
      const { disk, file } = diskWithFile(seed)
      file.write([fill('a', 2)], 0)
      disk.failOnce('dataSync')
      expect(() => file.dataSyncNow()).toThrow(expect.objectContaining({ code: 'STORAGE_FAILED' }))
      expect(sectorsOf(disk, '/file')).toBe('aa')
      file.write([fill('b', 1)], 2 * SECTOR)
      file.dataSyncNow()
      disk.crash()
      expect(sectorsOf(disk, '/file').at(2)).toBe('b')
      lost.add(sectorsOf(disk, '/file'))
    }
    expect(lost).toContain('..b')
    // A failed sync may have written a part.
    expect([...lost].some((outcome) => outcome.includes('a'))).toBe(true)
  })

  test('the nth sync of one file fails, once, and is counted', async () => {
    const { disk, file } = diskWithFile()
    const other = disk.open('/other', { create: true, write: true })
    disk.failOnce('dataSync', { after: 2, path: (path) => path === '/file' })
    file.dataSyncNow()
    other.dataSyncNow()
    other.dataSyncNow()
    await file.dataSync()
    await expect(file.dataSync()).rejects.toMatchObject({
      code: 'STORAGE_FAILED',
      details: { systemCode: 'EIO' },
    })
    await file.dataSync()
    expect(disk.counts).toMatchObject({ dataSyncs: 6, directorySyncs: 1, injectedFaults: 1 })
  })

  test('random failures of syncs come as often as asked', () => {
    const { disk, file } = diskWithFile()
    disk.syncFailureChance = 0.25
    let failed = 0
    for (let count = 0; count < 1000; count++) {
      try {
        file.dataSyncNow()
      } catch {
        failed += 1
      }
    }
    expect(failed).toBeGreaterThan(180)
    expect(failed).toBeLessThan(320)
    expect(disk.counts.injectedFaults).toBe(failed)
  })
})

describe('names after a crash', () => {
  test('a created file can vanish until its directory is synced, its synced contents with it', () => {
    const survived = new Set<boolean>()
    for (let seed = 0; seed < 40; seed++) {
      const disk = new SimulatedDisk({ random: new SeededRandom(seed) })
      const file = disk.open('/new', { create: true, write: true })
      file.write([fill('a', 1)], 0)
      file.dataSyncNow()
      const synced = disk.copy(new SeededRandom(seed))
      synced.syncDirectory('/')
      synced.crash()
      expect(sectorsOf(synced, '/new')).toBe('a')
      disk.crash()
      survived.add(disk.exists('/new'))
      if (disk.exists('/new')) expect(sectorsOf(disk, '/new')).toBe('a')
    }
    expect(survived).toEqual(new Set([true, false]))
  })

  test('a rename over a file shows the old or the new one, and the new one for sure after a sync', () => {
    const seen = new Set<string>()
    for (let seed = 0; seed < 60; seed++) {
      const disk = new SimulatedDisk({ random: new SeededRandom(seed) })
      for (const [name, letter] of [
        ['/state', 'o'],
        ['/state.new', 'n'],
      ] as const) {
        const file = disk.open(name, { create: true, write: true })
        file.write([fill(letter, 1)], 0)
        file.dataSyncNow()
      }
      disk.syncDirectory('/')
      disk.rename('/state.new', '/state')
      if (seed % 2 === 0) disk.syncDirectory('/')
      disk.crash()
      const state = sectorsOf(disk, '/state')
      expect(disk.exists('/state.new')).toBe(state === 'o')
      if (seed % 2 === 0) expect(state).toBe('n')
      else seen.add(state)
    }
    expect(seen).toEqual(new Set(['o', 'n']))
  })

  test('a rename of a file whose contents were not synced can leave an empty file', () => {
    const disk = new SimulatedDisk()
    const file = disk.open('/state.new', { create: true, write: true })
    file.write([fill('n', 1)], 0)
    disk.rename('/state.new', '/state')
    disk.syncDirectory('/')
    disk.crash('lose-all')
    expect(disk.size('/state')).toBe(0)
  })

  test('a rename to another directory is durable once that one is synced, and the old name does not come back', () => {
    const disk = new SimulatedDisk({ directories: 'durable' })
    disk.makeDirectory('/a')
    disk.makeDirectory('/b')
    disk.open('/a/file', { create: true, write: true })
    disk.rename('/a/file', '/b/file')
    disk.syncDirectory('/b')
    disk.syncDirectory('/a')
    disk.crash('lose-all')
    expect(disk.paths).toEqual(['/b/file'])
  })

  test('a removed file can come back until its directory is synced', () => {
    const survived = new Set<boolean>()
    for (let seed = 0; seed < 40; seed++) {
      const { disk } = diskWithFile(seed)
      disk.remove('/file')
      if (seed % 2 === 0) disk.syncDirectory('/')
      disk.crash()
      if (seed % 2 === 0) expect(disk.exists('/file')).toBe(false)
      else survived.add(disk.exists('/file'))
    }
    expect(survived).toEqual(new Set([true, false]))
  })

  test('a new directory takes all in it along, unless its parent was synced or directories are durable', () => {
    const lose = (directories: 'strict' | 'durable', syncParent: boolean): string[] => {
      const disk = new SimulatedDisk({ directories })
      disk.makeDirectory('/data')
      disk.open('/data/file', { create: true, write: true })
      disk.syncDirectory('/data')
      if (syncParent) disk.syncDirectory('/')
      disk.crash('lose-all')
      return disk.paths
    }
    expect(lose('strict', false)).toEqual([])
    expect(lose('strict', true)).toEqual(['/data/file'])
    expect(lose('durable', false)).toEqual(['/data/file'])
  })
})

describe('lives', () => {
  test('handles and mounts die in a crash; the next life finds the files', async () => {
    const disk = new SimulatedDisk()
    const before = disk.mount()
    const file = before.open('/file', { create: true, write: true })
    before.syncDirectory('/')
    disk.crash()
    const dead = expect.objectContaining({ code: 'STORAGE_FAILED' })
    expect(() => file.write([fill('a', 1)], 0)).toThrow(dead)
    expect(() => file.dataSyncNow()).toThrow(dead)
    await expect(file.dataSync()).rejects.toEqual(dead)
    for (const call of [() => before.exists('/file'), () => before.list('/'), () => before.remove('/file')]) {
      expect(call).toThrow(dead)
    }
    expect(disk.mount().list('/')).toEqual(['file'])
  })

  test('a killed process loses its handles, not what it wrote', () => {
    const { disk, file } = diskWithFile()
    file.write([fill('a', 1)], 0)
    disk.kill()
    expect(() => file.size()).toThrow(expect.objectContaining({ code: 'STORAGE_FAILED' }))
    expect(sectorsOf(disk, '/file')).toBe('a')
    disk.crash('lose-all')
    expect(sectorsOf(disk, '/file')).toBe('')
  })
})

describe('failures', () => {
  test('a full disk takes a prefix and says so; freed space can be used', () => {
    const { disk, file } = diskWithFile()
    disk.bytesMax = 2 * SECTOR
    expect(() => file.write([fill('a', 1), fill('b', 2)], 0)).toThrow(
      expect.objectContaining({ code: 'DISK_FULL' }),
    )
    expect(sectorsOf(disk, '/file')).toBe('ab')
    expect(disk.usedBytes).toBe(2 * SECTOR)
    file.write([fill('c', 2)], 0)
    expect(() => file.truncate(3 * SECTOR)).toThrow(expect.objectContaining({ code: 'DISK_FULL' }))
    expect(file.size()).toBe(2 * SECTOR)
    file.truncate(SECTOR)
    file.write([fill('d', 1)], SECTOR)
    expect(sectorsOf(disk, '/file')).toBe('cd')
  })

  test('a read-only disk can be read and refuses every change', () => {
    const { disk, file } = diskWithFile()
    file.write([fill('a', 1)], 0)
    disk.readOnly = true
    const changes = [
      () => file.write([fill('b', 1)], 0),
      () => file.truncate(0),
      () => disk.open('/new', { create: true, write: true }),
      () => disk.open('/file', { write: true }),
      () => disk.remove('/file'),
      () => disk.rename('/file', '/other'),
      () => disk.makeDirectory('/directory'),
    ]
    for (const change of changes) expect(change).toThrow(expect.objectContaining({ code: 'READ_ONLY_DISK' }))
    expect(sectorsOf(disk, '/file')).toBe('a')
    expect(disk.list('/')).toEqual(['file'])
    disk.readOnly = false
    file.write([fill('b', 1)], 0)
  })

  test.for(['open', 'read', 'write', 'truncate', 'rename', 'remove', 'syncDirectory'] as const)(
    'an injected failure of %s comes once and changes nothing',
    (operation) => {
      const { disk, file } = diskWithFile()
      file.write([fill('a', 1)], 0)
      const calls = {
        open: () => disk.open('/file'),
        read: () => file.read(new Uint8Array(1), 0),
        write: () => file.write([fill('b', 1)], 0),
        truncate: () => file.truncate(0),
        rename: () => disk.rename('/file', '/file'),
        remove: () => disk.remove('/file'),
        syncDirectory: () => disk.syncDirectory('/'),
      }
      disk.failOnce(operation)
      expect(calls[operation]).toThrow(expect.objectContaining({ code: 'STORAGE_FAILED' }))
      expect(sectorsOf(disk, '/file')).toBe('a')
      calls[operation]()
    },
  )

  test('a flipped bit is one bit, durably', () => {
    const { disk, file } = diskWithFile()
    file.write([fill('a', 2)], 0)
    file.dataSyncNow()
    const before = contentOf(disk, '/file')
    const { offset, bit } = disk.flipBit('/file')
    disk.crash()
    const after = contentOf(disk, '/file')
    const differing = [...after.keys()].filter((at) => after[at] !== before[at])
    expect(differing).toEqual([offset])
    expect((after[offset] ?? 0) ^ (before[offset] ?? 0)).toBe(1 << bit)
    disk.flipBit('/file', { offset, bit })
    expect(contentOf(disk, '/file')).toEqual(before)
  })
})

describe('determinism', () => {
  const run = async (seed: number): Promise<string> => {
    const trace = new Trace()
    const clock = new SimulatedClock({ shuffle: new SeededRandom(seed) })
    const random = new SeededRandom(seed).fork('disk')
    const disk = new SimulatedDisk({ clock, random, trace: trace.add })
    const workload = new SeededRandom(seed).fork('workload')
    for (let life = 0; life < 5; life++) {
      const file = disk.open('/file', { create: true, write: true })
      disk.syncDirectory('/')
      for (let count = 0; count < 50; count++) {
        file.write([workload.bytes(workload.below(3000))], workload.below(20_000))
        if (workload.chance(0.3)) await clock.complete(file.dataSync())
      }
      disk.crash()
      trace.add(`${clock.monotonic()} ${Buffer.from(contentOf(disk, '/file')).toString('base64')}`)
    }
    return trace.hash
  }

  test('one seed, one trace; another seed, another', async () => {
    expect(await run(1)).toBe(await run(1))
    expect(await run(1)).not.toBe(await run(2))
  })
})

test('what was written stays what it was when the caller reuses its Buffer', () => {
  const disk = new SimulatedDisk({ random: new SeededRandom('reused') })
  const file = disk.open('/a', { create: true, write: true })
  const buffer = Buffer.from('first')
  file.write([buffer], 0)
  buffer.write('other')
  file.dataSyncNow()
  disk.syncDirectory('/')
  disk.crash('lose-all')
  const found = Buffer.alloc(5)
  disk.open('/a').read(found, 0)
  expect(found.toString()).toBe('first')
})
