/**
 * Requests of a client that was let in, at a node with a real database: with a credential, without one where the node asks
 * for none, and compressed.
 */
import { ORIGIN } from '@understudy/contracts'
import { Mutator } from './mutator.ts'
import { NodeWorld } from './node-world.ts'
import type { PipeEnd } from './pipe.ts'
import { pack } from './pack.ts'
import type { Position, RunContext } from './position.ts'
import { specimens, frameOf, REQUESTS } from './specimens.ts'

export const clients: Position = {
  name: 'client after authentication',
  weight: 10,
  frames: 8000,
  run: (context) => run(context, { authenticated: context.random.chance(0.3), compressed: false }),
}

export const compressed: Position = {
  name: 'compressed frames',
  weight: 5,
  frames: 6000,
  run: (context) => run(context, { authenticated: true, compressed: true }),
}

interface Kind {
  readonly authenticated: boolean
  readonly compressed: boolean
}

async function run(context: RunContext, kind: Kind): Promise<void> {
  const { random, watch, framesMax } = context
  const world = await NodeWorld.open(context, kind)
  try {
    const requests = REQUESTS.map((body, index) => frameOf({ type: 'request', id: index + 1, body }))
    const mutator = new Mutator(random, [...requests, ...requests, ...requests, ...specimens()], 0.5)
    let server = await letIn(world, kind)
    let batches = 0
    while (watch.frames < framesMax) {
      if (server.isDeaf) server = await letIn(world, kind)
      for (let n = 1 + random.below(8); n > 0; n--) {
        watch.sent()
        const frame = random.chance(0.1) ? mutator.replay() : mutator.next()
        server.push(kind.compressed ? pack(frame, mutator, random) : frame)
      }
      await watch.settle(2)
      if (++batches % 8 === 0 || server.backlog > 16) await world.clock.advance(200)
      if (server.backlog > 16) await drain(world, server)
    }
    await world.clock.advance(60_000)
    await world.checkUntouched()
  } finally {
    await world.close()
  }
}

/** The node's end of a new connection that said Hello; whatever the node answers is dropped. */
async function letIn(world: NodeWorld, kind: Kind): Promise<PipeEnd> {
  let server: PipeEnd | undefined
  world.transport.opened = (_, far) => void (server = far)
  const dialling = world.dial(kind.compressed)
  world.transport.opened = undefined
  const connection = await dialling
  connection.start({ message: () => {}, drained: () => {}, closed: () => {} })
  connection.send({
    type: 'hello',
    versionMin: 1,
    versionMax: 1,
    purpose: 'client',
    cluster: '',
    node: 'b',
    history: [],
    end: ORIGIN,
    formats: [],
  })
  await world.watch.settle()
  return server as PipeEnd
}

/** Requests that wait for a position or a view end by their own deadlines: the connection never hangs for good. */
async function drain({ clock, watch }: NodeWorld, server: PipeEnd): Promise<void> {
  const before = server.backlog
  for (let hours = 0; hours < 26 && server.backlog > 0; hours++) {
    if (hours > 0) watch.note('waited an hour')
    await clock.advance(3_600_000)
    await watch.settle(4)
  }
  if (server.backlog > 0 && !server.isOver)
    watch.fail(`a connection hangs: ${server.backlog} of ${before} frames were not read within 26 hours`)
}
