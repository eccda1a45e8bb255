/**
 * Bytes on the connections that this process accepted, or on those that it made, as the sockets themselves count them: framing
 * included, the system's own headers (TCP, IP) not.
 *
 * Validity: the channels `net.server.socket` and `net.client.socket` of node:diagnostics_channel tell of each connection.
 */
import diagnostics from 'node:diagnostics_channel'
import type { Socket } from 'node:net'

export class SocketBytes {
  readonly #open = new Set<Socket>()
  #closedBytes = 0

  constructor(side: 'server' | 'client' = 'server') {
    diagnostics.subscribe(`net.${side}.socket`, (message) => {
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
