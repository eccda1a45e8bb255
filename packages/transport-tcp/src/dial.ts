/**
 * Makes one connection, and a channel of it.
 *
 * Decides: options of dialled sockets, and what ends an attempt: its deadline, the caller, or an error. Leaves to others:
 * what proves the listener (sockets), frames (channel).
 *
 * 1. A channel over TLS exists only when the listener was verified. Whether the listener takes this side's certificate
 *    is known later, with TLS 1.3: then the channel ends with `TLS_FAILED`.
 */
import { connect as connectPlain, type Socket, type TcpNetConnectOpts } from 'node:net'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import type { ConnectOptions } from '@understudy/contracts'
import {
  connectAborted,
  connectFailed,
  connectTimedOut,
  diallerTls,
  invalidAddress,
  securityOf,
} from '@understudy/sockets'
import { TcpChannel } from './channel.ts'
import { DirectReads } from './direct-reads.ts'
import type { SlabPool } from './frame-writer.ts'
import type { Settings } from './options.ts'
import { remoteOf, SCHEMES, type Target } from './target.ts'

const CONNECT_TIMEOUT_MS = 5000
const FRAME_BYTES_MAX = 16 * 1024 * 1024

/** What all connections of a transport share. */
export interface Shared {
  readonly settings: Settings
  readonly pool: SlabPool
}

/** A socket under way, and how a channel is made of it when it is there. */
interface Attempt {
  readonly socket: Socket
  /** The event that says so. */
  readonly ready: 'connect' | 'secureConnect'
  readonly channel: (frameBytesMax: number) => TcpChannel
}

export async function dial(
  target: Target,
  address: string,
  options: ConnectOptions,
  shared: Shared,
): Promise<TcpChannel> {
  const { signal, timeoutMs = CONNECT_TIMEOUT_MS, frameBytesMax = FRAME_BYTES_MAX } = options
  const { clock, keepAliveMs } = shared.settings
  if (target.scheme !== 'unix' && target.port === 0)
    throw invalidAddress(address, 'nothing can be dialled at port 0', SCHEMES)
  if (signal?.aborted === true) throw connectAborted(address, signal)
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onError = (error: NodeJS.ErrnoException): void => reject(connectFailed(address, error))
  const onAbort = (): void => reject(connectAborted(address, signal))
  const { socket, ready, channel } =
    target.scheme === 'tls' ? overTls(target, shared) : plainly(target, address, shared)
  socket.once(ready, resolve).once('error', onError)
  signal?.addEventListener('abort', onAbort, { once: true })
  const timer = clock.schedule(timeoutMs, () => reject(connectTimedOut(address, timeoutMs)))
  try {
    await promise
    // Dialling a free port of this machine can connect a socket with itself.
    if (
      target.scheme === 'tcp' &&
      socket.localPort === socket.remotePort &&
      socket.localAddress === socket.remoteAddress
    )
      throw connectFailed(address, { message: 'the socket was connected with itself' })
    if (target.scheme !== 'unix') socket.setNoDelay(true).setKeepAlive(true, keepAliveMs)
    return channel(frameBytesMax)
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

function plainly(target: Exclude<Target, { scheme: 'tls' }>, address: string, shared: Shared): Attempt {
  const reads = new DirectReads()
  const where = target.scheme === 'unix' ? { path: target.path } : tcpOptions(target, shared.settings)
  const socket = connectPlain({ ...where, onread: reads.onread, allowHalfOpen: true }).pause()
  return {
    socket,
    ready: 'connect',
    channel(frameBytesMax) {
      const remote = target.scheme === 'unix' ? address : remoteOf(target.scheme, socket)
      const { reader } = reads
      const channel = new TcpChannel(socket, { ...channelOptions(shared), remote, frameBytesMax, reader })
      reads.deliverTo(channel)
      return channel
    },
  }
}

/** Reads in the ordinary way: records of TLS go on coming when a socket was paused, and Node keeps them then. */
function overTls(target: Extract<Target, { scheme: 'tls' }>, shared: Shared): Attempt {
  const { certificates, host } = target
  certificates.refresh()
  // Its types leave out what it hands on to `net.connect`.
  const options: ConnectionOptions & TcpNetConnectOpts = {
    ...diallerTls(certificates, host),
    ...tcpOptions(target, shared.settings),
    allowHalfOpen: true,
  }
  const socket = connectTls(options)
  return {
    socket: socket.pause(),
    ready: 'secureConnect',
    channel: (frameBytesMax) =>
      new TcpChannel(socket, {
        ...channelOptions(shared),
        remote: remoteOf(target.scheme, socket),
        frameBytesMax,
        security: securityOf(socket),
        mayBeRefused: true,
      }),
  }
}

/** A name may have addresses of both families, one of them dead: they are tried in turn (RFC 8305). */
function tcpOptions(target: { host: string; port: number }, settings: Settings): TcpNetConnectOpts {
  const { attemptMs, lookup } = settings
  return {
    host: target.host,
    port: target.port,
    autoSelectFamily: true,
    // Node takes no less.
    autoSelectFamilyAttemptTimeout: Math.max(10, attemptMs),
    ...(lookup === undefined ? {} : { lookup }),
  }
}

/** What does not depend on the connection. */
export function channelOptions({ settings, pool }: Shared): {
  highBytes: number
  lowBytes: number
  frameMs: number
  clock: Settings['clock']
  pool: SlabPool
} {
  const { highBytes, lowBytes, frameMs, clock } = settings
  return { highBytes, lowBytes, frameMs, clock, pool }
}
