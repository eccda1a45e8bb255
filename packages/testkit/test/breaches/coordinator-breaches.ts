/** Ways in which a coordinator can break its contract, and the test of the suite that must notice each. */
import {
  isUnderstudyError,
  UnderstudyError,
  type AcquireOptions,
  type Clock,
  type Coordinator,
  type HeldLease,
  type PublishedState,
  type PublishOptions,
} from '@understudy/contracts'
import type { SimulatedCoordinator, SimulatedCoordinatorClient } from '../../src/coordinator/coordinator.ts'

export interface World {
  readonly inner: SimulatedCoordinatorClient
  readonly place: SimulatedCoordinator['place']
  readonly clock: Clock
}

export interface CoordinatorBreach {
  readonly name: string
  /** Part of the test's name. */
  readonly caughtBy: string
  /** What is done otherwise. */
  readonly alter: (world: World) => Partial<Coordinator>
}

/** Another lease: what is not given is as in the one that was acquired. */
function leasesOf(
  change: (lease: HeldLease, world: World) => Partial<HeldLease>,
): (world: World) => Partial<Coordinator> {
  return (world) => ({
    acquire: async (options) => altered(await world.inner.acquire(options), (lease) => change(lease, world)),
  })
}

/** The members of an object with private ones, called on itself, but for what `change` gives. */
export function altered<T extends object>(inner: T, change: (inner: T) => Partial<T>): T {
  const changed = change(inner)
  const own = Object.getOwnPropertyDescriptors(changed)
  return new Proxy(inner, {
    get(target, key) {
      if (typeof key === 'string' && key in own) return Reflect.get(changed, key, changed) as unknown
      const value = Reflect.get(target, key, target) as unknown
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
}

function acquiring(
  run: (options: AcquireOptions, world: World) => Promise<HeldLease>,
): CoordinatorBreach['alter'] {
  return (world) => ({ acquire: (options) => run(options, world) })
}

function publishing(
  run: (state: PublishedState, options: PublishOptions, world: World) => Promise<string>,
): CoordinatorBreach['alter'] {
  return (world) => ({ publish: (state, options) => run(state, options, world) })
}

/** Makes whatever is there look released, so that it can be taken. */
function grab(options: AcquireOptions, { inner, place }: World): Promise<HeldLease> {
  if (place.lease !== undefined) place.release(place.lease.grant)
  return inner.acquire(options)
}

async function unlessHeld(options: AcquireOptions, world: World, may: () => boolean): Promise<HeldLease> {
  try {
    return await world.inner.acquire(options)
  } catch (error) {
    if (!isUnderstudyError(error, 'LEASE_HELD') || !may()) throw error
    return grab(options, world)
  }
}

export const COORDINATOR_BREACHES: readonly CoordinatorBreach[] = [
  {
    name: 'replaces whatever state is there',
    caughtBy: 'a revision that was replaced is a conflict',
    alter: publishing(async (state, options, { inner, place }) =>
      inner.publish(state, { ...options, expected: String(place.revision) }),
    ),
  },
  {
    name: 'tries again when somebody was faster',
    caughtBy: 'of many that replace one revision',
    alter: publishing(async (state, options, { inner, place }) => {
      for (;;)
        try {
          return await inner.publish(state, { ...options, expected: String(place.revision) })
        } catch (error) {
          if (!isUnderstudyError(error, 'COORDINATOR_CONFLICT')) throw error
        }
    }),
  },
  {
    name: 'publishes for a leader that was replaced',
    caughtBy: 'publishing under a grant',
    alter: publishing((state, { grant: _ignored, ...options }, { inner }) => inner.publish(state, options)),
  },
  {
    name: 'publishes any state',
    caughtBy: 'what must not follow is refused',
    alter: publishing(async (state, { expected }, { place }) => {
      if (!place.put(state, Number(expected), undefined, {}))
        throw new UnderstudyError('COORDINATOR_CONFLICT', 'another is there')
      return String(place.revision)
    }),
  },
  {
    name: 'keeps ids as numbers of floating point',
    caughtBy: 'a state is read by others as it was published',
    alter: publishing((state, options, { inner }) => {
      const ceilings = new Map([...state.ceilings].map(([table, id]) => [table, BigInt(Number(id))]))
      return inner.publish({ ...state, ceilings }, options)
    }),
  },
  {
    name: 'keeps the map of the caller',
    caughtBy: 'what the caller changes after publishing',
    alter: ({ inner, place }) => ({
      async publish(state, options) {
        await inner.publish(state, options)
        place.put(state, place.revision, undefined, {})
        return String(place.revision)
      },
    }),
  },
  {
    name: 'takes a lease that is held',
    caughtBy: 'while it is held it is refused',
    alter: acquiring((options, world) => unlessHeld(options, world, () => true)),
  },
  {
    name: 'waits for half of the time to live',
    caughtBy: 'silent for its time to live it is taken',
    alter: acquiring(async (options, world) => {
      const { lease } = await world.inner.observe()
      return unlessHeld(
        options,
        world,
        () => lease !== undefined && world.clock.monotonic() > lease.seenAtMs + lease.ttlMs / 2,
      )
    }),
  },
  {
    name: 'counts from the first beat that it saw',
    caughtBy: 'renewed in time it stays',
    alter: (world) => {
      let firstMs: number | undefined
      return {
        async acquire(options) {
          firstMs ??= world.clock.monotonic()
          return unlessHeld(options, world, () => world.clock.monotonic() > (firstMs ?? 0) + options.ttlMs)
        },
      }
    },
  },
  {
    name: 'ends a lease with its time to live, without a margin',
    caughtBy: 'the first who asks has it',
    alter: acquiring((options, { inner }) => inner.acquire({ ...options, marginMs: 0 })),
  },
  {
    name: 'counts a renewal from its answer',
    caughtBy: 'late: a renewal counts from before it was sent',
    alter: leasesOf((lease, { clock }) => {
      let untilMs = lease.validUntilMs
      return {
        get validUntilMs() {
          return untilMs
        },
        async renew(options) {
          await lease.renew(options)
          untilMs = clock.monotonic() + lease.ttlMs * 0.9
        },
      }
    }),
  },
  {
    name: 'renews a lease that ran out',
    caughtBy: 'a lease that ran out is over for good',
    alter: leasesOf((lease, { place }) => ({
      async renew(options) {
        if (lease.lost.aborted && place.beat(Number(lease.grant))) return
        await lease.renew(options)
      },
    })),
  },
  {
    name: 'believes an answer that comes after the end',
    caughtBy: 'late: an answer after the end of a lease',
    alter: leasesOf((lease) => ({
      async renew(options) {
        const isOver = lease.lost.aborted
        await lease.renew(options).catch((error: unknown) => {
          if (isOver || !isUnderstudyError(error, 'LEASE_LOST')) throw error
        })
      },
    })),
  },
  {
    name: 'tells nobody that a lease ran out',
    caughtBy: 'a lease that ran out is over for good',
    alter: leasesOf((lease) => {
      const silent = new AbortController().signal
      return {
        get lost() {
          return lease.lost.aborted ? AbortSignal.abort(lease.lost.reason) : silent
        },
      }
    }),
  },
  {
    name: 'goes on until a release is answered',
    caughtBy: 'released it is over at once',
    alter: leasesOf((lease, { place }) => ({
      async release() {
        await new Promise<void>((resolve) => {
          setImmediate(resolve)
        })
        place.release(Number(lease.grant))
        await lease.release()
      },
    })),
  },
  {
    name: 'releases what somebody else has',
    caughtBy: 'released it is over at once',
    alter: leasesOf((lease, { place }) => ({
      async release(options) {
        await lease.release(options)
        if (place.lease !== undefined) place.release(place.lease.grant)
      },
    })),
  },
  {
    name: 'gives a lease for an epoch that was led',
    caughtBy: 'its epoch is above the published one',
    alter: acquiring(async (options, { inner, place }) => {
      const lease = await inner.acquire({
        ...options,
        epoch: Math.max(options.epoch, (place.state?.epoch ?? 0) + 1),
      })
      return altered(lease, () => ({ epoch: options.epoch }))
    }),
  },
  {
    name: 'forgets the epoch of a lease that was released',
    caughtBy: 'released it is over at once, and free at once for a higher epoch only',
    alter: acquiring(async (options, { inner, place }) => {
      const used = place.lease?.released === true ? place.lease.epoch : 0
      return inner.acquire({ ...options, epoch: Math.max(options.epoch, used + 1) })
    }),
  },
  {
    name: 'does not listen to what others have seen',
    caughtBy: 'what another coordinator has seen counts',
    alter: acquiring(({ seen: _ignored, ...options }, { inner }) => inner.acquire(options)),
  },
  {
    name: 'believes what others have seen, though it is old',
    caughtBy: 'what another coordinator has seen counts',
    alter: acquiring((options, world) =>
      unlessHeld(
        options,
        world,
        () => options.seen !== undefined && options.seen.freeAtMs <= world.clock.monotonic(),
      ),
    ),
  },
  {
    name: 'watches synchronously',
    caughtBy: 'a watch tells what there is',
    alter: ({ inner }) => ({
      watch(watcher) {
        watcher.observed({ revision: '0', observedAtMs: 0 })
        return inner.watch(watcher)
      },
    }),
  },
  {
    name: 'tells a watch of the state alone',
    caughtBy: 'a watch tells what there is',
    alter: ({ inner }) => ({
      watch(watcher) {
        let revision: string | undefined
        return inner.watch({
          ...watcher,
          observed(observation) {
            if (observation.revision !== revision) watcher.observed(observation)
            revision = observation.revision
          },
        })
      },
    }),
  },
  {
    name: 'tells a watch that was closed',
    caughtBy: 'a watch that was closed tells nothing',
    alter: ({ inner }) => ({
      watch(watcher) {
        inner.watch(watcher)
        return { close: () => undefined }
      },
    }),
  },
  {
    name: 'says again and again that it is unreachable',
    caughtBy: 'refused: a watch says it once',
    alter: ({ inner, clock }) => ({
      watch(watcher) {
        return inner.watch({
          ...watcher,
          unreachable(error) {
            watcher.unreachable?.(error)
            clock.schedule(10, () => watcher.unreachable?.(error))
          },
        })
      },
    }),
  },
  {
    name: 'takes no notice of a deadline',
    caughtBy: 'silent: calls say so in time',
    alter: ({ inner }) => ({ observe: () => inner.observe({ timeoutMs: 600_000 }) }),
  },
  {
    name: 'says that nothing happened when an answer was lost',
    caughtBy: 'unanswered: a publication is uncertain',
    alter: publishing((state, options, { inner }) =>
      inner.publish(state, options).catch((error: unknown) => {
        if (!isUnderstudyError(error, 'COORDINATOR_UNCERTAIN')) throw error
        throw new UnderstudyError('COORDINATOR_UNAVAILABLE', 'nothing happened')
      }),
    ),
  },
  {
    name: 'takes no notice of a caller who gave up',
    caughtBy: 'a caller may give up',
    alter: publishing((state, { signal: _ignored, ...options }, { inner }) => inner.publish(state, options)),
  },
  {
    name: 'goes on after it was closed',
    caughtBy: 'closed it refuses',
    alter: () => ({ close: async () => undefined }),
  },
]
