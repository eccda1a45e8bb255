/**
 * The TCP transport: connects and listens.
 *
 * Decides: options of sockets, limits of a listener, and what a system error means. Frames are the channel's.
 */
import { connect as connectSocket, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import {
  UnderstudyError,
  systemClock,
  type Channel,
  type Clock,
  type ConnectOptions,
  type Listener,
  type ListenOptions,
  type Transport,
} from '@understudy/contracts'
import { formatAddress, invalid, isLoopback, parseAddress, SCHEME } from './address.ts'
import { FrameReader } from './frame-reader.ts'
import { SlabPool } from './frame-writer.ts'
import { TcpChannel, type ChannelOptions } from './channel.ts'

/** Options of `tcp`, with their defaults. */
export interface TcpOptions {
  /**
   * Listen also on addresses that other machines can reach. Nothing on this transport is encrypted and no peer is
   * authenticated: whoever reaches the port reads and writes the data. Default false.
   */
  readonly insecure?: boolean
  /** `send` returns false above so many bytes that the operating system has not taken. Default 1 MiB. */
  readonly highBytes?: number
  /** `drained` is called below so many. Default 256 KiB. */
  readonly lowBytes?: number
  /** Milliseconds of silence after which the operating system asks whether the peer is still there. Default 10,000. */
  readonly keepAliveMs?: number
  /** For the time limits of connecting and closing. Default: real time. */
  readonly clock?: Pick<Clock, 'schedule'>
}

const DEFAULTS = {
  insecure: false,
  highBytes: 1024 * 1024,
  lowBytes: 256 * 1024,
  keepAliveMs: 10_000,
  clock: systemClock(),
} as const satisfies Required<TcpOptions>

const CONNECT_TIMEOUT_MS = 5000
const CONNECT_FRAME_BYTES_MAX = 16 * 1024 * 1024
const LISTEN_FRAME_BYTES_MAX = 4 * 1024
const CHANNELS_MAX = 1024

/** Framed channels over TCP, for addresses such as `tcp://127.0.0.1:7401` and `tcp://[::1]:7401`. */
export function tcp(options: TcpOptions = {}): Transport {
  const settings = { ...DEFAULTS, ...options }
  if (!(settings.lowBytes >= 1 && settings.lowBytes <= settings.highBytes))
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `lowBytes (${settings.lowBytes}) must be at least 1 and at most highBytes (${settings.highBytes}). Nothing was opened.`,
    )
  return new TcpTransport(settings)
}

interface SocketOptions {
  readonly allowHalfOpen: boolean
  readonly noDelay: boolean
  readonly keepAlive: boolean
  readonly keepAliveInitialDelay: number
}

class TcpTransport implements Transport {
  readonly schemes: readonly string[] = [SCHEME]
  readonly #settings: Required<TcpOptions>
  readonly #pool = new SlabPool()

  constructor(settings: Required<TcpOptions>) {
    this.#settings = settings
  }

