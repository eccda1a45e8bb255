/** The suite of coordinators: when the place cannot be reached, or its answers get lost or come late. */
import { expect, test } from 'vitest'
import { rejectsWith, STATE, Told, type CoordinatorFault, type Stage } from './under-test.ts'

export function faultTests(begin: () => Promise<Stage>, faults: readonly CoordinatorFault[]): void {
  for (const fault of ['refused', 'silent'] as const) {
    test.skipIf(!faults.includes(fault))(
      `${fault}: calls say so in time, and nothing happens later`,
      async () => {
        await using stage = await begin()
        const { coordinator, begin: cut, end } = await stage.openFaulty()
        const other = await stage.open()
        await coordinator.observe()
        await cut(fault)
        const startMs = stage.clock.monotonic()
        const timeoutMs = stage.ttlMs
        await rejectsWith(coordinator.observe({ timeoutMs }), 'COORDINATOR_UNAVAILABLE')
        await Promise.all(
          [
            coordinator.publish(STATE, { expected: '0', timeoutMs }),
            stage.acquire(coordinator, { timeoutMs }),
          ].map((call) => rejectsWith(call, 'COORDINATOR_UNAVAILABLE', 'COORDINATOR_UNCERTAIN')),
        )
        expect(stage.clock.monotonic() - startMs).toBeLessThan(4 * timeoutMs)
        expect(await other.observe()).toMatchObject({ revision: '0' })
        await end()
        await coordinator.publish(STATE, { expected: '0' })
        expect((await other.observe()).state).toEqual(STATE)
      },
    )

    test.skipIf(!faults.includes(fault))(
      `${fault}: a lease is valid as long as before, and no longer`,
      async () => {
        await using stage = await begin()
        const { coordinator, begin: cut, end } = await stage.openFaulty()
        const other = await stage.open()
        const lease = await stage.acquire(coordinator)
        const { validUntilMs } = lease
        await other.observe()
        await cut(fault)
        const renewing = lease.renew({ timeoutMs: stage.ttlMs / 4 })
        await rejectsWith(renewing, 'COORDINATOR_UNAVAILABLE', 'COORDINATOR_UNCERTAIN')
        expect(lease.validUntilMs).toBe(validUntilMs)
        expect(lease.lost.aborted).toBe(false)
        const { lease: next } = await stage.acquireWhenFree(other, { holder: 'b', epoch: 2 })
        expect(stage.clock.monotonic()).toBeGreaterThan(validUntilMs)
        expect(lease.lost.aborted).toBe(true)
        await end()
        await rejectsWith(lease.renew(), 'LEASE_LOST')
        await next.renew()
      },
    )

    test.skipIf(!faults.includes(fault))(`${fault}: a lease is renewed when it is over in time`, async () => {
      await using stage = await begin()
      const { coordinator, begin: cut, end } = await stage.openFaulty()
      const lease = await stage.acquire(coordinator)
      const { validUntilMs } = lease
      await cut(fault)
      const renewing = lease.renew({ timeoutMs: stage.ttlMs / 8 })
      await rejectsWith(renewing, 'COORDINATOR_UNAVAILABLE', 'COORDINATOR_UNCERTAIN')
      await end()
      await lease.renew()
      expect(lease.validUntilMs).toBeGreaterThan(validUntilMs)
      expect(lease.lost.aborted).toBe(false)
    })

    test.skipIf(!faults.includes(fault))(
      `${fault}: a watch says it once, and goes on afterwards`,
      async () => {
        await using stage = await begin()
        const { coordinator, begin: cut, end } = await stage.openFaulty()
        const other = await stage.open()
        const told = new Told()
        coordinator.watch(told.watcher)
        await told.until(({ observed }) => observed.length > 0)
        await cut(fault)
        await told.until(({ unreachable }) => unreachable > 0)
        const revision = await other.publish(STATE, { expected: '0' })
        const count = told.observed.length
        await end()
        await told.until(({ observed }) => observed.length > count)
        await told.until(({ last }) => last?.revision === revision)
        expect(told.unreachable).toBe(1)
      },
    )
  }

  const unanswered = faults.includes('unanswered')
  test.skipIf(!unanswered)('unanswered: a publication is uncertain, and not done twice', async () => {
    await using stage = await begin()
    const { coordinator, begin: cut, end } = await stage.openFaulty()
    const other = await stage.open()
    await coordinator.observe()
    await cut('unanswered')
    const timeoutMs = stage.ttlMs
    const outcome = await rejectsWith(
      coordinator.publish(STATE, { expected: '0', timeoutMs }),
      'COORDINATOR_UNCERTAIN',
      'COORDINATOR_UNAVAILABLE',
    )
    await end()
    const { revision } = await other.observe()
    // "Unavailable" says that nothing happened.
    if (revision !== '0') expect(outcome).toMatchObject({ code: 'COORDINATOR_UNCERTAIN' })
    if (revision === '0') await coordinator.publish(STATE, { expected: '0' })
    else await rejectsWith(coordinator.publish(STATE, { expected: '0' }), 'COORDINATOR_CONFLICT')
    expect((await other.observe()).state).toEqual(STATE)
  })

  test.skipIf(!unanswered)(
    'unanswered: a lease whose answer was lost is not held, and free in time',
    async () => {
      await using stage = await begin()
      const { coordinator, begin: cut, end } = await stage.openFaulty()
      const other = await stage.open()
      await coordinator.observe()
      await cut('unanswered')
      const acquiring = stage.acquire(coordinator, { timeoutMs: stage.ttlMs / 4 })
      await rejectsWith(acquiring, 'COORDINATOR_UNCERTAIN', 'COORDINATOR_UNAVAILABLE')
      await end()
      const { lease } = await stage.acquireWhenFree(other, { holder: 'b', epoch: 2 })
      await lease.renew()
    },
  )

  const late = faults.includes('late')
  test.skipIf(!late)('late: a renewal counts from before it was sent', async () => {
    await using stage = await begin()
    const { coordinator, begin: cut, end } = await stage.openFaulty()
    const lease = await stage.acquire(coordinator)
    await cut('late')
    const sentMs = stage.clock.monotonic()
    const renewing = lease.renew({ timeoutMs: stage.ttlMs })
    await stage.until(sentMs + stage.ttlMs / 3)
    await end()
    await renewing
    expect(lease.validUntilMs).toBeLessThan(sentMs + stage.ttlMs)
    expect(lease.validUntilMs).toBeGreaterThan(sentMs + stage.ttlMs / 2)
  })

  test.skipIf(!late)('late: an answer after the end of a lease does not bring it back', async () => {
    await using stage = await begin()
    const { coordinator, begin: cut, end } = await stage.openFaulty()
    const other = await stage.open()
    const lease = await stage.acquire(coordinator)
    const { validUntilMs } = lease
    const beat = (await other.observe()).lease?.beat
    await cut('late')
    const renewing = lease.renew({ timeoutMs: 100 * stage.ttlMs })
    const outcome = rejectsWith(renewing, 'LEASE_LOST')
    // It was done at the place, and its answer is on its way.
    while ((await other.observe()).lease?.beat === beat) await stage.until(stage.clock.monotonic() + 1)
    await stage.until(validUntilMs)
    await end()
    await outcome
    expect(lease.lost.aborted).toBe(true)
    expect(lease.validUntilMs).toBeLessThanOrEqual(validUntilMs)
  })
}
