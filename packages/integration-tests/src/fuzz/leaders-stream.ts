/**
 * A follower's side of a stream, as a leader gets it: acks of the future and the past, heartbeats in floods, epochs,
 * whatever else.
 */
import { ORIGIN } from '@understudy/contracts'
import type { Hello, Message } from '@understudy/protocol'
import { Mutator, type Frame } from './mutator.ts'
import type { PipeEnd } from './pipe.ts'
import type { Position, RunContext } from './position.ts'
import { frameOf, specimens } from './specimens.ts'
import { CLUSTER, LEADER, StreamWorld } from './stream-world.ts'

export const leadersStream: Position = {
  name: "follower's side of a stream",
  weight: 30,
  frames: 4000,
  run,
}

async function run(context: RunContext): Promise<void> {
  const { random, watch, framesMax } = context
  const world = await StreamWorld.open(context)
  const own = ownFrames(world)
  const mutator = new Mutator(random, [...own, ...own, ...own, ...own, ...specimens()], 0.5)
  const hello = frameOf(helloOf(world))
  const before = world.leader.storage.digest()
  let server = await connect(world, mutator, hello)
  while (watch.frames < framesMax) {
    if (server.isDeaf) server = await connect(world, mutator, hello)
    for (let n = 1 + random.below(8); n > 0; n--) {
      watch.sent()
      server.push(random.chance(0.25) ? mutator.replay() : mutator.next())
    }
    await watch.settle()
    if (random.chance(0.1)) await world.clock.advance(random.below(3000))
    if (random.chance(0.001)) await flood(world, server)
  }
  await world.clock.advance(20_000)
  if (!server.isOver) watch.fail('a follower that says nothing is still connected after the deadline')
  if (world.leader.storage.digest() !== before) watch.fail("a follower changed its leader's data")
  await world.checkUntouched()
}

/** Thousands of heartbeats at once take no memory and little time. */
async function flood({ watch }: StreamWorld, server: PipeEnd): Promise<void> {
  const heartbeat = frameOf({
    type: 'heartbeat',
    epoch: 1,
    lsn: 1,
    highWatermark: 1,
    sentAtMs: 1,
    echoMs: 1,
    slots: [],
  })
  for (let n = 0; n < 200; n++) server.push(heartbeat)
  watch.sent(200)
  await watch.settle()
}

/** The leader's end of a new connection that said Hello, which is sometimes damaged. */
async function connect(world: StreamWorld, mutator: Mutator, hello: Frame): Promise<PipeEnd> {
  const { random, watch, transport } = world
  let server: PipeEnd | undefined
  transport.opened = (_, far) => void (server = far)
  const near = transport.dial(LEADER)
  transport.opened = undefined
  const isDamaged = random.chance(0.2)
  if (isDamaged) watch.sent()
  near.send([isDamaged ? mutator.mutate(hello) : hello])
  // What comes in the same read as the Hello finds a connection that is not served yet.
  if (random.chance(0.7)) await watch.settle()
  return server as PipeEnd
}

function helloOf({ format }: StreamWorld): Hello {
  return {
    type: 'hello',
    versionMin: 1,
    versionMax: 1,
    purpose: 'replicate',
    cluster: CLUSTER,
    node: 'b',
    history: [],
    end: ORIGIN,
    formats: [{ id: format.id, version: format.version }],
  }
}

/** What a sound follower sends while it takes the whole log. */
function ownFrames({ leader }: StreamWorld): Frame[] {
  const { lsn, epoch } = leader.log.end
  const messages: Message[] = []
  for (let at = 0; at <= lsn; at += 2) {
    messages.push(
      { type: 'ack', epoch, received: at, durable: at, applied: at },
      { type: 'ack', epoch, received: lsn, durable: at, applied: Math.floor(at / 2) },
      {
        type: 'heartbeat',
        epoch,
        lsn: at,
        highWatermark: at,
        sentAtMs: 1000 + at,
        echoMs: at,
        slots: [],
      },
    )
  }
  return messages.map(frameOf)
}
