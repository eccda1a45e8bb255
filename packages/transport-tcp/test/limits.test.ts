import { once } from 'node:events'
import { connect as connectSocket, type Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { SimulatedClock } from '@understudy/testkit'
import { tcp } from '../src/index.ts'
import { framed, listening, pattern, rawPair, Recorded } from './peers.ts'

const LARGE = { frameBytesMax: 16 * 1024 * 1024 }

async function dialBare(port: number, localAddress = '127.0.0.1'): Promise<Socket> {
  const socket = connectSocket({ host: '127.0.0.1', port, localAddress }).on('error', () => {})
  await once(socket.resume(), 'connect')
  return socket
}

describe('connections', () => {
  test('of one address are 256, and another one still gets in', async () => {
    await using both = await listening({}, 'tcp://127.0.0.1:0')
    const sockets = await Promise.all(Array.from({ length: 300 }, () => dialBare(both.port)))
    await both.until(() => both.refused.length >= 44)
    await Promise.all(
      sockets
        .filter((socket) => !socket.destroyed)
        .slice(256)
        .map((socket) => once(socket, 'close')),
    )
    expect([both.accepted.length, both.refused.length]).toEqual([256, 44])
    expect(new Set(both.refused.map((error) => error.code))).toEqual(new Set(['OVERLOADED']))
    sockets.push(await dialBare(both.port, '127.0.0.2'))
    await both.until(() => both.accepted.length === 257)
    // One that goes makes room for one.
    both.accepted[0]?.channel.close()
    await both.accepted[0]?.closed()
    sockets.push(await dialBare(both.port))
    await both.until(() => both.accepted.length === 258)
    expect(both.refused.length).toBe(44)
    for (const socket of sockets) socket.destroy()
  })

  test('have limits of the caller', async () => {
    await using both = await listening({}, 'tcp://127.0.0.1:0', { channelsMax: 3, channelsPerAddressMax: 2 })
    const from = ['127.0.0.1', '127.0.0.1', '127.0.0.1', '127.0.0.2', '127.0.0.3']
    const sockets: Socket[] = []
    for (const [i, address] of from.entries()) {
      sockets.push(await dialBare(both.port, address))
      await both.until(() => both.accepted.length + both.refused.length === i + 1)
    }
    expect(both.accepted.map((channel) => channel.channel.remote.replace(/:\d+$/, ''))).toEqual([
      'tcp://127.0.0.1',
      'tcp://127.0.0.1',
      'tcp://127.0.0.2',
    ])
    for (const socket of sockets) socket.destroy()
  })
})

describe('a frame that was begun', () => {
  /** What the server's channel says after `silence` milliseconds. */
  test.each([
    ['with one byte of its length', Buffer.of(1), 30_000],
    ['with its length alone', framed(pattern(1000)).subarray(0, 4), 30_016],
    ['with half of it', framed(pattern(1000)).subarray(0, 500), 30_016],
    ['of a MiB', framed(pattern(1024 * 1024)).subarray(0, 500), 46_000],
  ])('%s has its time, and no more', async (_, bytes, allowedMs) => {
    const clock = new SimulatedClock()
    await using both = await rawPair({ clock }, LARGE)
    both.socket.write(Buffer.concat([framed(pattern(5)), bytes]))
    await both.channel.framesArrived(1)
    while (clock.pending === 0) await clock.settle()
    await clock.advance(allowedMs - 1)
    expect(both.channel.closes).toBe(0)
    await clock.advance(1)
    both.socket.end()
    await both.channel.closed()
    expect(both.channel.error).toMatchObject({ code: 'PEER_SILENT', details: { allowedMs } })
    expect(clock.pending).toBe(0)
  })

  test('and gets a byte a second ends at the same time', async () => {
    const clock = new SimulatedClock()
    await using both = await rawPair({ clock, frameMs: 5000 }, LARGE)
    const bytes = framed(pattern(1000))
    both.socket.write(bytes.subarray(0, 1))
    while (clock.pending === 0) await clock.settle()
    for (let second = 1; second < 6; second++) {
      expect(both.channel.closes).toBe(0)
      both.socket.write(bytes.subarray(second, second + 1))
      await clock.advance(1000)
    }
    await clock.advance(16)
    both.socket.end()
    await both.channel.closed()
    expect(both.channel.error?.code).toBe('PEER_SILENT')
  })

  test('and completed leaves the next one its own time; silence between frames is no matter', async () => {
    const clock = new SimulatedClock()
    await using both = await rawPair({ clock, frameMs: 5000 }, LARGE)
    for (let i = 0; i < 4; i++) {
      const bytes = framed(pattern(100, i))
      both.socket.write(bytes.subarray(0, 50))
      // A round trip shows that it came.
      both.channel.channel.send([pattern(1)])
      await once(both.socket, 'data')
      await clock.advance(4000)
      both.socket.write(bytes.subarray(50))
      await both.channel.framesArrived(i + 1)
    }
    await clock.advance(1_000_000)
    expect([both.channel.closes, clock.pending]).toEqual([0, 0])
  })

  test('has no deadline while this side does not read', async () => {
    const clock = new SimulatedClock()
    await using both = await rawPair({ clock, frameMs: 5000 }, LARGE)
    const bytes = framed(pattern(100))
    both.socket.write(bytes.subarray(0, 50))
    while (clock.pending === 0) await clock.settle()
    both.channel.channel.pause()
    await clock.advance(60_000)
    both.channel.channel.resume()
    await clock.settle()
    both.socket.write(bytes.subarray(50))
    await both.channel.framesArrived(1)
    expect(both.channel.closes).toBe(0)
  })

  test('has one also at the side that dialled', async () => {
    const clock = new SimulatedClock()
    await using both = await listening({}, 'tcp://127.0.0.1:0')
    const { createServer } = await import('node:net')
    const half = createServer((socket) =>
      socket.on('error', () => {}).write(framed(pattern(99)).subarray(0, 50)),
    )
    half.listen(0, '127.0.0.1')
    await once(half, 'listening')
    const { port } = half.address() as { port: number }
    const channel = new Recorded(await tcp({ clock, frameMs: 5000 }).connect(`tcp://127.0.0.1:${port}`))
    while (clock.pending === 0) await clock.settle()
    await clock.advance(5002 + 1000)
    await channel.closed()
    expect(channel.error?.code).toBe('PEER_SILENT')
    half.close()
    expect(both.accepted).toEqual([])
  })
})

test('the memory of a frame follows its bytes, not its length', async () => {
  await using both = await listening({}, 'tcp://127.0.0.1:0', { ...LARGE, channelsPerAddressMax: 1000 })
  const before = process.memoryUsage().arrayBuffers
  const header = Buffer.alloc(100)
  header.writeUInt32LE(16 * 1024 * 1024)
  const sockets = await Promise.all(Array.from({ length: 100 }, () => dialBare(both.port)))
  await both.until(() => both.accepted.length === 100)
  await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.write(header, resolve))))
  // A round trip over each shows that its bytes came.
  await Promise.all(
    sockets.map((socket, i) => {
      const came = once(socket, 'data')
      both.accepted[i]?.channel.send([pattern(1)])
      return came
    }),
  )
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100 * 256 * 1024)
  for (const socket of sockets) socket.destroy()
})
