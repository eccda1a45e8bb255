/**
 * Listens, and makes channels of the connections that come.
 *
 * Decides: which connections are let in, how long a handshake may take, and what the listener does at its end. Leaves to
 * others: what TLS proves (sockets), the file of a UNIX socket (socket-file), frames (channel).
 *
 * 1. A connection counts from its first moment; one too many is closed before anything is made for it.
 * 2. The handshake has its deadline from then on, however often the peer sends a byte.
 */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { Channel, CertificateStatus, Listener, ListenOptions } from '@understudy/contracts'
import { UnderstudyError } from '@understudy/contracts'
import { Admission, formatAddress, insecureAddress, listenFailed, type Protection } from '@understudy/sockets'
import { TcpChannel, type ChannelOptions } from './channel.ts'
import { channelOptions, type Shared } from './dial.ts'
import { DirectReads, readInto } from './direct-reads.ts'
import { listenAtFile } from './socket-file.ts'
import { remoteOf, type Target } from './target.ts'
import { Handshakes } from './handshakes.ts'

const FRAME_BYTES_MAX = 4 * 1024

export interface Request {
  readonly address: string
  readonly accept: (channel: Channel) => void
  readonly options: ListenOptions
}

export async function listen(target: Target, request: Request, shared: Shared): Promise<Listener> {
  const { address, options } = request
  const protection: Protection = {
    encrypted: target.scheme === 'tls',
    authenticated:
      options.authenticated === true ||
      (target.scheme === 'tls' && target.certificates.tls.clientCertificates === 'require'),
    insecure: shared.settings.insecure,
  }
  const refusal = insecureAddress(address, protection)
  if (refusal !== undefined) throw refusal
  const listener =
    target.scheme === 'tls'
      ? new TlsListener(target, request, shared)
      : new TcpListener(target, request, shared)
  await listener.open(target, protection)
  return listener
}

class TcpListener implements Listener {
  address: string
  readonly #request: Request
  readonly #shared: Shared
  readonly #scheme: string
  readonly #server: Server
  readonly #admission: Admission
  readonly #channels = new Set<TcpChannel>()
  #removeFile = (): void => {}
  #closed: Promise<void> | undefined

  constructor(target: Target, request: Request, shared: Shared) {
    this.address = request.address
    this.#request = request
    this.#shared = shared
    this.#scheme = target.scheme
    this.#admission = new Admission(request.options)
    // Half-open: the channel ends its side itself, after what it has gathered is out. A handshake ends with its peer.
    const allowHalfOpen = target.scheme !== 'tls'
    const keepAliveInitialDelay = shared.settings.keepAliveMs
    this.#server = createServer(
      { allowHalfOpen, noDelay: true, keepAlive: true, keepAliveInitialDelay },
      (socket) => this.#connected(socket),
    )
  }

  async open(target: Target, protection: Protection): Promise<void> {
    const server = this.#server
    if (target.scheme === 'unix') {
      const file = await listenAtFile(server, target.path, this.address)
      this.#removeFile = () => file.remove()
    } else {
      const bound = await listenAtPort(server, this.address, target)
      // A name such as localhost means what the resolver makes of it.
      const refusal = insecureAddress(
        formatAddress({ scheme: target.scheme, host: bound.address, port: bound.port }),
        protection,
      )
      if (refusal !== undefined) {
        server.close()
        throw refusal
      }
      this.address = formatAddress({ scheme: target.scheme, host: target.host, port: bound.port })
    }
    // A connection that could not be accepted, for want of file descriptors say: the peer dials again.
    server.on('error', () => {})
  }

  #connected(socket: Socket): void {
    const isFile = this.#scheme === 'unix'
    const release = this.#admission.admit(isFile ? undefined : socket.remoteAddress)
    if (release === undefined) {
      socket.on('error', () => {}).destroy()
      this.#shared.settings.refused(tooMany(this.#remoteOf(socket), this.#admission.open))
      return
    }
    socket.once('close', release)
    this.admitted(socket)
  }

  /** A connection that was let in. */
  protected admitted(socket: Socket): void {
    const reads = new DirectReads()
    if (readInto(socket, reads.onread)) reads.deliverTo(this.serve(socket.pause(), { reader: reads.reader }))
    else this.serve(socket, {})
  }

  #remoteOf(socket: Socket): string {
    return this.#scheme === 'unix' ? this.address : remoteOf(this.#scheme, socket)
  }

  /** Makes a channel and hands it over. */
  protected serve(socket: Socket, more: Pick<ChannelOptions, 'security' | 'reader'>): TcpChannel {
    const { frameBytesMax = FRAME_BYTES_MAX } = this.#request.options
    const channel = new TcpChannel(socket, {
      ...channelOptions(this.#shared),
      remote: this.#remoteOf(socket),
      frameBytesMax,
      ...more,
    })
    this.#channels.add(channel)
    socket.once('close', () => this.#channels.delete(channel))
    try {
      this.#request.accept(channel)
    } catch (error) {
      socket.destroy()
      throw error
    }
    return channel
  }

  close(): Promise<void> {
    this.#closed ??= this.end()
    return this.#closed
  }

  protected async end(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#server.close(() => resolve())
    this.#removeFile()
    const channels = [...this.#channels]
    for (const channel of channels) channel.close()
    await Promise.all([promise, ...channels.map((channel) => channel.gone)])
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

class TlsListener extends TcpListener {
  readonly #handshakes: Handshakes

  constructor(target: Extract<Target, { scheme: 'tls' }>, request: Request, shared: Shared) {
    super(target, request, shared)
    this.#handshakes = new Handshakes(target.certificates, shared.settings, (socket, security) =>
      this.serve(socket, { security }),
    )
  }

  get certificate(): CertificateStatus {
    return this.#handshakes.certificate
  }

  protected override admitted(socket: Socket): void {
    this.#handshakes.begin(socket)
  }

  protected override async end(): Promise<void> {
    this.#handshakes.close()
    await super.end()
  }
}

async function listenAtPort(
  server: Server,
  address: string,
  endpoint: { host: string; port: number },
): Promise<AddressInfo> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onError = (error: NodeJS.ErrnoException): void => reject(listenFailed(address, error))
  server.once('error', onError).listen({ host: endpoint.host, port: endpoint.port }, resolve)
  await promise
  server.off('error', onError)
  return server.address() as AddressInfo
}

function tooMany(remote: string, open: number): UnderstudyError {
  return new UnderstudyError(
    'OVERLOADED',
    `A connection from ${remote} was closed at once: ${open} are open, and it was one too many in all or from its address. ` +
      'The others go on; raise channelsMax or channelsPerAddressMax if they are wanted.',
    { remote, open },
  )
}
