/** A way to a node over TCP that can be cut: with an end that both sides see, or silently. */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

export interface Cuttable {
  /** Instead of the node's own address. */
  readonly address: string
  /** Connections that were made through it. */
  readonly made: number
  /** Ends what is connected; what comes later gets through. */
  cut(): void
  /** From now on no byte gets through either way, and no end is told. */
  silence(): void
  /** What is connected is ended, what comes later gets through. */
  restore(): void
}

export async function cuttable(target: string): Promise<Cuttable> {
  const { hostname, port } = new URL(target)
  const sockets = new Set<Socket>()
  let made = 0
  let silent = false
  const keep = (socket: Socket, other: Socket): void => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      if (!silent) other.write(chunk)
    })
    socket.once('close', () => {
      sockets.delete(socket)
      if (!silent) other.destroy()
    })
  }
  const server = createServer((near) => {
    made++
    const far = connect(Number(port), hostname)
    keep(near, far)
    keep(far, near)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const cut = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  onTestFinished(async () => {
    cut()
    server.close()
    await once(server, 'close')
  })
  return {
    address: `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get made() {
      return made
    },
    cut,
    silence: () => void (silent = true),
    restore() {
      silent = false
      cut()
    },
  }
}