  async connect(address: string, options: ConnectOptions = {}): Promise<Channel> {
    const { signal, timeoutMs = CONNECT_TIMEOUT_MS, frameBytesMax = CONNECT_FRAME_BYTES_MAX } = options
    const { host, port } = parseAddress(address)
    if (port === 0) throw invalid(address, 'nothing can be dialled at port 0')
    if (signal?.aborted === true) throw aborted(address, signal)
    const reader = new FrameReader()
    let channel: TcpChannel | undefined
    // Reading into memory of our own spares a copy of most frames; accepted sockets have no such option.
    const onread = {
      buffer: () => reader.memory(),
      callback: (count: number) => {
        reader.filled(count)
        channel?.received()
        return true
      },
    }
    const socket = connectSocket({ host, port, onread, ...this.#socketOptions() }).pause()
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const onError = (error: NodeJS.ErrnoException): void => reject(connectFailed(address, error))
    const onAbort = (): void => reject(aborted(address, signal))
    socket.once('connect', resolve).once('error', onError)
    signal?.addEventListener('abort', onAbort, { once: true })
    const timer = this.#settings.clock.schedule(timeoutMs, () => reject(timedOut(address, timeoutMs)))
    try {
      await promise
      // Dialling a free port of this machine can connect a socket with itself.
      if (socket.localPort === socket.remotePort && socket.localAddress === socket.remoteAddress)
        throw connectFailed(address, { name: 'Error', message: 'the socket was connected with itself' })
      channel = new TcpChannel(socket, this.#channelOptions(frameBytesMax), reader)
      return channel
    } catch (error) {
      // What the socket still has to say is of no interest.
      socket.on('error', () => {})
      socket.destroy()
      throw error
    } finally {
      timer.cancel()
      signal?.removeEventListener('abort', onAbort)
      socket.off('error', onError)
    }
  }

  async listen(
    address: string,
    accept: (channel: Channel) => void,
    options: ListenOptions = {},
  ): Promise<Listener> {
    const { frameBytesMax = LISTEN_FRAME_BYTES_MAX, channelsMax = CHANNELS_MAX } = options
    const { host, port } = parseAddress(address)
    if (!this.#settings.insecure && !isLoopback(host)) throw insecure(address)
    const channels = new Set<TcpChannel>()
    const server = createServer(this.#socketOptions(), (socket: Socket) => {
      if (channels.size >= channelsMax) {
        socket.destroy()
        return
      }
      const channel = new TcpChannel(socket, this.#channelOptions(frameBytesMax))
      channels.add(channel)
      socket.once('close', () => channels.delete(channel))
      try {
        accept(channel)
      } catch (error) {
        socket.destroy()
        throw error
      }
    })
    await listening(server, address, { host, port })
    const bound = server.address() as AddressInfo
    return new TcpListener(formatAddress({ host, port: bound.port }), server, channels)
  }

  #socketOptions(): SocketOptions {
    const { keepAliveMs } = this.#settings
    // Half-open: the channel ends its side itself, after what it has gathered is out.
    return { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs }
  }

  #channelOptions(frameBytesMax: number): ChannelOptions {
    const { highBytes, lowBytes, clock } = this.#settings
    return { frameBytesMax, highBytes, lowBytes, clock, pool: this.#pool }
  }
}

class TcpListener implements Listener {
  readonly address: string
  readonly #server: Server
  readonly #channels: ReadonlySet<TcpChannel>
  #closed: Promise<void> | undefined

  constructor(address: string, server: Server, channels: ReadonlySet<TcpChannel>) {
    this.address = address
    this.#server = server
    this.#channels = channels
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#server.close(() => resolve())
    const channels = [...this.#channels]
    for (const channel of channels) channel.close()
    await Promise.all([promise, ...channels.map((channel) => channel.gone)])
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

async function listening(
  server: Server,
  address: string,
  endpoint: { host: string; port: number },
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onError = (error: NodeJS.ErrnoException): void => reject(listenFailed(address, error))
  server.once('error', onError).listen(endpoint, resolve)
  await promise
  server.off('error', onError)
  // A connection that could not be accepted, for want of file descriptors say: the peer dials again.
  server.on('error', () => {})
}

function connectFailed(address: string, cause: NodeJS.ErrnoException): UnderstudyError {
  return new UnderstudyError(
    'CONNECT_FAILED',
    `No connection to ${address} could be made: ${cause.code ?? cause.message}. Nothing was sent; check that a node listens there.`,
    { address, systemCode: cause.code, cause },
  )
}

function listenFailed(address: string, cause: NodeJS.ErrnoException): UnderstudyError {
  return new UnderstudyError(
    'LISTEN_FAILED',
    `Listening on ${address} failed: ${cause.code ?? cause.message}. Nothing was opened; ` +
      (cause.code === 'EADDRINUSE'
        ? 'another process uses the port: stop it, or choose another port (0 picks a free one).'
        : 'choose an address of this machine.'),
    { address, systemCode: cause.code, cause },
  )
}

function timedOut(address: string, timeoutMs: number): UnderstudyError {
  return new UnderstudyError(
    'TIMEOUT',
    `No connection to ${address} came about within ${timeoutMs} ms. Nothing was sent; check the address, or allow more time.`,
    { address, timeoutMs },
  )
}

function aborted(address: string, signal: AbortSignal | undefined): UnderstudyError {
  return new UnderstudyError('ABORTED', `Connecting to ${address} was aborted. Nothing was sent.`, {
    address,
    cause: signal?.reason,
  })
}

function insecure(address: string): UnderstudyError {
  return new UnderstudyError(
    'INSECURE_ADDRESS',
    `${address} can be reached from other machines, and this transport neither encrypts nor authenticates. Nothing was opened; ` +
      'listen on 127.0.0.1 or [::1], or pass tcp({ insecure: true }) on a network where every machine is trusted.',
    { address },
  )
}
