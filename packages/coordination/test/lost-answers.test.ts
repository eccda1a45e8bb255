/** Changes whose answers are lost are repeated until they are known, and are never done twice. */
import { systemRandom, type Clock, type PublishedState } from '@understudy/contracts'
import { coordinatorOn, processClock, unavailable } from '@understudy/coordination'
import { expect, test } from 'vitest'
import { MemoryStore, type Loss } from './support/memory-store.ts'

const clock = processClock()
const STATE: PublishedState = {
  cluster: 'c',
  epoch: 1,
  runId: 'r',
  acks: { rule: { level: 'local' } },
  ceilings: new Map(),
  paused: false,
}
const LEASE = { holder: 'a', epoch: 1, ttlMs: 10_000 }

function begin(...losses: Loss[]): { store: MemoryStore; coordinator: ReturnType<typeof coordinatorOn> } {
  const store = new MemoryStore()
  store.losses.push(...losses)
  return { store, coordinator: coordinatorOn(store, { clock, random: systemRandom(), refreshMs: 1000 }) }
}

test.each([['before'], ['after'], ['before', 'after'], ['after', 'before', 'after']] as Loss[][])(
  'a publication whose answers are lost (%s, %s, %s) is done once, and known to be',
  async (...losses) => {
    const { store, coordinator } = begin(...losses.filter((loss) => loss !== undefined))
    let changes = 0
    store.changed = () => (changes += store.stored.state === undefined ? 0 : 1)
    const revision = await coordinator.publish(STATE, { expected: '0' })
    expect(store.stored.state?.revision).toBe(revision)
    expect(revision).toBe('1')
    expect(changes).toBeGreaterThan(0)
    await coordinator.close()
  },
)

test('a publication whose answer was lost and that was replaced since is uncertain', async () => {
  const { store, coordinator } = begin('after')
  const other = coordinatorOn(store, { clock, random: systemRandom(), refreshMs: 1000 })
  const publishing = coordinator.publish(STATE, { expected: '0' })
  while (store.stored.state === undefined) await Promise.resolve()
  await other.publish({ ...STATE, paused: true }, { expected: store.stored.state.revision })
  await expect(publishing).rejects.toMatchObject({ code: 'COORDINATOR_UNCERTAIN' })
  await coordinator.close()
  await other.close()
})

test.each([['before'], ['after'], ['before', 'after']] as Loss[][])(
  'a lease whose answers are lost (%s, %s) is known by its token, and counts from the first try',
  async (...losses) => {
    const { store, coordinator } = begin(...losses.filter((loss) => loss !== undefined))
    const startMs = clock.monotonic()
    let takenMs = 0
    store.changed = () => (takenMs ||= clock.monotonic())
    const lease = await coordinator.acquire({ ...LEASE, marginMs: 0 })
    expect(lease.grant).toBe(store.stored.lease?.grant)
    expect(lease.validUntilMs).toBeGreaterThanOrEqual(startMs + LEASE.ttlMs)
    expect(lease.validUntilMs).toBeLessThanOrEqual(takenMs + LEASE.ttlMs)
    await lease.release()
    await coordinator.close()
  },
)

test('a lease that somebody else got meanwhile is held by them', async () => {
  const { store, coordinator } = begin('before')
  const other = coordinatorOn(store, { clock, random: systemRandom(), refreshMs: 1000 })
  const acquiring = coordinator.acquire(LEASE)
  while (store.losses.length > 0) await Promise.resolve()
  await other.acquire({ ...LEASE, holder: 'b' })
  await expect(acquiring).rejects.toMatchObject({ code: 'LEASE_HELD', details: { holder: 'b' } })
  await coordinator.close()
  await other.close()
})

test('a renewal that is uncertain extends nothing, and does no harm', async () => {
  const { store, coordinator } = begin()
  const lease = await coordinator.acquire(LEASE)
  const { validUntilMs } = lease
  store.losses.push('after')
  await expect(lease.renew()).rejects.toMatchObject({ code: 'COORDINATOR_UNCERTAIN' })
  expect(lease.validUntilMs).toBe(validUntilMs)
  await lease.renew()
  expect(lease.validUntilMs).toBeGreaterThan(validUntilMs)
  await coordinator.close()
})

test('when the place is gone after an uncertain try, the call does not say that nothing happened', async () => {
  const { store, coordinator } = begin('after')
  const gone = unavailable('memory', 'it is gone')
  store.changed = () => {
    store.read = () => Promise.reject(gone)
    store.losses.push('before', 'before', 'before')
  }
  await expect(coordinator.acquire(LEASE)).rejects.toMatchObject({ code: 'COORDINATOR_UNCERTAIN' })
  const other = begin('after')
  other.store.changed = () => {
    other.store.put = () => Promise.reject(gone)
  }
  const publishing = other.coordinator.publish(STATE, { expected: '0' })
  await expect(publishing).rejects.toMatchObject({ code: 'COORDINATOR_UNCERTAIN' })
  // Without an uncertain try it is what it is.
  await expect(coordinator.acquire(LEASE)).rejects.toBe(gone)
})

test('a beat counts from when an answer with it came, not from when it was asked for', async () => {
  const { store, coordinator } = begin()
  await coordinator.acquire(LEASE)
  const { promise, resolve } = Promise.withResolvers<void>()
  const read = store.read.bind(store)
  store.read = async () => {
    await promise
    return read()
  }
  const askedMs = clock.monotonic()
  const other = coordinatorOn(store, { clock, random: systemRandom(), refreshMs: 1000 })
  const observing = other.observe()
  while (clock.monotonic() < askedMs + 5) await Promise.resolve()
  const writtenMs = clock.monotonic()
  resolve()
  const { lease, observedAtMs } = await observing
  expect(lease!.seenAtMs).toBeGreaterThanOrEqual(writtenMs)
  expect(observedAtMs).toBeLessThan(askedMs + 5)
  await coordinator.close()
  await other.close()
})

test('an answer after the end is refused also where no timer has fired, as in a thread that was blocked', async () => {
  const store = new MemoryStore()
  let nowMs = 1000
  const stuck: Clock = { now: () => 0, monotonic: () => nowMs, schedule: () => ({ cancel: () => undefined }) }
  const coordinator = coordinatorOn(store, { clock: stuck, random: systemRandom(), refreshMs: 1000 })
  const lease = await coordinator.acquire({ ...LEASE, ttlMs: 1000 })
  expect(lease.validUntilMs).toBe(1900)
  store.changed = () => (nowMs = 1899)
  await lease.renew()
  expect(lease.validUntilMs).toBe(1900)
  store.changed = () => (nowMs = 1900)
  await expect(lease.renew()).rejects.toMatchObject({ code: 'LEASE_LOST' })
  expect([lease.validUntilMs, lease.lost.aborted]).toEqual([1900, true])
  await coordinator.close()
})
