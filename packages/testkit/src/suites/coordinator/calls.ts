/** The suite of coordinators: watching, giving up, closing. */
import { expect, test } from 'vitest'
import { rejectsWith, STATE, Told, type Stage } from './under-test.ts'

export function callTests(begin: () => Promise<Stage>): void {
  test('a watch tells what there is, then each change by others', async () => {
    await using stage = await begin()
    const [a, b] = [await stage.open(), await stage.open()]
    const told = new Told()
    b.watch(told.watcher)
    expect(told.observed).toEqual([])
    await told.until(({ last }) => last?.revision === '0')
    const lease = await stage.acquire(a)
    await told.until(({ last }) => last?.lease?.grant === lease.grant)
    const { beat } = told.last!.lease!
    await lease.renew()
    await told.until(({ last }) => last?.lease?.beat !== beat)
    const revision = await a.publish(STATE, { expected: '0' })
    await told.until(({ last }) => last?.revision === revision)
    expect(told.last?.state).toEqual(STATE)
    await lease.release()
    await told.until(({ last }) => last?.lease?.released === true)
    expect(told.unreachable).toBe(0)
  })

  test('a watch tells of changes through its own coordinator too', async () => {
    await using stage = await begin()
    const a = await stage.open()
    const told = new Told()
    a.watch(told.watcher)
    await told.until(({ observed }) => observed.length > 0)
    const revision = await a.publish(STATE, { expected: '0' })
    await told.until(({ last }) => last?.revision === revision)
  })

  test('a watch that was closed tells nothing; others go on', async () => {
    await using stage = await begin()
    const a = await stage.open()
    const [first, second] = [new Told(), new Told()]
    const watch = a.watch(first.watcher)
    a.watch(second.watcher)
    await first.until(({ observed }) => observed.length > 0)
    watch.close()
    watch.close()
    const count = first.observed.length
    const revision = await a.publish(STATE, { expected: '0' })
    await second.until(({ last }) => last?.revision === revision)
    expect(first.observed).toHaveLength(count)
  })

  test('a caller may give up', async () => {
    await using stage = await begin()
    const a = await stage.open()
    const signal = AbortSignal.abort()
    await rejectsWith(a.observe({ signal }), 'ABORTED')
    await rejectsWith(a.publish(STATE, { expected: '0', signal }), 'ABORTED')
    await rejectsWith(stage.acquire(a, { signal }), 'ABORTED')
    expect(await a.observe()).toMatchObject({ revision: '0' })
    const controller = new AbortController()
    const observing = a.observe({ signal: controller.signal })
    controller.abort()
    await rejectsWith(observing, 'ABORTED')
  })

  test('closed it refuses, ends what is under way, and leaves its lease to run out', async () => {
    await using stage = await begin()
    const [a, b] = [await stage.open(), await stage.open()]
    const told = new Told()
    a.watch(told.watcher)
    const lease = await stage.acquire(a)
    await told.until(({ observed }) => observed.length > 0)
    const underWay = rejectsWith(a.observe(), 'CLOSED')
    await a.close()
    await underWay
    const count = told.observed.length
    await rejectsWith(a.observe(), 'CLOSED')
    await rejectsWith(a.publish(STATE, { expected: '0' }), 'CLOSED')
    await rejectsWith(stage.acquire(a, { epoch: 2 }), 'CLOSED')
    await rejectsWith(lease.renew(), 'CLOSED')
    await a.close()
    expect((await b.observe()).lease).toMatchObject({ grant: lease.grant, released: false })
    await stage.until(lease.validUntilMs)
    expect(lease.lost.aborted).toBe(true)
    expect(told.observed).toHaveLength(count)
    expect(told.unreachable).toBe(0)
  })
}
