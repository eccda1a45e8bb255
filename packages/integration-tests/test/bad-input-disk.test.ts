/** Directories that are damaged, full, read-only or used by someone else: the node says which and why, and keeps them. */
import { spawn, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { generationPaths } from '@understudy/node'
import {
  LiveNodes,
  canMount,
  codesOf,
  countRows,
  eventually,
  failureOf,
  insertRows,
  refusal,
} from './support/live-nodes.ts'

const MOUNTS = canMount()
if (!MOUNTS) console.log('skipped: full and read-only disks, because mounting one needs root')
const FLAGS = ['--conditions=@understudy/source', '--disable-warning=ExperimentalWarning']

let nodes: LiveNodes
const children: ChildProcess[] = []
beforeEach(() => {
  nodes = new LiveNodes()
})
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  await nodes[Symbol.asyncDispose]()
})

function program(name: string): string {
  return fileURLToPath(new URL(`programs/${name}`, import.meta.url))
}

/** Runs a program until its first line. */
async function firstLine(name: string, ...args: string[]): Promise<string> {
  const child = spawn(process.execPath, [...FLAGS, program(name), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  for await (const line of createInterface({ input: child.stdout })) return line
  throw new Error(`${name} printed nothing`)
}

/** Hashes of every file of the log and of the state file: opening SQLite's own files may change their bytes. */
function contents(directory: string): Map<string, string> {
  const { log } = generationPaths(directory, 1)
  const files = [join(directory, 'node.state'), ...readdirSync(log).map((name) => join(log, name))]
  const hash = (file: string): string => createHash('sha256').update(readFileSync(file)).digest('hex')
  return new Map(files.map((file) => [relative(directory, file), hash(file)]))
}

function flip(file: string, at: number): void {
  const bytes = readFileSync(file)
  bytes[at]! ^= 0x40
  writeFileSync(file, bytes)
}

function segmentOf(directory: string): string {
  const { log } = generationPaths(directory, 1)
  return join(log, readdirSync(log).find((name) => name.endsWith('.segment')) ?? '')
}

describe('a damaged segment', () => {
  test('of a leader stops its start with segment and offset, and is kept; put right, nothing is lost', async () => {
    const leader = await nodes.leader(50)
    await leader.node.close()
    const directory = nodes.directory('a')
    const segment = segmentOf(directory)
    const at = Math.floor(readFileSync(segment).indexOf('row 20'))
    expect(at).toBeGreaterThan(0)
    flip(segment, at)
    const before = contents(directory)
    const error = await refusal(nodes.start({ name: 'a' }))
    expect(error.code).toBe('LOG_CORRUPT')
    expect(error.details).toMatchObject({ segment, offset: expect.any(Number), lsn: expect.any(Number) })
    expect(error.message).toContain('kept')
    expect(contents(directory)).toEqual(before)
    flip(segment, at)
    expect(await countRows((await nodes.start({ name: 'a' })).node)).toBe(50)
  })

  test('of a follower is kept, said with segment and offset, and refilled from the leader', async () => {
    const leader = await nodes.leader(50)
    const follower = await nodes.follower(leader)
    await insertRows(leader.node, 20)
    await follower.node.read((tx) => tx.get('select 1'), { after: leader.node.applied })
    await follower.node.close()
    const directory = nodes.directory('b')
    const segment = segmentOf(directory)
    flip(segment, readFileSync(segment).indexOf('row 3'))
    const bytes = readFileSync(segment)
    const again = await nodes.follower(leader)
    const damaged = again.events.find((event) => event.kind === 'damaged')
    expect(damaged?.error.code).toBe('LOG_CORRUPT')
    expect(damaged?.error.details).toMatchObject({ segment, offset: expect.any(Number) })
    expect(again.events.some((event) => event.kind === 'bootstrapped')).toBe(true)
    expect(await countRows(again.node)).toBe(70)
    await insertRows(leader.node, 5)
    await again.node.read((tx) => tx.get('select 1'), { after: leader.node.applied })
    expect(await countRows(again.node)).toBe(75)
    // The file is kept for a person, also once the new data streams.
    expect(readFileSync(segment).equals(bytes)).toBe(true)
  })
})

describe('a damaged state file', () => {
  test.each([
    ['node.state', (directory: string) => join(directory, 'node.state')],
    ['log.state', (directory: string) => join(generationPaths(directory, 1).log, 'log.state')],
  ])(
    '%s: every flipped byte stops the start, nothing is guessed and nothing changed',
    async (_name, fileOf) => {
      const leader = await nodes.leader(5)
      await leader.node.close()
      const directory = nodes.directory('a')
      const file = fileOf(directory)
      const { size } = statSync(file)
      const before = contents(directory)
      for (let at = 0; at < size; at += Math.max(1, Math.floor(size / 24))) {
        flip(file, at)
        const damaged = contents(directory)
        const error = await refusal(nodes.start({ name: 'a' }))
        // A flipped bit of the version number reads as another version.
        expect(['STATE_CORRUPT', 'FORMAT_VERSION']).toContain(error.code)
        expect(error.message).toContain(file)
        expect(error.message).toMatch(/kept|not touched|Nothing was changed/)
        expect(contents(directory)).toEqual(damaged)
        flip(file, at)
      }
      expect(contents(directory)).toEqual(before)
      expect(await countRows((await nodes.start({ name: 'a' })).node)).toBe(5)
    },
  )

  test.each(['node.state', 'generation-1/log/log.state'])(
    '%s cut short or empty stops the start too',
    async (name) => {
      const leader = await nodes.leader(5)
      await leader.node.close()
      const file = join(nodes.directory('a'), name)
      const sound = readFileSync(file)
      for (const bytes of [Buffer.alloc(0), sound.subarray(0, 10), sound.subarray(0, -1)]) {
        writeFileSync(file, bytes)
        expect((await refusal(nodes.start({ name: 'a' }))).code).toBe('STATE_CORRUPT')
      }
      writeFileSync(file, sound)
      expect(await countRows((await nodes.start({ name: 'a' })).node)).toBe(5)
    },
  )
})

describe('two users of one directory', () => {
  test('the second process is refused by name of the lock, the first goes on; after a SIGKILL the directory is free', async () => {
    const directory = nodes.directory('a')
    expect(await firstLine('start-node.ts', directory)).toBe('ready')
    const refused = await firstLine('start-node.ts', directory)
    expect(refused).toMatch(/^DIRECTORY_LOCKED .*(kept|changed|[Nn]othing)/)
    const error = await refusal(nodes.start({ name: 'a' }))
    expect(error.code).toBe('DIRECTORY_LOCKED')
    for (const child of children.splice(0)) child.kill('SIGKILL')
    await eventually('the lock to be free', () => nodes.start({ name: 'a' }).catch(() => undefined))
  })

  test('a second node of the same process is refused too', async () => {
    const leader = await nodes.leader(1)
    expect((await refusal(nodes.start({ name: 'a' }))).code).toBe('DIRECTORY_LOCKED')
    await insertRows(leader.node, 1)
    expect(await countRows(leader.node)).toBe(2)
  })
})

describe('a database file that someone else changes', () => {
  test.each(['a', 'b'])(
    'is noticed by node %s before the next commit; what was replicated is kept',
    async (name) => {
      const leader = await nodes.leader(3)
      const follower = await nodes.follower(leader)
      const { database } = generationPaths(nodes.directory(name), 1)
      expect(await firstLine('use-database.ts', database, "insert into t (v) values ('not ours')")).toBe(
        'done',
      )
      const write = leader.node.write((tx) => tx.run("insert into t (v) values ('next')"))
      const [changed, other] = name === 'a' ? [leader, follower] : [follower, leader]
      if (name === 'a') expect(codesOf(await refusal(write))).toContain('FOREIGN_WRITE')
      else await write
      const failure = await failureOf(changed)
      expect(codesOf(failure)).toContain('FOREIGN_WRITE')
      expect(failure.message).toMatch(/kept|stopped/)
      expect(changed.node.status()).toMatchObject({ state: 'failed', failure: { code: failure.code } })
      // The other node has what was acknowledged, and nothing of the stranger's.
      expect(
        await other.node.read((tx) => tx.get("select count(*) as n from t where v = 'not ours'")),
      ).toEqual({ n: 0 })
      expect(await countRows(other.node)).toBe(name === 'a' ? 3 : 4)
    },
  )

  test('while the node is down is noticed at its next start', async () => {
    const leader = await nodes.leader(3)
    const follower = await nodes.follower(leader)
    await follower.node.close()
    const { database } = generationPaths(nodes.directory('b'), 1)
    await firstLine('use-database.ts', database, "insert into t (v) values ('not ours')")
    const error = await refusal(nodes.start({ name: 'b', leader: leader.node.address! }))
    expect(error.code).toBe('FOREIGN_WRITE')
    expect(error.message).toMatch(/[Nn]othing|kept/)
  })

  test('a stranger that only reads disturbs nobody', async () => {
    const leader = await nodes.leader(3)
    const follower = await nodes.follower(leader)
    for (const name of ['a', 'b']) {
      const { database } = generationPaths(nodes.directory(name), 1)
      await firstLine('use-database.ts', database, 'begin; select count(*) from t', 'hold')
    }
    await insertRows(leader.node, 5)
    await follower.node.read((tx) => tx.get('select 1'), { after: leader.node.applied })
    expect(await countRows(follower.node)).toBe(8)
    expect([leader.node.failure, follower.node.failure]).toEqual([undefined, undefined])
  })
})

describe('a read-only disk', () => {
  test.skipIf(!MOUNTS)(
    'mounted read-only: the node does not start, says so, and starts once it is writable',
    async () => {
      const disk = nodes.mount('disk', 'size=32m')
      const leader = await nodes.leader(3, { directory: join(disk, 'a') })
      await leader.node.close()
      nodes.remount(disk, 'ro')
      const error = await refusal(nodes.start({ name: 'a', directory: join(disk, 'a') }))
      expect(error.code).toBe('READ_ONLY_DISK')
      expect(error.message).toMatch(/[Nn]othing|kept/)
      nodes.remount(disk, 'rw')
      expect(await countRows((await nodes.start({ name: 'a', directory: join(disk, 'a') })).node)).toBe(3)
    },
  )

  test.skipIf(process.getuid?.() === 0)('a directory without write permission is refused', async () => {
    const directory = nodes.directory('a')
    mkdirSync(directory)
    chmodSync(directory, 0o500)
    expect((await refusal(nodes.start({ name: 'a' }))).code).toBe('READ_ONLY_DISK')
    chmodSync(directory, 0o700)
  })
})

describe('a full disk', () => {
  test.skipIf(!MOUNTS)(
    'of a leader refuses writes, serves reads, loses nothing acknowledged and goes on once there is space',
    async () => {
      const disk = nodes.mount('disk', 'size=8m')
      const options = { directory: join(disk, 'a'), segmentBytes: 256 * 1024, checkpointBytes: 256 * 1024 }
      const leader = await nodes.leader(0, options)
      let acked = 0
      const body = 'f'.repeat(20_000)
      const error = await refusal(
        (async () => {
          for (; acked < 2000; acked++)
            await leader.node.write((tx) =>
              tx.run('insert into t (v) values (?)', [`${body}${Math.random()}`]),
            )
        })(),
        20_000,
      )
      // Whichever ran out of space first: the log refuses and goes on, the database stops the node.
      expect(codesOf(error).some((code) => code === 'DISK_FULL' || code === 'STORAGE_FAILED')).toBe(true)
      expect(error.message).toMatch(/full|space/)
      expect(error.message).toMatch(/rolled back|may or may not survive/)
      expect(acked).toBeGreaterThan(20)
      const rows = await countRows(leader.node)
      expect([acked, acked + 1]).toContain(rows)
      // What is refused is refused again, not left hanging.
      const again = await refusal(leader.node.write((tx) => tx.run('insert into t (v) values (?)', [body])))
      expect(['NOT_WRITTEN', 'STORAGE_FAILED', 'LOG_FAILED', 'DISK_FULL']).toContain(again.code)
      nodes.remount(disk, 'size=64m')
      const stopped = leader.node.failure
      if (stopped === undefined) await insertRows(leader.node, 1)
      await leader.node.close()
      const restarted = await nodes.start({ name: 'a', ...options })
      // A write of unknown outcome may have come back from the log.
      const found = await countRows(restarted.node)
      expect(stopped === undefined ? [rows + 1] : [acked, acked + 1]).toContain(found)
      await insertRows(restarted.node, 1)
    },
  )

  test.skipIf(!MOUNTS)(
    'of a follower stops or delays it, not its leader; with space it catches up',
    async () => {
      const leader = await nodes.leader(0)
      const disk = nodes.mount('disk', 'size=8m')
      const options = { directory: join(disk, 'b'), segmentBytes: 256 * 1024, checkpointBytes: 256 * 1024 }
      const follower = await nodes.follower(leader, options)
      const body = 'f'.repeat(50_000)
      for (let i = 0; i < 300; i++)
        await leader.node.write((tx) => tx.run('insert into t (v) values (?)', [body]))
      const { code, message } = await eventually('the follower to report its disk', () => {
        const { failure, following } = follower.node.status()
        return failure ?? following?.lastError
      })
      expect([code, message].join(' ')).toMatch(/full|space/)
      expect(leader.node.failure).toBeUndefined()
      await follower.node.close()
      nodes.remount(disk, 'size=128m')
      const again = await nodes.follower(leader, options)
      expect(await countRows(again.node)).toBe(300)
      const point = await leader.node.mark()
      expect(await again.node.digest(point)).toEqual(await leader.node.digest(point))
    },
  )

  test.skipIf(!MOUNTS)(
    'during a bootstrap is told; with space the same directory gets its data',
    async () => {
      const leader = await nodes.leader(0)
      for (let i = 0; i < 200; i++)
        await leader.node.write((tx) => tx.run('insert into t (v) values (?)', ['f'.repeat(20_000)]))
      const disk = nodes.mount('disk', 'size=2m')
      const directory = join(disk, 'b')
      const error = await refusal(nodes.start({ name: 'b', directory, leader: leader.node.address! }), 20_000)
      expect(codesOf(error)).toContain('DISK_FULL')
      nodes.remount(disk, 'size=64m')
      expect(await countRows((await nodes.follower(leader, { directory })).node)).toBe(200)
    },
  )
})
