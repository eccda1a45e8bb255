/**
 * Stands between the two ends of connections over TCP: hands bytes on one at a time, or up to somewhere and no further.
 *
 * 1. What one side ends is ended on the other one too; each direction alone.
 * 2. A connection is cut after so many bytes of one direction: `end` ends that direction only, `reset` breaks both off.
 */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export interface RelayOptions {
  /** One byte in each write, with a turn of the event loop between. Default false. */
  readonly singly?: boolean
  readonly cut?: RelayCut
}

export interface RelayCut {
  /** `there`: from the dialler to the listener. */
  readonly direction: 'there' | 'back'
  readonly afterBytes: number
  readonly how: 'end' | 'reset'
}

export interface Relay {
  /** The listener's address, with the port of the relay. */
  readonly address: string
  /** Bytes that came from each side. */
  readonly bytes: { there: number; back: number }
  close(): Promise<void>
}

/** `address`: a URL with a host and a port. */
export async function openRelay(address: string, options: RelayOptions = {}): Promise<Relay> {
  const to = new URL(address)
  const bytes = { there: 0, back: 0 }
  const sockets = new Set<Socket>()
  const track = (socket: Socket): Socket => {
    sockets.add(socket)
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket))
    return socket.setNoDelay(true)
  }
  const server = createServer({ allowHalfOpen: true }, (accepted) => {
    const dialler = track(accepted)
    const listener = track(
      connect({ host: to.hostname.replaceAll(/[[\]]/g, ''), port: Number(to.port), allowHalfOpen: true }),
    )
    const reset = (): void => {
      for (const socket of [dialler, listener]) socket.resetAndDestroy()
    }
    const joined: Joint = { bytes, options, reset }
    void handOn(dialler, listener, 'there', joined)
    void handOn(listener, dialler, 'back', joined)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const relayed = new URL(address)
  relayed.port = String((server.address() as AddressInfo).port)
  return {
    address: address.replace(to.host, `127.0.0.1:${relayed.port}`),
    bytes,
    async close() {
      const closed = once(server, 'close')
      server.close()
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

interface Joint {
  readonly bytes: Relay['bytes']
  readonly options: RelayOptions
  readonly reset: () => void
}

async function handOn(from: Socket, to: Socket, direction: 'there' | 'back', joint: Joint): Promise<void> {
  const { bytes, reset } = joint
  const { singly = false, cut } = joint.options
  const limit = cut?.direction === direction ? cut.afterBytes : Infinity
  try {
    // How many of this connection; `bytes` counts those of all.
    let count = 0
    for await (const chunk of from as AsyncIterable<Buffer>) {
      const allowed = chunk.subarray(0, limit - count)
      count += allowed.byteLength
      bytes[direction] += allowed.byteLength
      const pieces = singly ? Array.from(allowed, (byte) => Uint8Array.of(byte)) : [allowed]
      for (const piece of pieces) {
        if (piece.byteLength > 0) await written(to, piece)
      }
      if (count < limit) continue
      if (cut?.how === 'reset') {
        reset()
        return
      }
      to.end()
      // The rest is taken and dropped.
    }
    to.end()
  } catch {
    // One side broke off: so does the other.
    to.resetAndDestroy()
  }
}

async function written(to: Socket, bytes: Uint8Array): Promise<void> {
  // Nobody takes it any more: taken and dropped, so that the end of its sender is noticed.
  if (!to.writable) return
  await new Promise<void>((resolve, reject) => {
    to.write(bytes, (error) => (error === undefined || error === null ? resolve() : reject(error)))
  })
  await new Promise<void>((resolve) => {
    setImmediate(resolve)
  })
}
