import { describe, expect, test } from 'vitest'
import { SimulatedClock } from '@understudy/testkit'
import { closingOf, framed, framesUntilEnd, frameHeader, pattern, rawPair, turns } from './peers.ts'

const CLOSE = 0x88
const PING = 0x89

describe('what a peer must not send ends the channel, after the frames before it', () => {
  test.each<[string, Uint8Array]>([
    ['a text frame', framed(Buffer.from('hello'), { first: 0x81 })],
    ['a frame that is not masked', framed(pattern(10), { masked: false })],
    ['a frame that claims to be compressed', framed(pattern(10), { first: 0xc2 })],
    ['an unknown kind of frame', framed(pattern(10), { first: 0x83 })],
    ['a continuation of nothing', framed(pattern(10), { first: 0x80 })],
    ['a closing frame with half a status', framed(Uint8Array.of(3), { first: CLOSE })],
    ['a closing frame with a status that must not be sent', framed(Uint8Array.of(3, 237), { first: CLOSE })],
    [
      'a closing frame with a reason that is no text',
      framed(Uint8Array.of(3, 232, 0xff, 0xfe), { first: CLOSE }),
    ],
    ['HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
  ])('%s', async (_name, bytes) => {
    await using both = await rawPair()
    both.socket.write(Buffer.concat([framed(pattern(7)), bytes, framed(pattern(8))]))
    const frames = await framesUntilEnd(both.socket)
    both.socket.end()
    await both.channel.closed()
    expect(both.channel.error).toMatchObject({ code: 'PROTOCOL_VIOLATION' })
    expect(both.channel.frames.map((frame) => Buffer.from(frame))).toEqual([Buffer.from(pattern(7))])
    expect(closingOf(frames)).toMatch(/^100[27]/)
  })

  test('a message in many tiny or empty fragments', async () => {
    for (const size of [0, 1]) {
      await using both = await rawPair()
      const flood = [framed(pattern(size), { first: 0x02 })]
      for (let i = 0; i < 200; i++) flood.push(framed(pattern(size), { first: 0x00 }))
      both.socket.write(Buffer.concat(flood))
      both.socket.resume()
      both.socket.once('end', () => both.socket.end())
      await both.channel.closed()
      expect(both.channel.error).toMatchObject({ code: 'PROTOCOL_VIOLATION' })
      expect(both.channel.frames).toEqual([])
    }
  })

  test('a few fragments, as a proxy may make them, are one frame', async () => {
    await using both = await rawPair()
    const body = pattern(3000)
    both.socket.write(
      Buffer.concat([
        framed(body.subarray(0, 1000), { first: 0x02 }),
        framed(pattern(4), { first: PING }),
        framed(body.subarray(1000, 1000), { first: 0x00 }),
        framed(body.subarray(1000), { first: 0x80 }),
      ]),
    )
    await both.channel.framesArrived(1)
    expect(Buffer.compare(both.channel.frames[0]!, body)).toBe(0)
  })

  test.each<[string, Uint8Array]>([
    ['4,097 bytes', frameHeader({ length: 4097 })],
    ['2^31 bytes', frameHeader({ length: 2 ** 31 })],
    ['2^63 bytes', frameHeader({ length: 2n ** 63n, lengthBytes: 8 })],
    ['2^64 - 1 bytes', frameHeader({ length: 2n ** 64n - 1n, lengthBytes: 8 })],
    [
      '4,097 bytes in fragments',
      Buffer.concat([framed(pattern(4000), { first: 0x02 }), framed(pattern(97), { first: 0x80 })]),
    ],
  ])('an announced message of %s is FRAME_TOO_LARGE, and the peer is told', async (_name, bytes) => {
    await using both = await rawPair()
    both.socket.write(bytes)
    const frames = await framesUntilEnd(both.socket)
    both.socket.end()
    await both.channel.closed()
    expect(both.channel.error).toMatchObject({ code: 'FRAME_TOO_LARGE', details: { frameBytesMax: 4096 } })
    expect(closingOf(frames)).toBe('1009 FRAME_TOO_LARGE')
  })
})

describe('a peer that is too slow', () => {
  test('with a frame, byte by byte, has 30 seconds and one more for each 64 KiB that it announced', async () => {
    const clock = new SimulatedClock()
    await using both = await rawPair({ clock }, { frameBytesMax: 1_000_000 })
    both.socket.write(Buffer.concat([framed(pattern(10)), frameHeader({ length: 200_000 })]))
    await both.channel.framesArrived(1)
    for (let second = 0; second < 33; second++) {
      both.socket.write(Uint8Array.of(second))
      await turns()
      await clock.advance(1000)
    }
    await clock.advance(51)
    await turns()
    expect(both.channel.closes).toBe(0)
    await clock.advance(1)
    const frames = await framesUntilEnd(both.socket)
    both.socket.end()
    await both.channel.closed()
    expect(both.channel.error).toMatchObject({ code: 'PEER_SILENT', details: { timeoutMs: 33_052 } })
    expect(closingOf(frames)).toBe('1008 PEER_SILENT')
  })

  test.each<[string, Uint8Array]>([
    ['half a header', frameHeader({ length: 1000 }).subarray(0, 3)],
    ['the first of two fragments', framed(pattern(10), { first: 0x02 })],
    ['half a ping', framed(pattern(10), { first: PING }).subarray(0, 9)],
  ])('with the rest of %s', async (_name, bytes) => {
    const clock = new SimulatedClock()
    await using both = await rawPair({ clock })
    both.socket.write(Buffer.concat([framed(pattern(1)), bytes]))
    await both.channel.framesArrived(1)
    await turns()
    expect(clock.pending).toBe(1)
    // Pings between fragments give no more time.
    if (bytes[0] === 0x02) both.socket.write(framed(pattern(1), { first: PING }))
    await clock.advance(29_999)
    await turns()
    expect(both.channel.closes).toBe(0)
    await clock.advance(1_001)
    both.socket.resume()
    both.socket.end()
    await both.channel.closed()
    expect(both.channel.error).toMatchObject({ code: 'PEER_SILENT' })
  })

  test('has its time anew for each frame, and as long as it likes between them', async () => {
    const clock = new SimulatedClock()
    await using both = await rawPair({ clock })
    const frame = framed(pattern(100))
    for (let i = 1; i <= 4; i++) {
      both.socket.write(frame.subarray(0, 50))
      await turns()
      await clock.advance(20_000)
      both.socket.write(frame.subarray(50))
      await both.channel.framesArrived(i)
    }
    await clock.advance(10_000_000)
    await turns()
    expect(both.channel.closes).toBe(0)
    expect(clock.pending).toBe(0)
  })

  test('is not to blame while this side is paused', async () => {
    const clock = new SimulatedClock()
    await using both = await rawPair({ clock })
    const frame = framed(pattern(100))
    both.socket.write(Buffer.concat([framed(pattern(1)), frame.subarray(0, 50)]))
    await both.channel.framesArrived(1)
    both.channel.channel.pause()
    both.socket.write(frame.subarray(50))
    await turns()
    await clock.advance(10_000_000)
    expect(both.channel.closes).toBe(0)
    both.channel.channel.resume()
    await both.channel.framesArrived(2)
  })

  test('to take the last bytes has one second', async () => {
    const clock = new SimulatedClock()
    await using both = await rawPair({ clock })
    both.socket.pause()
    for (let i = 0; i < 400; i++) both.channel.channel.send([pattern(64 * 1024)])
    both.channel.channel.close()
    await clock.advance(999)
    expect(both.channel.closes).toBe(0)
    await clock.advance(1)
    await both.channel.closed()
    expect(both.channel.error).toMatchObject({ code: 'CONNECTION_LOST' })
  })

  test('to take the last bytes after it ended its own half has one second', async () => {
    const clock = new SimulatedClock()
    await using both = await rawPair({ clock })
    both.socket.pause()
    for (let i = 0; i < 400; i++) both.channel.channel.send([pattern(64 * 1024)])
    both.socket.end()
    while (clock.pending === 0) await turns(1)
    await clock.advance(1000)
    await both.channel.closed()
    expect(both.channel.error).toMatchObject({ code: 'CONNECTION_LOST' })
    expect(clock.pending).toBe(0)
  })

  test('to close after its own closing frame has one second', async () => {
    const clock = new SimulatedClock()
    await using both = await rawPair({ clock })
    both.socket.write(framed(Uint8Array.of(3, 232), { first: CLOSE }))
    while (clock.pending === 0) await turns(1)
    await clock.advance(999)
    expect(both.channel.closes).toBe(0)
    await clock.advance(1)
    await both.channel.closed()
    expect(both.channel.error).toBeUndefined()
  })
})

describe('pings', () => {
  test('are answered', async () => {
    await using both = await rawPair()
    both.socket.write(framed(Buffer.from('abc'), { first: PING }))
    both.socket.write(framed(Uint8Array.of(3, 232), { first: CLOSE }))
    const frames = await framesUntilEnd(both.socket)
    expect(frames[0]).toEqual({ opcode: 10, body: Buffer.from('abc') })
  })

  test('without end, from a peer that reads nothing, make nothing pile up; the last one is answered', async () => {
    await using both = await rawPair()
    const ping = (n: number): Buffer => {
      const body = Buffer.alloc(125)
      body.writeUInt32BE(n)
      return framed(body, { first: PING })
    }
    both.socket.pause()
    // Far more than the operating system holds of the answers.
    const count = 60_000
    for (let n = 0; n < count; n += 1000) {
      both.socket.write(Buffer.concat(Array.from({ length: 1000 }, (_, i) => ping(n + i))))
      await turns(1)
    }
    both.socket.write(framed(pattern(9)))
    await both.channel.framesArrived(1)
    expect(both.channel.channel.bufferedBytes).toBeLessThan(1000)
    let bytes = 0
    const last = Buffer.from([0x8a, 125, 0, 0, 0, 0])
    last.writeUInt32BE(count - 1, 2)
    for await (const chunk of both.socket as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (chunk.includes(last)) break
    }
    expect(bytes).toBeLessThan(count * 127)
  })
})

describe('memory before a peer is known', () => {
  test('of 4 KiB sent in pieces of one byte stays small', async () => {
    await using both = await rawPair()
    const frame = framed(pattern(4096))
    const before = process.memoryUsage()
    for (const byte of frame.subarray(0, -1)) {
      both.socket.write(Uint8Array.of(byte))
      await turns(1)
    }
    await turns()
    const after = process.memoryUsage()
    // Pieces kept one by one would be 4,100 buffers.
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(512 * 1024)
    both.socket.write(frame.subarray(-1))
    await both.channel.framesArrived(1)
    expect(Buffer.compare(both.channel.frames[0]!, pattern(4096))).toBe(0)
  })
})
