/** The file: where it may be, who it belongs to, what happens when something is wrong with it. */
import { spawnSync } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { PublishedState } from '@understudy/contracts'
import { processClock } from '@understudy/coordination'
import { sqliteCoordinator, type Machine } from '@understudy/coordinator-sqlite'
import { until } from '@understudy/testkit/until'
import { afterEach, beforeEach, expect, test } from 'vitest'

const clock = processClock()
const LOCAL: Machine = {
  boot: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
  timeSpace: 'time:[1]',
  nowNs: () => process.hrtime.bigint(),
  fileSystem: () => 0xef53,
}
const STATE: PublishedState = {
  cluster: 'c0ffee',
  epoch: 1,
  runId: '0123456789abcdef',
  acks: { rule: { level: 'local' } },
  ceilings: new Map(),
  paused: false,
}
let folder: string
let path: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'file-'))
  path = join(folder, 'coordinator.db')
})
afterEach(() => rmSync(folder, { recursive: true }))

test.each([
  ['NFS', 0x6969],
  ['CIFS', 0xff534d42],
  ['CIFS, signed', 0xff534d42 | 0],
  ['FUSE', 0x65735546],
  ['9P', 0x01021997],
])('a file on %s is refused', async (_name, type) => {
  const opening = sqliteCoordinator({ path, machine: { ...LOCAL, fileSystem: () => type } })
  await expect(opening).rejects.toMatchObject({ code: 'COORDINATOR_UNSUITABLE' })
  await expect(opening).rejects.toThrow(/etcd/)
})

