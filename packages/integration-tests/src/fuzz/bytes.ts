/**
 * Bytes below the frames: streams of frames whose lengths and bytes are damaged, in pieces of any size, over real sockets
 * of this machine, to what tcp and ws read them with.
 *
 * 1. What tcp hands out is exactly what a second, plain reader cuts from the same bytes, and it ends a stream for the
 *    reason that the plain reader has: a length over the limit, or an end inside a frame.
 * 2. A length takes no memory, bytes do.
 * 3. What ws hands out before the first damaged byte is what was sent.
 * 4. Sockets cut the same bytes at other places in each run; everything else repeats.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Channel, Listener, Transport, UnderstudyError } from '@understudy/contracts'
import type { SeededRandom } from '@understudy/testkit'
import { tcp } from '@understudy/transport-tcp'
import { webSocket } from '@understudy/transport-ws'
import type { Frame } from './mutator.ts'
import type { Position, RunContext } from './position.ts'
import { damagedStream, headOf, plainFrames, type Stream } from './streams.ts'
import type { Watch } from './watch.ts'

export const tcpBytes: Position = {
  name: 'bytes below frames, tcp',
  weight: 12,
  frames: 6000,
  run: async (context) => {
    const address = `unix://${join(context.folder, 's')}`
    await run(context, {
      transport: tcp(),
      address,
      masked: undefined,
      connect: () => dial({ path: address.slice(7) }),
    })
  },
}

export const webSocketBytes: Position = {
  name: 'bytes below frames, ws',
  weight: 6,
  frames: 5000,
  run: (context) =>
    run(context, { transport: webSocket(), address: 'ws://127.0.0.1:0', masked: true, connect: upgrade }),
}

interface Place {
  readonly transport: Transport
  readonly address: string
  readonly masked: true | undefined
  /** A raw socket on which frames are next. */
  readonly connect: (address: string) => Promise<Socket>
}

/** What one channel got. */
interface Got {
  readonly frames: Frame[]
  readonly ended: Promise<UnderstudyError | undefined>
}

/** Blocks that sockets are read into, and this much for each byte that came: a length alone takes nothing. */
const MEMORY_BYTES_MAX = 2 * 1024 * 1024
const MEMORY_FACTOR_MAX = 8
const FRAME_BYTES_MAX = [1, 16, 4096, 1 << 20, 16 * 1024 * 1024] as const

async function run(context: RunContext, place: Place): Promise<void> {
  const { random, watch, framesMax } = context
  const accepted: { got: Got; resolve: (got: Got) => void } = { got: nothing(), resolve: () => {} }
  let frameBytesMax = 4096
  const accept = (channel: Channel): void => {
    channel.frameBytesMax = frameBytesMax
    accepted.resolve(collect(channel, watch))
  }
  const listener = await place.transport.listen(place.address, accept)
  try {
    while (watch.frames < framesMax) {
      const { promise, resolve } = Promise.withResolvers<Got>()
      accepted.resolve = resolve
      frameBytesMax = random.pick(FRAME_BYTES_MAX)
      const stream = damagedStream(random, place.masked === true, frameBytesMax)
      const socket = await place.connect(listener.address)
      const got = await promise
      const heldBytes = process.memoryUsage().arrayBuffers
      const writing = writeInPieces(socket, stream, random, watch)
      const error = await got.ended
      const takenBytes = process.memoryUsage().arrayBuffers - heldBytes
      if (takenBytes > MEMORY_BYTES_MAX + MEMORY_FACTOR_MAX * stream.bytes.length)
        watch.fail(`${takenBytes} bytes of memory were taken for ${stream.bytes.length} bytes that came`)
      await writing
      socket.destroy()
      if (error !== undefined) watch.judge(error)
      watch.note(error?.code ?? 'ended')
      watch.sent(Math.max(1, got.frames.length - stream.soundFrames + 1))
      check(watch, stream, got.frames, { error, frameBytesMax, isTcp: place.masked === undefined })
      watch.check()
    }
    await checkUntouched(listener, place, watch)
  } finally {
    await listener.close()
  }
}

function check(
  watch: Watch,
  stream: Stream,
  got: readonly Frame[],
  how: { error: UnderstudyError | undefined; frameBytesMax: number; isTcp: boolean },
): void {
  if (!how.isTcp) {
    for (const [index, frame] of stream.sound.entries())
      if (
        frame.length <= how.frameBytesMax &&
        got[index] !== undefined &&
        Buffer.compare(frame, got[index]) !== 0
      )
        watch.fail(`frame ${index} came otherwise than it was sent`)
    return
  }
  const plain = plainFrames(stream.bytes, how.frameBytesMax)
  const equal =
    plain.frames.length === got.length &&
    plain.frames.every((frame, at) => Buffer.compare(frame, got[at]!) === 0)
  if (!equal) watch.fail(`${got.length} frames came where ${plain.frames.length} are in the bytes, or others`)
  if (how.error?.code !== plain.code)
    watch.fail(`the stream ended with ${how.error?.code} where ${plain.code} was due`)
}

function nothing(): Got {
  return { frames: [], ended: Promise.resolve(undefined) }
}

function collect(channel: Channel, watch: Watch): Got {
  const frames: Frame[] = []
  const { promise: ended, resolve } = Promise.withResolvers<UnderstudyError | undefined>()
  channel.start({
    frame: (bytes) => watch.handling(bytes, () => void frames.push(bytes)),
    drained: () => {},
    closed: resolve,
  })
  return { frames, ended }
}

/** In one piece, in some, or byte by byte; the pieces of a short stream arrive apart. Ends in order, or by a reset. */
async function writeInPieces(
  socket: Socket,
  { bytes }: Stream,
  random: SeededRandom,
  watch: Watch,
): Promise<void> {
  const size = random.pick([
    bytes.length,
    bytes.length,
    bytes.length,
    1 + random.below(900),
    64,
    bytes.length < 400 ? 1 : 7,
  ])
  for (let at = 0; at < bytes.length && !socket.destroyed; at += size) {
    socket.write(bytes.subarray(at, at + size))
    if (size < bytes.length) await watch.settle()
  }
  if (!socket.destroyed) socket.end()
}

async function checkUntouched({ address }: Listener, place: Place, watch: Watch): Promise<void> {
  // The listener sends nothing back, so that only its own `accept` tells what came.
  const channel = await place.transport.connect(address)
  channel.start({ frame: () => {}, drained: () => {}, closed: () => {} })
  channel.close()
  await watch.settle()
}

async function dial(target: { path: string } | { host: string; port: number }): Promise<Socket> {
  const socket = connect(target)
  // The other end may end it while it is written to.
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.resume()
  return socket
}

/** The answer to the upgrade is read over: the server sends nothing else that matters here. */
async function upgrade(address: string): Promise<Socket> {
  const { hostname, port } = new URL(address)
  const socket = connect({ host: hostname, port: Number(port) })
  socket.on('error', () => {})
  await once(socket, 'connect')
  socket.write(headOf(address))
  await once(socket, 'data')
  socket.resume()
  return socket
}
