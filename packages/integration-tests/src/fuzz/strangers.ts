/**
 * A stranger at a node that lets in only those with a credential.
 *
 * Two kinds take turns: frames of recorded handshakes sent by nobody who knows the secret, who must never be let in; and
 * real diallers whose frames are changed on their way. Whatever they send, no stranger's
 * connection outlives the deadline.
 */
import { MESSAGE_TYPES } from '@understudy/protocol'
import { Mutator, type Frame } from './mutator.ts'
import { LEADER, NodeWorld } from './node-world.ts'
import type { PipeEnd } from './pipe.ts'
import type { Position, RunContext } from './position.ts'
import { specimens } from './specimens.ts'

export const strangers: Position = {
  name: 'stranger at a listener',
  weight: 22,
  frames: 10_000,
  run,
}

async function run(context: RunContext): Promise<void> {
  const { random, watch, framesMax } = context
  const world = await NodeWorld.open(context, { authenticated: true })
  try {
    const recorded = await record(world)
    const handshake = recorded.slice(0, 4)
    const mutator = new Mutator(random, [...recorded, ...recorded, ...handshake, ...specimens()])
    const open = new Set<PipeEnd>()
    while (watch.frames < framesMax) {
      for (let n = 0; n < 16; n++) open.add(rawStranger(world, mutator))
      await watch.settle()
      for (let n = 0; n < 2; n++) changedDialler(world, mutator)
      await watch.settle(2)
      if (random.chance(0.05)) await world.clock.advance(random.below(7000))
      for (const end of open) if (end.isOver) open.delete(end)
    }
    await world.clock.advance(12_000)
    await watch.settle()
    const left = [...open].filter((end) => !end.isOver)
    if (left.length > 0) watch.fail(`${left.length} strangers are still connected after the deadline`)
    await world.checkUntouched()
  } finally {
    await world.close()
  }
}

/** The frames of a sound client's handshake, both ends of a follower's, and what a client asks then. */
async function record(world: NodeWorld): Promise<Frame[]> {
  const frames: Frame[] = []
  world.transport.opened = (near) => {
    near.tap = (frame) => {
      frames.push(frame)
      return [frame]
    }
  }
  const client = await world.client(true)
  await client.status()
  await client.close()
  world.transport.opened = undefined
  return frames
}

/** Knows no secret: replays, damages and invents. */
function rawStranger(world: NodeWorld, mutator: Mutator): PipeEnd {
  const { random, watch, transport } = world
  let server: PipeEnd | undefined
  transport.opened = (_, far) => {
    server = far
    far.tap = (frame) => {
      if (frame[0] === MESSAGE_TYPES.authDone || frame[0] === MESSAGE_TYPES.welcome)
        watch.fail('somebody without the secret was let in')
      return []
    }
  }
  const near = transport.dial(LEADER)
  transport.opened = undefined
  for (let n = 1 + random.below(4); n > 0; n--) {
    watch.sent()
    near.send([random.chance(0.15) ? mutator.replay() : mutator.next()])
  }
  if (random.chance(0.3)) near.close()
  return server as PipeEnd
}

/** Knows the secret, over a wire that changes what it sends and what it hears. */
function changedDialler(world: NodeWorld, mutator: Mutator): void {
  const { random, watch, transport } = world
  transport.opened = (near, far) => {
    const changeNear = random.chance(0.7)
    const tap = (frame: Frame): readonly Frame[] => {
      const changed = mutator.stream(frame, 0.5)
      if (changed.length !== 1 || changed[0] !== frame) watch.sent(Math.max(1, changed.length))
      return changed
    }
    if (changeNear) near.tap = tap
    else far.tap = tap
  }
  world.client(random.chance(0.5)).then(
    async (client) => {
      watch.note('let in')
      await client.close()
    },
    (error: unknown) => watch.judge(error),
  )
  transport.opened = undefined
}
