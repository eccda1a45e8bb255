/** Both ends of real connections over loopback, raw sockets included, closed with the test. */
import { once } from 'node:events'
import { connect as connectSocket, createServer } from 'node:net'
import type { Channel, Listener, ListenOptions, UnderstudyError } from '@understudy/contracts'
import { Recorded, type Pair, type RawPair } from '@understudy/testkit/suites/recorded-channel'
import { tcp, type TcpOptions } from '../src/index.ts'

export { pattern, Recorded } from '@understudy/testkit/suites/recorded-channel'

/** Two channels, connected. `dialling`: other options for the end that dials. */
export async function pair(
  options: TcpOptions = {},
  listen: ListenOptions = {},
  address: string = 'tcp://127.0.0.1:0',
  dialling: TcpOptions = options,
): Promise<Pair> {
  const accepted = Promise.withResolvers<Recorded>()
  const listener = await tcp(options).listen(address, (channel) => accepted.resolve(new Recorded(channel)), {
    frameBytesMax: 64 * 1024 * 1024,
    ...listen,
  })
  const dialler = new Recorded(
    await tcp(dialling).connect(listener.address, { frameBytesMax: 64 * 1024 * 1024 }),
  )
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

/** A bare socket against an accepted channel. */
export async function rawPair(options: TcpOptions = {}, listen: ListenOptions = {}): Promise<RawPair> {
  const accepted = Promise.withResolvers<Recorded>()
  const listener = await tcp(options).listen(
    'tcp://127.0.0.1:0',
    (channel) => accepted.resolve(new Recorded(channel)),
    listen,
  )
  const socket = connectSocket({
    host: '127.0.0.1',
    port: Number(new URL(listener.address).port),
    noDelay: true,
    allowHalfOpen: true,
  })
  socket.on('error', () => {})
  await once(socket, 'connect')
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
export async function deadAddress(): Promise<string> {
  const server = createServer().listen(0, '127.86.75.30')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return `tcp://127.86.75.30:${address.port}`
}

/** A frame as it stands on the wire. */
export function framed(body: Uint8Array): Buffer {
  const prefix = Buffer.alloc(4)
  prefix.writeUInt32LE(body.length)
  return Buffer.concat([prefix, body])
}

/** A listener that keeps what comes to it, and can be waited for. */
export interface Listening extends AsyncDisposable {
  readonly listener: Listener
  readonly port: number
  readonly accepted: Recorded[]
  readonly refused: UnderstudyError[]
  /** Waits for something to be true after a connection came or was refused. */
  until(condition: () => boolean): Promise<void>
}

export async function listening(
  options: TcpOptions,
  address: string = 'tls://127.0.0.1:0',
  listen: ListenOptions = {},
): Promise<Listening> {
  const accepted: Recorded[] = []
  const refused: UnderstudyError[] = []
  const waiting: (() => void)[] = []
  const wake = (): void => {
    for (const resolve of waiting.splice(0)) resolve()
  }
  const transport = tcp({
    ...options,
    refused(error) {
      refused.push(error)
      wake()
    },
  })
  const accept = (channel: Channel): void => {
    accepted.push(new Recorded(channel))
    wake()
  }
  const listener = await transport.listen(address, accept, listen)
  return {
    listener,
    port: Number(new URL(listener.address).port),
    accepted,
    refused,
    async until(condition) {
      while (!condition()) await new Promise<void>((resolve) => waiting.push(resolve))
    },
    [Symbol.asyncDispose]: () => listener.close(),
  }
}
