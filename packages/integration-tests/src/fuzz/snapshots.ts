/**
 * Both ends of a snapshot: what a follower sends to the server, and what the server sends to a follower.
 *
 * An image that a follower accepted is the leader's, whatever was changed on its way.
 */
import { isUnderstudyError, ORIGIN } from '@understudy/contracts'
import { Mutator, type Frame } from './mutator.ts'
import type { PipeEnd } from './pipe.ts'
import type { Position, RunContext } from './position.ts'
import { CLUSTER, LEADER, SnapshotWorld } from './snapshot-world.ts'
import { frameOf, specimens } from './specimens.ts'

export const snapshotServer: Position = {
  name: "follower's side of a snapshot",
  weight: 12,
  frames: 4000,
  run: serverRun,
}

export const snapshotFollower: Position = {
  name: "leader's side of a snapshot",
  weight: 4,
  frames: 2500,
  run: followerRun,
}

const HELLO: Frame = frameOf({
  type: 'hello',
  versionMin: 1,
  versionMax: 1,
  purpose: 'snapshot',
  cluster: CLUSTER,
  node: 'b',
  history: [],
  end: ORIGIN,
  formats: [],
})

async function serverRun(context: RunContext): Promise<void> {
  const { random, watch, framesMax } = context
  const world = await SnapshotWorld.open(context)
  try {
    const sound = await record(world, 'near')
    const mutator = new Mutator(random, [...sound, ...sound, ...sound, ...specimens()], 0.5)
    const requests = sound.filter((frame) => frame[0] === 32)
    let server = await connect(world)
    while (watch.frames < framesMax) {
      if (server.isDeaf) server = await connect(world)
      // Most begin as they should: without a request nothing else is looked at.
      if (random.chance(0.3)) server.push(Uint8Array.from(random.pick(requests)))
      for (let n = 1 + random.below(6); n > 0; n--) {
        watch.sent()
        server.push(random.chance(0.25) ? mutator.replay() : mutator.next())
      }
      await watch.settle(2)
      if (random.chance(0.1)) await world.clock.advance(random.below(2000))
    }
    await world.clock.advance(20_000)
    if (!server.isOver) watch.fail('a follower that says nothing is still connected after the deadline')
    await world.checkUntouched()
  } finally {
    await world.close()
  }
}

async function followerRun(context: RunContext): Promise<void> {
  const { random, watch, framesMax } = context
  const world = await SnapshotWorld.open(context)
  try {
    const sound = await record(world, 'far')
    const mutator = new Mutator(random, [...sound, ...sound, ...sound, ...specimens()], 0.4)
    world.transport.opened = (_, far) => {
      const damageChance = random.pick([0.05, 0.1, 0.3])
      far.tap = (frame) => {
        const changed = mutator.stream(frame, damageChance)
        const extra = random.chance(0.1) ? [mutator.next()] : []
        if (changed.length === 1 && changed[0] === frame && extra.length === 0) return changed
        watch.sent(Math.max(1, changed.length + extra.length))
        return [...changed, ...extra]
      }
    }
    while (watch.frames < framesMax) await receive(world)
    await world.checkUntouched()
  } finally {
    await world.close()
  }
}

/** One bootstrap through the damage; it ends with the image or with a reason, in bounded time. */
async function receive(world: SnapshotWorld): Promise<void> {
  const { random, watch, clock, image } = world
  const { result, fetched } = world.receive({ withOld: random.chance(0.5) })
  const ended = result.then(
    () => {
      watch.note('image accepted')
      if (Buffer.compare(fetched(), image) !== 0) watch.fail('a changed image was accepted')
    },
    (error: unknown) => {
      watch.judge(error)
      if (isUnderstudyError(error)) watch.note(`given up ${error.code}`)
    },
  )
  await clock.complete(ended, { withinMs: 3_600_000, what: 'a bootstrap through damage' })
  watch.check()
}

/** What one end sends in a sound transfer from nothing, and in one beside an old image. */
async function record(world: SnapshotWorld, end: 'near' | 'far'): Promise<Frame[]> {
  const frames: Frame[] = []
  world.transport.opened = (near, far) => {
    const recorded = end === 'near' ? near : far
    recorded.tap = (frame) => {
      frames.push(frame)
      return [frame]
    }
  }
  for (const withOld of [false, true]) await world.clock.complete(world.receive({ withOld }).result)
  world.transport.opened = undefined
  return frames
}

/** The server's end of a connection that was welcomed. */
async function connect({ transport, watch }: SnapshotWorld): Promise<PipeEnd> {
  let server: PipeEnd | undefined
  transport.opened = (_, far) => void (server = far)
  const near = transport.dial(LEADER)
  transport.opened = undefined
  near.send([HELLO])
  await watch.settle()
  return server as PipeEnd
}
