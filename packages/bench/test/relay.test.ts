import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server } from 'node:net'
import { performance } from 'node:perf_hooks'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Child } from '../src/processes/child.ts'
import type { RelayCalls } from '../src/processes/relay.ts'

const ROUND_TRIP_MS = 30

let server: Server
let relay: Child<RelayCalls>
let address: URL

beforeEach(async () => {
  // An echo that ends when its peer does.
  server = createServer((socket) => socket.pipe(socket))
  server.listen({ host: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  relay = new Child<RelayCalls>('relay')
  const { port } = server.address() as AddressInfo
  const target = `tcp://127.0.0.1:${port}`
  address = new URL(await relay.call('open', { target, roundTripMs: ROUND_TRIP_MS }))
})

afterEach(async () => {
  await relay[Symbol.asyncDispose]()
  server.close()
})

test('a relay adds its round trip, no less, and says how long it held what it carried', async () => {
  const socket = connect({ host: address.hostname, port: Number(address.port), noDelay: true })
  await once(socket, 'connect')
  for (let turn = 0; turn < 5; turn++) {
    const sentMs = performance.now()
    socket.write('x')
    const [answer] = (await once(socket, 'data')) as [Buffer]
    expect(String(answer)).toBe('x')
    expect(performance.now() - sentMs).toBeGreaterThanOrEqual(ROUND_TRIP_MS)
  }
  const held = await relay.call('held')
  expect(held.p50).toBeGreaterThanOrEqual((ROUND_TRIP_MS / 2) * 0.999)
  // Asked again, it tells only of what came since.
  expect((await relay.call('held')).max).toBe(0)
  socket.destroy()
})

test('a relay keeps order and loses nothing, also when bytes come faster than they are taken, and hands on the end', async () => {
  const socket = connect({ host: address.hostname, port: Number(address.port) })
  const size = 32 * 1024 * 1024
  const sent = Buffer.alloc(size)
  for (let at = 0; at < size; at += 4) sent.writeUInt32LE(at, at)
  const parts: Buffer[] = []
  socket.on('data', (part: Buffer) => parts.push(part))
  socket.end(sent)
  await once(socket, 'end')
  expect(Buffer.concat(parts).equals(sent)).toBe(true)
})