test('a folder that does not exist, and a path that is none', async () => {
  await expect(sqliteCoordinator({ path: join(folder, 'x', 'y.db') })).rejects.toMatchObject({
    code: 'COORDINATOR_UNAVAILABLE',
  })
  await expect(sqliteCoordinator({ path: folder })).rejects.toMatchObject({ code: 'COORDINATOR_UNAVAILABLE' })
  await expect(sqliteCoordinator({ path: '' })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
})

test('a database of something else is left alone', async () => {
  const database = new DatabaseSync(path)
  database.exec('create table t (x)')
  database.close()
  const before = readFileSync(path)
  await expect(sqliteCoordinator({ path })).rejects.toMatchObject({ code: 'COORDINATOR_UNSUITABLE' })
  expect(readFileSync(path).equals(before)).toBe(true)
})

test('a file that is no database, and one that is torn', async () => {
  writeFileSync(path, Buffer.alloc(8192, 'not a database. '))
  await expect(sqliteCoordinator({ path })).rejects.toMatchObject({ code: 'STATE_CORRUPT' })
  rmSync(path)
  const whole = join(folder, 'whole.db')
  const coordinator = await sqliteCoordinator({ path: whole })
  await coordinator.publish(STATE, { expected: '0' })
  await coordinator.close()
  const bytes = readFileSync(whole)
  writeFileSync(path, bytes.subarray(0, bytes.byteLength / 2))
  const opened = await sqliteCoordinator({ path }).catch((error: unknown) => error)
  const outcome =
    opened instanceof Error ? opened : await (opened as typeof coordinator).observe().catch((e: unknown) => e)
  expect(outcome).toMatchObject({ code: 'STATE_CORRUPT' })
})

test('a state that was written by something else is no state', async () => {
  await using coordinator = await sqliteCoordinator({ path })
  await coordinator.publish(STATE, { expected: '0' })
  const database = new DatabaseSync(path)
  for (const [text, code] of [
    ['{', 'STATE_CORRUPT'],
    ['{"version":1,"cluster":""}', 'STATE_CORRUPT'],
    ['{"version":2}', 'FORMAT_VERSION'],
  ]) {
    database.prepare('update state set bytes = ?').run(Buffer.from(text!))
    await expect(coordinator.observe()).rejects.toMatchObject({ code })
  }
  database.close()
})

test('a file that was replaced under a coordinator is not used any more', async () => {
  await using coordinator = await sqliteCoordinator({ path })
  const lease = await coordinator.acquire({ holder: 'a', epoch: 1, ttlMs: 10_000 })
  copyFileSync(path, join(folder, 'copy.db'))
  renameSync(join(folder, 'copy.db'), path)
  await expect(lease.renew()).rejects.toMatchObject({ code: 'COORDINATOR_UNSUITABLE' })
  await expect(coordinator.observe()).rejects.toMatchObject({ code: 'COORDINATOR_UNSUITABLE' })
  rmSync(path)
  await expect(coordinator.observe()).rejects.toMatchObject({ code: 'COORDINATOR_UNSUITABLE' })
})

test('while somebody else has the lock it waits without blocking, says so in time, and goes on afterwards', async () => {
  await using coordinator = await sqliteCoordinator({ path })
  const lease = await coordinator.acquire({ holder: 'a', epoch: 1, ttlMs: 5000 })
  const database = new DatabaseSync(path)
  database.exec('begin immediate')
  let turns = 0
  const turning = setInterval(() => turns++, 1)
  await expect(lease.renew({ timeoutMs: 100 })).rejects.toMatchObject({ code: 'COORDINATOR_UNAVAILABLE' })
  clearInterval(turning)
  expect(turns).toBeGreaterThan(10)
  // Reading needs no lock.
  expect((await coordinator.observe()).lease?.holder).toBe('a')
  const renewing = lease.renew()
  database.exec('rollback')
  await renewing
  database.close()
})

test('a lease of another boot is waited for like any other, and not by its clock', async () => {
  const ttlMs = 300
  const before = await sqliteCoordinator({ path, machine: { ...LOCAL, boot: 'before', nowNs: () => 5n } })
  await before.acquire({ holder: 'a', epoch: 1, ttlMs })
  await before.close()
  await using coordinator = await sqliteCoordinator({ path, machine: LOCAL })
  const startMs = clock.monotonic()
  const { lease } = await coordinator.observe()
  // Its beat was at 5 ns of a clock that is gone: it counts from now on.
  expect(lease!.seenAtMs).toBeGreaterThanOrEqual(startMs)
  await expect(coordinator.acquire({ holder: 'b', epoch: 2, ttlMs })).rejects.toMatchObject({
    code: 'LEASE_HELD',
  })
  await until(clock, lease!.freeAtMs)
  await coordinator.acquire({ holder: 'b', epoch: 2, ttlMs })
})

test('a lease of another boot that goes on beating shows that two machines use the file', async () => {
  await using far = await sqliteCoordinator({ path, machine: { ...LOCAL, boot: 'elsewhere' } })
  const held = await far.acquire({ holder: 'a', epoch: 1, ttlMs: 5000 })
  await using near = await sqliteCoordinator({ path, machine: LOCAL })
  await near.observe()
  await held.renew()
  await expect(near.observe()).rejects.toMatchObject({ code: 'COORDINATOR_UNSUITABLE' })
  await expect(near.acquire({ holder: 'b', epoch: 2, ttlMs: 300 })).rejects.toMatchObject({
    code: 'COORDINATOR_UNSUITABLE',
  })
})

test('how old a beat is counts within one boot and one clock, for whoever comes late', async () => {
  const ttlMs = 300
  const holder = await sqliteCoordinator({ path, machine: LOCAL })
  await holder.acquire({ holder: 'a', epoch: 1, ttlMs })
  await until(clock, clock.monotonic() + ttlMs)
  await using late = await sqliteCoordinator({ path, machine: LOCAL })
  const { lease } = await late.observe()
  expect(lease!.freeAtMs).toBeLessThanOrEqual(clock.monotonic())
  // In a container with a clock of its own the same beat is of unknown age.
  await using apart = await sqliteCoordinator({ path, machine: { ...LOCAL, timeSpace: 'time:[2]' } })
  expect((await apart.observe()).lease!.freeAtMs).toBeGreaterThan(clock.monotonic())
  await late.acquire({ holder: 'b', epoch: 2, ttlMs })
  await holder.close()
})

test('on a full disk nothing changes, and it goes on when there is room', async (context) => {
  const mount = join(folder, 'small')
  mkdirSync(mount)
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', mount]).status === 0
  if (!mounted) context.skip('needs the right to mount a tmpfs')
  try {
    await using coordinator = await sqliteCoordinator({ path: join(mount, 'coordinator.db') })
    const lease = await coordinator.acquire({ holder: 'a', epoch: 1, ttlMs: 10_000 })
    const ceilings = new Map([['note', 7n]])
    const revision = await coordinator.publish({ ...STATE, ceilings }, { expected: '0' })
    const filler = join(mount, 'filler')
    spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4k'], { stdio: 'ignore' })
    const large = { ...STATE, ceilings: new Map([...ceilings, ['x'.repeat(100_000), 1n]]) }
    await expect(coordinator.publish(large, { expected: revision })).rejects.toMatchObject({
      code: 'COORDINATOR_UNAVAILABLE',
    })
    const seen = await coordinator.observe()
    expect(seen).toMatchObject({ revision, lease: { grant: lease.grant } })
    expect(seen.state?.ceilings).toEqual(ceilings)
    rmSync(filler)
    await lease.renew()
    await coordinator.publish({ ...STATE, ceilings, paused: true }, { expected: revision })
  } finally {
    spawnSync('umount', [mount])
  }
})

test('a state outlives every process, and the epochs of leases with it', async () => {
  const first = await sqliteCoordinator({ path })
  const lease = await first.acquire({ holder: 'a', epoch: 6, ttlMs: 300 })
  await first.publish({ ...STATE, epoch: 6 }, { expected: '0', grant: lease.grant })
  await lease.release()
  await first.close()
  await using second = await sqliteCoordinator({ path })
  const seen = await second.observe()
  expect(seen.state).toEqual({ ...STATE, epoch: 6 })
  expect(seen.lease).toMatchObject({ holder: 'a', epoch: 6, released: true })
  await expect(second.acquire({ holder: 'b', epoch: 6, ttlMs: 300 })).rejects.toMatchObject({
    code: 'EPOCH_STALE',
  })
})
