/** TLS sessions over loopback, closed with the test. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { certificates, diallerTls, listenerTls, type Certificates, type TlsOptions } from '../src/index.ts'
import { ManualClock } from './fixtures.ts'

export function loaded(tls: TlsOptions): Certificates {
  return certificates(tls, { clock: new ManualClock() })
}

export interface Session extends AsyncDisposable {
  /** Undefined: the handshake failed on that side, with the error. */
  readonly dialler: TLSSocket | undefined
  readonly acceptor: TLSSocket | undefined
  readonly diallerError: NodeJS.ErrnoException | undefined
  readonly acceptorError: NodeJS.ErrnoException | undefined
}

/** A handshake, whatever comes of it. */
export async function session(
  listener: TlsOptions,
  dialler: TlsOptions,
  more: ConnectionOptions = {},
): Promise<Session> {
  const server = createServer(listenerTls(loaded(listener)))
  const accepted = new Promise<TLSSocket | NodeJS.ErrnoException>((resolve) => {
    server.once('secureConnection', (socket) => resolve(socket.on('error', () => {})))
    server.once('tlsClientError', resolve)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const socket = connect({ host: '127.0.0.1', port, ...diallerTls(loaded(dialler), '127.0.0.1'), ...more })
  const dialled = new Promise<TLSSocket | NodeJS.ErrnoException>((resolve) => {
    socket.once('secureConnect', () => resolve(socket)).on('error', resolve)
  })
  const ends = await Promise.all([dialled, accepted])
  const [one, other] = ends
  return {
    dialler: one instanceof Error ? undefined : one,
    acceptor: other instanceof Error ? undefined : other,
    diallerError: one instanceof Error ? one : undefined,
    acceptorError: other instanceof Error ? other : undefined,
    async [Symbol.asyncDispose]() {
      for (const end of ends) if (!(end instanceof Error)) end.destroy()
      socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
