/** A keeper with a thread of its own, on the coordinator in a file. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { isUnderstudyError, type Coordinator } from '@understudy/contracts'
import { keepLeases, processClock, type LeaseKeeper } from '@understudy/coordination'
import { sqliteCoordinator } from '@understudy/coordinator-sqlite'
import { until } from '@understudy/testkit/until'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startRival } from './support/processes.ts'

const TTL_MS = 300
const clock = processClock()

let folder: string
let path: string
let coordinator: Coordinator
let keeper: LeaseKeeper

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'keeper-'))
  path = join(folder, 'coordinator.db')
  coordinator = await sqliteCoordinator({ path })
})
afterEach(async () => {
  await keeper.close()
  await coordinator.close()
  rmSync(folder, { recursive: true })
})

function lost(signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason)
    else signal.addEventListener('abort', () => resolve(signal.reason))
  })
}

function reasonOf(error: unknown): unknown {
  expect(isUnderstudyError(error, 'LEASE_LOST')).toBe(true)
  return isUnderstudyError(error) ? error.details['reason'] : undefined
}

test('it is kept for as long as this thread lives, and known to be valid at every moment', async () => {
  keeper = await keepLeases({ coordinator, ttlMs: TTL_MS })
  const lease = await keeper.acquire({ holder: 'a', epoch: 1 })
  const beats = new Set<string>()
  const endMs = clock.monotonic() + 3 * TTL_MS
  while (clock.monotonic() < endMs) {
    expect(lease.isValid()).toBe(true)
    expect(lease.validForMs()).toBeLessThanOrEqual(0.9 * TTL_MS)
    beats.add((await coordinator.observe()).lease!.beat)
  }
  expect(beats.size).toBeGreaterThanOrEqual(8)
  expect(lease.isValid(TTL_MS)).toBe(false)
  expect(lease.isValid()).toBe(true)
})

test('released it is free at once', async () => {
  keeper = await keepLeases({ coordinator, ttlMs: 60_000 })
  const lease = await keeper.acquire({ holder: 'a', epoch: 1 })
  const releasing = lease.release()
  expect(lease.isValid()).toBe(false)
  expect(reasonOf(lease.lost.reason)).toBe('was released')
  await releasing
  await coordinator.acquire({ holder: 'b', epoch: 2, ttlMs: TTL_MS })
})

test('what it cannot take says why, and what was seen by a watch counts', async () => {
  keeper = await keepLeases({ coordinator, ttlMs: TTL_MS })
  const other = await coordinator.acquire({ holder: 'b', epoch: 4, ttlMs: TTL_MS })
  const refused = await keeper.acquire({ holder: 'a', epoch: 5 }).catch((error: unknown) => error)
  expect(refused).toMatchObject({ code: 'LEASE_HELD', details: { holder: 'b', epoch: 4 } })
  const seen = (await coordinator.observe()).lease!
  await until(clock, seen.freeAtMs)
  await expect(keeper.acquire({ holder: 'a', epoch: 4, seen })).rejects.toMatchObject({ code: 'EPOCH_STALE' })
  const lease = await keeper.acquire({ holder: 'a', epoch: 5, seen })
  expect(lease.isValid()).toBe(true)
  expect(other.lost.aborted).toBe(true)
})

test('a thread that is blocked for less than the stall limit and a lease loses nothing', async () => {
  keeper = await keepLeases({ coordinator, ttlMs: TTL_MS, stallMs: 2 * TTL_MS })
  const lease = await keeper.acquire({ holder: 'a', epoch: 1 })
  const endMs = clock.monotonic() + 1.8 * TTL_MS
  // More than a lease: only the other thread can have renewed it.
  while (clock.monotonic() < endMs);
  expect(lease.isValid()).toBe(true)
  const { beat } = (await coordinator.observe()).lease!
  while ((await coordinator.observe()).lease!.beat === beat) expect(lease.isValid()).toBe(true)
})

test('a thread that is blocked for longer loses it to somebody else, and knows it first thing', async () => {
  keeper = await keepLeases({ coordinator, ttlMs: TTL_MS, stallMs: 100 })
  const lease = await keeper.acquire({ holder: 'a', epoch: 1 })
  await using rival = await startRival({ path, holder: 'b', ttlMs: 60_000 })
  const database = new DatabaseSync(path, { readOnly: true })
  const row = database.prepare('select holder from lease')
  const startMs = clock.monotonic()
  // Blocked: no timer and no message gets through until the rival has it.
  while (row.get()?.['holder'] !== 'b');
  const takenMs = clock.monotonic() - startMs
  database.close()
  expect(lease.isValid()).toBe(false)
  expect(lease.lost.aborted).toBe(true)
  expect(takenMs).toBeGreaterThan(TTL_MS)
  expect(takenMs).toBeLessThan(100 + TTL_MS + 1000)
  expect((await rival.line()).split(' ')[0]).toBe('acquired')
})

test('blocked for longer with nobody else there it is lost all the same, and the reason is told', async () => {
  keeper = await keepLeases({ coordinator, ttlMs: TTL_MS, stallMs: 100 })
  const lease = await keeper.acquire({ holder: 'a', epoch: 1 })
  const told = lost(lease.lost)
  const endMs = clock.monotonic() + 100 + 2 * TTL_MS
  while (clock.monotonic() < endMs);
  expect(reasonOf(await told)).toBe('stalled')
  expect(lease.isValid()).toBe(false)
  await keeper.acquire({ holder: 'a', epoch: 2 })
  expect(lease.isValid()).toBe(false)
})

test('somebody else who takes it by force ends it', async () => {
  keeper = await keepLeases({ coordinator, ttlMs: TTL_MS })
  const lease = await keeper.acquire({ holder: 'a', epoch: 1 })
  const database = new DatabaseSync(path, { timeout: 1000 })
  database.exec('update lease set "grant" = 99')
  database.close()
  expect(reasonOf(await lost(lease.lost))).toBe('was taken')
})

test('released at the moment when it is lost, both end', async () => {
  keeper = await keepLeases({ coordinator, ttlMs: TTL_MS })
  const lease = await keeper.acquire({ holder: 'a', epoch: 1 })
  const database = new DatabaseSync(path, { timeout: 1000 })
  database.exec('update lease set "grant" = 99')
  database.close()
  // Blocked, so that the other thread's message that it is lost waits here while the release is on its way there.
  const endMs = clock.monotonic() + 0.6 * TTL_MS
  while (clock.monotonic() < endMs);
  await lease.release()
  expect(lease.isValid()).toBe(false)
})

test('closed it ends its leases, and they run out', async () => {
  keeper = await keepLeases({ coordinator, ttlMs: TTL_MS })
  const lease = await keeper.acquire({ holder: 'a', epoch: 1 })
  const closing = keeper.close()
  expect(lease.isValid()).toBe(false)
  expect(reasonOf(lease.lost.reason)).toBe('was closed')
  await closing
  expect((await coordinator.observe()).lease).toMatchObject({ holder: 'a', released: false })
  await expect(keeper.acquire({ holder: 'a', epoch: 2 })).rejects.toMatchObject({ code: 'CLOSED' })
})

test('a coordinator that cannot be made in the thread is told', async () => {
  const { recipe } = coordinator
  const broken = (change: object): Coordinator => ({ ...coordinator, recipe: { ...recipe!, ...change } })
  const missing = broken({ options: { path: join(folder, 'nowhere', 'x.db') } })
  await expect(keepLeases({ coordinator: missing, ttlMs: TTL_MS })).rejects.toMatchObject({
    code: 'COORDINATOR_UNAVAILABLE',
  })
  await expect(keepLeases({ coordinator: broken({ factory: 'x' }), ttlMs: TTL_MS })).rejects.toThrow(
    /exports no x/,
  )
  await expect(keepLeases({ coordinator, ttlMs: 10 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  keeper = await keepLeases({ coordinator, ttlMs: TTL_MS })
})
