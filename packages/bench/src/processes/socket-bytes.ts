/**
 * Bytes on the connections that this process accepted, as the sockets themselves count them: framing included, the
 * system's own headers (TCP, IP) not.
 *
 * Validity: the channel `net.server.socket` of node:diagnostics_channel tells of each accepted connection.
 */
import diagnostics from 'node:diagnostics_channel'
import type { Socket } from 'node:net'

export class SocketBytes {
  readonly #open = new Set<Socket>()
  #closedBytes = 0

  constructor() {
    diagnostics.subscribe('net.server.socket', (message) => {
      const { socket } = message as { readonly socket: Socket }
      this.#open.add(socket)
      socket.once('close', () => {
        this.#open.delete(socket)
        this.#closedBytes += socket.bytesWritten + socket.bytesRead
      })
    })
  }

  /** Connections that are open. */
  get open(): number {
    return this.#open.size
  }

  /** Sent and received since the start. */
  get total(): number {
    let bytes = this.#closedBytes
    for (const socket of this.#open) bytes += socket.bytesWritten + socket.bytesRead
    return bytes
  }
}
