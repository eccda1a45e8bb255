/**
 * TLS handshakes of connections that were accepted.
 *
 * Decides: that each ends in time, in a verified session or not at all. Leaves to others: the certificates, which change
 * under way (sockets).
 *
 * 1. The deadline is for the whole handshake. Node's own starts again with every byte.
 * 2. A client whose certificate is refused is told so, in the session: Node would end it without a word.
 * 3. A new certificate is for handshakes that begin after it; sessions go on.
 */
import type { Socket } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { UnderstudyError, type CertificateStatus, type ChannelSecurity } from '@understudy/contracts'
import {
  Pending,
  clientProblem,
  connectionLost,
  listenerTls,
  securityOf,
  type Certificates,
} from '@understudy/sockets'
import { CERTIFICATE_REFUSED } from './refusal.ts'
import type { Settings } from './options.ts'
import { remoteOf } from './target.ts'

/** How long a refused client may take to read that it is. */
const REFUSAL_MS = 1000

export class Handshakes {
  readonly #certificates: Certificates
  readonly #settings: Settings
  readonly #done: (socket: TLSSocket, security: ChannelSecurity) => void
  readonly #server: Server
  readonly #unsubscribe: () => void
  /** Those that are under way, with who is at the other end. */
  readonly #open: Pending<string>
  /** Those that are being told that they were refused. */
  readonly #refused = new Set<TLSSocket>()

  /** Throws `TLS_FAILED` without a certificate. */
  constructor(
    certificates: Certificates,
    settings: Settings,
    done: (socket: TLSSocket, security: ChannelSecurity) => void,
  ) {
    this.#certificates = certificates
    this.#settings = settings
    this.#done = done
    const { clock, handshakeMs, refused } = settings
    this.#open = new Pending({
      clock,
      timeoutMs: handshakeMs,
      late: (remote) => refused(silent(remote, handshakeMs)),
      ended: (remote) => refused(connectionLost(remote, 'it ended within the TLS handshake')),
    })
    // It listens nowhere: connections are handed to it when they were let in.
    this.#server = createServer({
      ...listenerTls(certificates),
      // `#secured` rejects.
      rejectUnauthorized: false,
      handshakeTimeout: 0,
    })
    this.#server.on('secureConnection', (socket: TLSSocket) => this.#secured(socket))
    this.#server.on('tlsClientError', (error: NodeJS.ErrnoException, socket: TLSSocket) =>
      this.#failed(error, socket),
    )
    this.#unsubscribe = certificates.onChange(() => this.#server.setSecureContext(certificates.options))
  }

  get certificate(): CertificateStatus {
    // There is one, or the constructor would have thrown.
    return this.#certificates.status()!
  }

  begin(socket: Socket): void {
    this.#open.add(socket, remoteOf('tls', socket))
    this.#server.emit('connection', socket)
  }

  /** Breaks off what is under way. */
  close(): void {
    this.#unsubscribe()
    this.#open.close()
    for (const socket of this.#refused) socket.destroy()
  }

  #secured(socket: TLSSocket): void {
    socket.on('error', () => {})
    const handshake = this.#open.take(socket)
    if (handshake === undefined) {
      // Its deadline passed, the listener closed, or the peer is gone already.
      socket.destroy()
      return
    }
    const { clientCertificates } = this.#certificates.tls
    const problem = clientProblem(socket, handshake.about, clientCertificates)
    if (problem === undefined) {
      this.#done(socket, securityOf(socket))
      return
    }
    this.#settings.refused(problem)
    this.#refuse(socket)
  }

  #refuse(socket: TLSSocket): void {
    const timer = this.#settings.clock.schedule(REFUSAL_MS, () => socket.destroy())
    this.#refused.add(socket)
    socket.once('close', () => {
      timer.cancel()
      this.#refused.delete(socket)
    })
    // What it has sent is read and dropped, or its end would be a reset that overtakes the refusal.
    socket.resume().end(CERTIFICATE_REFUSED)
  }

  #failed(error: NodeJS.ErrnoException, socket: TLSSocket): void {
    const handshake = this.#open.take(socket)
    const remote = handshake?.about ?? remoteOf('tls', socket)
    socket.destroy()
    // Of what this side broke off it has told already.
    if (handshake !== undefined) this.#settings.refused(connectionLost(remote, error.message, error))
  }
}

function silent(remote: string, handshakeMs: number): UnderstudyError {
  return new UnderstudyError(
    'PEER_SILENT',
    `The TLS handshake with ${remote} was not done within ${handshakeMs} ms. The connection was closed; check that the peer speaks TLS.`,
    { remote, handshakeMs },
  )
}
