/** Both ends of real connections over loopback, raw sockets included, closed with the test. */
import { once } from 'node:events'
import { connect as connectSocket, createServer, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import type { ListenOptions } from '@understudy/contracts'
import { Recorded, type Pair, type RawPair } from '@understudy/testkit/suites/recorded-channel'
import { webSocket, type WebSocketOptions } from '../src/index.ts'

export { pattern, Recorded } from '@understudy/testkit/suites/recorded-channel'

/** Two channels, connected. */
export async function pair(options: WebSocketOptions = {}, listen: ListenOptions = {}): Promise<Pair> {
  const accepted = Promise.withResolvers<Recorded>()
  const transport = webSocket(options)
  const listener = await transport.listen(
    'ws://127.0.0.1:0',
    (channel) => accepted.resolve(new Recorded(channel)),
    { frameBytesMax: 64 * 1024 * 1024, ...listen },
  )
  const dialler = new Recorded(await transport.connect(listener.address, { frameBytesMax: 64 * 1024 * 1024 }))
  const acceptor = await accepted.promise
  return {
    dialler,
    acceptor,
    listener,
    async [Symbol.asyncDispose]() {
      dialler.channel.close()
      await listener.close()
      await dialler.closed()
    },
  }
}

/** A bare socket, over TLS with these options. */
export async function bareSocket(address: string, tls?: ConnectionOptions): Promise<Socket> {
  const options = {
    host: '127.0.0.1',
    port: Number(new URL(address).port),
    noDelay: true,
    allowHalfOpen: true,
  }
  const socket = tls === undefined ? connectSocket(options) : connectTls({ ...options, ...tls })
  socket.on('error', () => {})
  await once(socket, tls === undefined ? 'connect' : 'secureConnect')
  return socket
}

/** An upgrade request as a peer of ours would send it; `headers` replace and add, null leaves one out. */
export function upgradeRequest(
  headers: Readonly<Record<string, string | null>> = {},
  line: string = 'GET / HTTP/1.1',
): string {
  const all: Record<string, string | null> = {
    Host: 'localhost',
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'AAAAAAAAAAAAAAAAAAAAAA==',
    'Sec-WebSocket-Protocol': 'understudy.1',
    ...headers,
  }
  const lines = Object.entries(all).flatMap(([name, value]) => (value === null ? [] : [`${name}: ${value}`]))
  return [line, ...lines, '', ''].join('\r\n')
}

/** Everything that comes until the head of an HTTP answer is whole. What comes behind it stays in the socket. */
export async function answerHead(socket: Socket): Promise<string> {
  let text = ''
  while (!text.includes('\r\n\r\n')) {
    const chunk = socket.read() as Buffer | null
    if (chunk === null) {
      if (socket.readableEnded || socket.destroyed) throw new Error(`The answer ended after "${text}".`)
      await Promise.race(['readable', 'end', 'close'].map((event) => once(socket, event)))
    } else text += chunk.toString('latin1')
  }
  const end = text.indexOf('\r\n\r\n') + 4
  if (text.length > end) socket.unshift(Buffer.from(text.slice(end), 'latin1'))
  return text.slice(0, end)
}

/** A bare socket whose upgrade was granted. */
export async function upgradedSocket(address: string, tls?: ConnectionOptions): Promise<Socket> {
  const socket = await bareSocket(address, tls)
  socket.write(upgradeRequest({}, `GET ${new URL(address).pathname} HTTP/1.1`))
  const answer = await answerHead(socket)
  if (!answer.startsWith('HTTP/1.1 101')) throw new Error(answer)
  return socket
}

/** A bare socket against an accepted channel. */
export async function rawPair(options: WebSocketOptions = {}, listen: ListenOptions = {}): Promise<RawPair> {
  const accepted = Promise.withResolvers<Recorded>()
  const listener = await webSocket(options).listen(
    'ws://127.0.0.1:0',
    (channel) => accepted.resolve(new Recorded(channel)),
    listen,
  )
  const socket = await upgradedSocket(listener.address)
  return {
    socket,
    channel: await accepted.promise,
    listener,
    async [Symbol.asyncDispose]() {
      socket.destroy()
      await listener.close()
    },
  }
}

/** An address that nothing listens on: a port that was free, on a loopback address that nobody else uses. */
export async function deadAddress(scheme: string = 'ws'): Promise<string> {
  const server = createServer().listen(0, '127.86.75.31')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return `${scheme}://127.86.75.31:${address.port}`
}

export interface FrameOptions {
  /** Default: binary and final. */
  readonly first?: number
  readonly masked?: boolean
  /** What the header says; default the truth. */
  readonly length?: number | bigint
  /** Bytes of the length: 0 (seven bits), 2 or 8. Default: as few as needed. */
  readonly lengthBytes?: 0 | 2 | 8
}

const MASK = Buffer.from([0x12, 0xfe, 0x80, 0x01])

/** The header of a frame as it stands on the wire. */
export function frameHeader(options: FrameOptions & { readonly length: number | bigint }): Buffer {
  const { first = 0x82, masked = true, length } = options
  const lengthBytes = options.lengthBytes ?? (length < 126 ? 0 : length < 65_536 ? 2 : 8)
  const header = Buffer.alloc(2 + lengthBytes)
  header[0] = first
  header[1] = lengthBytes === 0 ? Number(length) : lengthBytes === 2 ? 126 : 127
  if (lengthBytes === 2) header.writeUInt16BE(Number(length), 2)
  if (lengthBytes === 8) header.writeBigUInt64BE(BigInt(length), 2)
  if (!masked) return header
  header.writeUInt8(header.readUInt8(1) | 0x80, 1)
  return Buffer.concat([header, MASK])
}

/** A frame as it stands on the wire: of a client, unless told otherwise. */
export function framed(body: Uint8Array, options: FrameOptions = {}): Buffer {
  const header = frameHeader({ length: body.length, ...options })
  const { masked = true } = options
  const payload = masked ? body.map((byte, at) => byte ^ MASK[at % 4]!) : body
  return Buffer.concat([header, payload])
}

export interface ReceivedFrame {
  readonly opcode: number
  readonly body: Buffer
}

/** The frames of a server until it ends. */
export async function framesUntilEnd(socket: Socket): Promise<ReceivedFrame[]> {
  const chunks: Buffer[] = []
  for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk)
  const bytes = Buffer.concat(chunks)
  const frames: ReceivedFrame[] = []
  for (let at = 0; at < bytes.length;) {
    const short = bytes.readUInt8(at + 1)
    const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0
    const length =
      lengthBytes === 0
        ? short
        : bytes.readUIntBE(at + 2 + (lengthBytes === 8 ? 2 : 0), lengthBytes === 8 ? 6 : 2)
    const start = at + 2 + lengthBytes
    frames.push({ opcode: bytes.readUInt8(at) & 0x0f, body: bytes.subarray(start, start + length) })
    at = start + length
  }
  return frames
}

/** What a closing frame says: `1000`, `1002 PROTOCOL_VIOLATION`. */
export function closingOf(frames: readonly ReceivedFrame[]): string | undefined {
  const closing = frames.find((frame) => frame.opcode === 8)
  return closing === undefined
    ? undefined
    : `${closing.body.readUInt16BE(0)} ${closing.body.toString('latin1', 2)}`.trim()
}

/** Lets what is on its way over loopback arrive. */
export async function turns(count: number = 20): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}
