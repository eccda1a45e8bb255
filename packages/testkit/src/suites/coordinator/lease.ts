/** The suite of coordinators: the lease. */
import { expect, test } from 'vitest'
import { isUnderstudyError } from '@understudy/contracts'
import { rejectsWith, STATE, type Stage } from './under-test.ts'

export function leaseTests(begin: () => Promise<Stage>): void {
  test('the first who asks has it, and others see who', async () => {
    await using stage = await begin()
    const [a, b] = [await stage.open(), await stage.open()]
    const beforeMs = stage.clock.monotonic()
    const lease = await stage.acquire(a, { holder: 'a', epoch: 3, marginMs: 50 })
    expect(lease).toMatchObject({ holder: 'a', epoch: 3, ttlMs: stage.ttlMs })
    expect(lease.lost.aborted).toBe(false)
    expect(lease.validUntilMs).toBeGreaterThanOrEqual(beforeMs + stage.ttlMs - 50)
    expect(lease.validUntilMs).toBeLessThanOrEqual(stage.clock.monotonic() + stage.ttlMs - 50)
    const { lease: seen } = await b.observe()
    expect(seen).toMatchObject({
      holder: 'a',
      epoch: 3,
      ttlMs: stage.ttlMs,
      grant: lease.grant,
      released: false,
    })
    expect(seen!.freeAtMs).toBe(seen!.seenAtMs + stage.ttlMs)
    // The safety of it all: over for its holder before it is free for anybody.
    expect(seen!.freeAtMs).toBeGreaterThan(lease.validUntilMs)
  })

  test('while it is held it is refused, with who has it', async () => {
    await using stage = await begin()
    const [a, b] = [await stage.open(), await stage.open()]
    await stage.acquire(a)
    for (const by of [a, b]) {
      const error = await rejectsWith(stage.acquire(by, { holder: 'b', epoch: 2 }), 'LEASE_HELD')
      expect(error).toMatchObject({ details: { holder: 'a', epoch: 1 } })
      expect((error as { details: { freeInMs: number } }).details.freeInMs).toBeLessThanOrEqual(stage.ttlMs)
    }
  })

  test('of many who ask at once one has it', async () => {
    await using stage = await begin()
    const all = [await stage.open(), await stage.open(), await stage.open()]
    const tries = Array.from({ length: 12 }, (_, at) => stage.acquire(all[at % 3]!, { holder: `n${at}` }))
    const outcomes = await Promise.allSettled(tries)
    const won = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
    expect(won).toHaveLength(1)
    for (const [at, outcome] of outcomes.entries())
      if (outcome.status === 'rejected') await rejectsWith(tries[at]!, 'LEASE_HELD')
    expect((await all[0]!.observe()).lease).toMatchObject({ grant: won[0]!.grant, holder: won[0]!.holder })
  })

  test('renewed in time it stays, however long others try', async () => {
    await using stage = await begin()
    const [a, b] = [await stage.open(), await stage.open()]
    const lease = await stage.acquire(a)
    const beats = new Set<string>()
    const endMs = stage.clock.monotonic() + 2.5 * stage.ttlMs
    let nextMs = stage.clock.monotonic() + stage.ttlMs / 4
    while (stage.clock.monotonic() < endMs) {
      await rejectsWith(stage.acquire(b, { holder: 'b', epoch: 2 }), 'LEASE_HELD')
      beats.add((await b.observe()).lease!.beat)
      if (stage.clock.monotonic() >= nextMs) {
        const sentMs = stage.clock.monotonic()
        await lease.renew()
        nextMs = sentMs + stage.ttlMs / 4
        expect(lease.validUntilMs).toBeLessThanOrEqual(stage.clock.monotonic() + stage.ttlMs)
        expect(lease.validUntilMs).toBeGreaterThan(sentMs)
      }
      await stage.until(stage.clock.monotonic() + stage.ttlMs / 40)
    }
    expect(lease.lost.aborted).toBe(false)
    expect((await b.observe()).lease?.grant).toBe(lease.grant)
    expect(beats.size).toBeGreaterThan(5)
  })

  test('silent for its time to live it is taken, and was over for its holder before', async () => {
    await using stage = await begin()
    const [a, b] = [await stage.open(), await stage.open()]
    const old = await stage.acquire(a)
    await rejectsWith(stage.acquire(b, { holder: 'b', epoch: 2 }), 'LEASE_HELD')
    const renewedMs = stage.clock.monotonic()
    await old.renew()
    const { validUntilMs } = old
    const { lease, attempts } = await stage.acquireWhenFree(b, { holder: 'b', epoch: 2 })
    const takenMs = stage.clock.monotonic()
    expect(attempts).toBeGreaterThan(3)
    expect(takenMs).toBeGreaterThanOrEqual(renewedMs + stage.ttlMs)
    expect(takenMs).toBeGreaterThan(validUntilMs)
    expect(old.lost.aborted).toBe(true)
    expect(isUnderstudyError(old.lost.reason, 'LEASE_LOST')).toBe(true)
    await rejectsWith(old.renew(), 'LEASE_LOST')
    // Neither renewing nor releasing it touches the new one.
    await old.release()
    await lease.renew()
    expect((await a.observe()).lease).toMatchObject({ holder: 'b', grant: lease.grant, released: false })
  })

  test('a lease that ran out is over for good, though nobody took it', async () => {
    await using stage = await begin()
    const a = await stage.open()
    const lease = await stage.acquire(a)
    const told = new Promise<void>((resolve) => {
      lease.lost.addEventListener('abort', () => resolve())
    })
    await stage.until(lease.validUntilMs)
    expect(lease.lost.aborted).toBe(true)
    await told
    const { validUntilMs } = lease
    await rejectsWith(lease.renew(), 'LEASE_LOST')
    expect(lease.validUntilMs).toBeLessThanOrEqual(validUntilMs)
    expect(lease.lost.aborted).toBe(true)
  })

  test('released it is over at once, and free at once for a higher epoch only', async () => {
    await using stage = await begin()
    const [a, b] = [await stage.open(), await stage.open()]
    const lease = await stage.acquire(a, { epoch: 5 })
    const releasing = lease.release()
    expect(lease.lost.aborted).toBe(true)
    expect(lease.validUntilMs).toBeLessThanOrEqual(stage.clock.monotonic())
    await releasing
    const { lease: seen } = await b.observe()
    expect(seen?.released).toBe(true)
    expect(seen!.freeAtMs).toBeLessThanOrEqual(stage.clock.monotonic())
    const error = await rejectsWith(stage.acquire(b, { holder: 'b', epoch: 5 }), 'EPOCH_STALE')
    expect(error).toMatchObject({ details: { epoch: 5 } })
    const next = await stage.acquire(b, { holder: 'b', epoch: 6 })
    expect(next.grant).not.toBe(lease.grant)
    await lease.release()
    expect((await a.observe()).lease).toMatchObject({ grant: next.grant, released: false })
  })

  test('its epoch is above the published one', async () => {
    await using stage = await begin()
    const a = await stage.open()
    await a.publish({ ...STATE, epoch: 7 }, { expected: '0' })
    for (const epoch of [6, 7]) {
      const error = await rejectsWith(stage.acquire(a, { epoch }), 'EPOCH_STALE')
      expect(error).toMatchObject({ details: { epoch: 7 } })
    }
    await stage.acquire(a, { epoch: 8 })
  })

  test('what another coordinator has seen counts, as long as it is the newest', async () => {
    await using stage = await begin()
    const [a, b, c] = [await stage.open(), await stage.open(), await stage.open()]
    // One that has seen something else before, which is over.
    await (await stage.acquire(c, { holder: 'c', epoch: 1 })).release()
    const lease = await stage.acquire(a, { epoch: 2 })
    const stale = (await b.observe()).lease!
    await stage.until(stage.clock.monotonic() + stage.ttlMs / 2)
    await lease.renew()
    const seen = (await b.observe()).lease!
    await stage.until(stale.freeAtMs)
    // The beat that `stale` names was followed by another one.
    const fresh = await stage.open()
    const early = stage.acquire(fresh, { holder: 'd', epoch: 3, seen: stale })
    await rejectsWith(early, 'LEASE_HELD')
    await stage.until(seen.freeAtMs)
    const next = await stage.acquire(c, { holder: 'c', epoch: 3, seen })
    expect(next.holder).toBe('c')
  })

  test('its holder may take it again after it ran out, for a higher epoch', async () => {
    await using stage = await begin()
    const a = await stage.open()
    const first = await stage.acquire(a)
    const { lease } = await stage.acquireWhenFree(a, { epoch: 2 })
    expect(lease.grant).not.toBe(first.grant)
    expect(first.lost.aborted).toBe(true)
    expect(lease.lost.aborted).toBe(false)
  })

  test('options that cannot be are refused', async () => {
    await using stage = await begin()
    const a = await stage.open()
    const wrong = [
      { ttlMs: 50 },
      { ttlMs: Number.NaN },
      { epoch: 0 },
      { marginMs: stage.ttlMs },
      { marginMs: -1 },
    ]
    for (const options of wrong) await rejectsWith(stage.acquire(a, options), 'INVALID_ARGUMENT')
    expect((await a.observe()).lease).toBeUndefined()
  })
}
