/**
 * What every channel over a socket of the operating system must do, shown with the socket itself at one end: when bytes
 * leave, where they may be cut, what a reset is. Beside the suite for transports, which knows nothing of sockets.
 */
import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { UnderstudyError, type ListenOptions } from '@understudy/contracts'
import { pattern, type Pair, type RawPair } from './recorded-channel.ts'

export interface SocketChannels {
  /** Two channels, connected. */
  readonly pair: (options?: { readonly highBytes?: number; readonly lowBytes?: number }) => Promise<Pair>
  /** A bare socket against an accepted channel. */
  readonly rawPair: (options?: undefined, listen?: ListenOptions) => Promise<RawPair>
  /** A frame as it stands on the wire, from the one who dialled. */
  readonly framed: (body: Uint8Array) => Buffer
  /** Bytes that 100 accepted frames of 60 bytes take on the wire. */
  readonly turnBytes: number
  /** Where two frames of the test are cut: in the head, around its end, in the body. */
  readonly cuts: readonly number[]
}

export function channelOverSocketTests(channels: SocketChannels): void {
  const { pair, rawPair, framed, turnBytes, cuts } = channels

  describe('frames', () => {
    test('arrive whole and in order, both ways, of every size', async () => {
      await using both = await pair()
      const sizes = [0, 1, 3, 100, 4095, 4096, 4097, 65_535, 65_536, 65_537, 300_000, 5_000_000, 10, 0]
      const bodies = sizes.map(pattern)
      for (const body of bodies) {
        both.dialler.channel.send([body])
        both.acceptor.channel.send([body.subarray(0, 7), body.subarray(7, 5000), body.subarray(5000)])
      }
      await Promise.all([both.acceptor.framesArrived(sizes.length), both.dialler.framesArrived(sizes.length)])
      for (const [i, body] of bodies.entries()) {
        expect(Buffer.compare(both.acceptor.frames[i] ?? pattern(1), body)).toBe(0)
        expect(Buffer.compare(both.dialler.frames[i] ?? pattern(1), body)).toBe(0)
      }
    })

    test('keep their bytes while later ones arrive', async () => {
      await using both = await pair()
      const count = 3000
      for (let i = 0; i < count; i++) {
        both.dialler.channel.send([pattern(200, i)])
        if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
      await both.acceptor.framesArrived(count)
      for (const [i, frame] of both.acceptor.frames.entries())
        expect(Buffer.compare(frame, pattern(200, i))).toBe(0)
    })

    test('of one turn leave in one write', async () => {
      await using both = await rawPair()
      let reads = 0
      const all = Promise.withResolvers<void>()
      let bytes = 0
      both.socket.on('data', (chunk) => {
        reads++
        bytes += chunk.length
        if (bytes === turnBytes) all.resolve()
      })
      for (let i = 0; i < 100; i++) both.channel.channel.send([pattern(50, i), pattern(10, i)])
      expect(both.channel.channel.bufferedBytes).toBe(turnBytes)
      await all.promise
      expect(reads).toBe(1)
    })

    test('that are flushed leave at once, and the others of their turn at its end', async () => {
      await using both = await rawPair()
      const order: string[] = []
      const arrived = Promise.withResolvers<void>()
      let bytes = 0
      both.socket.on('data', (chunk) => {
        order.push('arrived')
        bytes += chunk.length
        if (bytes === (2 * turnBytes) / 100) arrived.resolve()
      })
      const { channel } = both.channel
      setImmediate(() => {
        channel.send([pattern(60, 1)])
        channel.flush?.()
        channel.send([pattern(60, 2)])
        // In the next turn sockets are read before this, and what was held back leaves only now.
        setImmediate(() => order.push('next turn'))
      })
      await arrived.promise
      expect(order).toEqual(['arrived', 'next turn', 'arrived'])
    })

    test('are delivered before the end when the peer sends and closes at once', async () => {
      await using both = await pair()
      for (let i = 0; i < 500; i++) both.dialler.channel.send([pattern(1000, i)])
      both.dialler.channel.close()
      expect(both.dialler.channel.send([pattern(1)])).toBe(false)
      await both.acceptor.closed()
      expect(both.acceptor.frames.length).toBe(500)
      expect(both.acceptor.error).toBeUndefined()
      await both.dialler.closed()
      expect(both.dialler.error).toBeUndefined()
      expect([both.dialler.closes, both.acceptor.closes]).toEqual([1, 1])
    })

    test.each(cuts)('cut after %i bytes on the socket arrive whole', async (cut) => {
      await using both = await rawPair()
      const stream = Buffer.concat([framed(pattern(99)), framed(pattern(50, 1))])
      both.socket.write(stream.subarray(0, cut))
      // A round trip over the same socket shows that the first piece was taken.
      both.channel.channel.send([pattern(1)])
      await once(both.socket, 'data')
      both.socket.write(stream.subarray(cut))
      await both.channel.framesArrived(2)
      expect(both.channel.frames.map((frame) => Buffer.from(frame))).toEqual([
        Buffer.from(pattern(99)),
        Buffer.from(pattern(50, 1)),
      ])
    })
  })

  describe('flow', () => {
    test('send says stop above the high mark, and drained comes once below the low one', async () => {
      await using both = await pair({ highBytes: 64 * 1024, lowBytes: 16 * 1024 })
      both.acceptor.channel.pause()
      const frame = pattern(32 * 1024)
      // The kernels of both ends take some, but not for ever.
      let sent = 1
      while (both.dialler.channel.send([frame])) {
        sent++
        await new Promise((resolve) => setImmediate(resolve))
      }
      expect(both.dialler.channel.bufferedBytes).toBeGreaterThan(64 * 1024)
      expect(both.dialler.drains).toBe(0)
      both.acceptor.channel.resume()
      await both.acceptor.framesArrived(sent)
      await both.dialler.until(() => both.dialler.drains > 0)
      expect(both.dialler.drains).toBe(1)
      expect(both.dialler.channel.bufferedBytes).toBeLessThan(16 * 1024)
    })

    test.each([
      ['accepted', false],
      ['dialled', true],
    ])('pause inside a frame keeps the rest of the same chunk for later: %s', async (_name, dialled) => {
      await using both = await pair()
      const acceptor = dialled ? both.dialler : both.acceptor
      const dialler = dialled ? both.acceptor : both.dialler
      acceptor.onFrame = () => {
        if (acceptor.frames.length % 10 === 0) acceptor.channel.pause()
      }
      for (let i = 0; i < 35; i++) dialler.channel.send([pattern(20, i)])
      for (const expected of [10, 20, 30]) {
        await acceptor.framesArrived(expected)
        expect(acceptor.frames.length).toBe(expected)
        // Another direction of the same connection still works, and shows that nothing came meanwhile.
        acceptor.channel.send([pattern(1)])
        await dialler.framesArrived(expected / 10)
        expect(acceptor.frames.length).toBe(expected)
        acceptor.channel.resume()
      }
      await acceptor.framesArrived(35)
      expect(acceptor.frames.map((frame) => Buffer.from(frame))).toEqual(
        Array.from({ length: 35 }, (_, i) => Buffer.from(pattern(20, i))),
      )
    })

    test.each([
      ['accepted', false],
      ['dialled', true],
    ])('a paused channel holds the peer back and loses nothing: %s', async (_name, dialled) => {
      await using ends = await pair({ highBytes: 256 * 1024, lowBytes: 64 * 1024 })
      const both = dialled ? { dialler: ends.acceptor, acceptor: ends.dialler } : ends
      both.acceptor.channel.pause()
      const frame = pattern(64 * 1024)
      // More than the kernels of both ends hold.
      for (let i = 0; i < 400; i++) both.dialler.channel.send([frame])
      await new Promise((resolve) => setImmediate(resolve))
      expect(both.dialler.channel.bufferedBytes).toBeGreaterThan(256 * 1024)
      expect(both.acceptor.frames.length).toBe(0)
      both.acceptor.channel.resume()
      await both.acceptor.framesArrived(400)
      expect(both.acceptor.frames.every((received) => Buffer.compare(received, frame) === 0)).toBe(true)
    })

    test.each([
      ['accepted', false],
      ['dialled', true],
    ])('frames behind a pause come before the end of a peer that closed: %s', async (_name, dialled) => {
      await using both = await pair()
      const acceptor = dialled ? both.dialler : both.acceptor
      const dialler = dialled ? both.acceptor : both.dialler
      acceptor.onFrame = () => {
        if (acceptor.frames.length === 1) acceptor.channel.pause()
      }
      for (let i = 0; i < 5; i++) dialler.channel.send([pattern(20, i)])
      dialler.channel.close()
      await dialler.closed()
      expect([acceptor.frames.length, acceptor.closes]).toEqual([1, 0])
      acceptor.channel.resume()
      await acceptor.closed()
      expect(acceptor.frames.length).toBe(5)
      expect(acceptor.error).toBeUndefined()
    })

    test('close drops frames behind a pause', async () => {
      await using both = await pair()
      const { acceptor, dialler } = both
      acceptor.onFrame = () => acceptor.channel.pause()
      for (let i = 0; i < 5; i++) dialler.channel.send([pattern(20, i)])
      dialler.channel.close()
      await dialler.closed()
      acceptor.channel.close()
      await acceptor.closed()
      expect([acceptor.frames.length, acceptor.closes]).toEqual([1, 1])
    })
  })

  describe('an end', () => {
    test('a reset inside a frame is CONNECTION_LOST with the system code', async () => {
      await using both = await rawPair()
      both.socket.write(Buffer.concat([framed(pattern(10)), framed(pattern(100)).subarray(0, 50)]))
      await both.channel.framesArrived(1)
      both.socket.resetAndDestroy()
      await both.channel.closed()
      expect(both.channel.error).toMatchObject({
        code: 'CONNECTION_LOST',
        details: { systemCode: 'ECONNRESET' },
      })
    })

    test('what was sent just before close reaches a peer that goes on sending', async () => {
      await using both = await pair()
      const last = new UnderstudyError('PROTOCOL_VIOLATION', 'test')
      both.acceptor.onFrame = () => {
        if (both.acceptor.frames.length > 1) return
        both.acceptor.channel.send([pattern(10)])
        both.acceptor.channel.close(last)
      }
      for (let i = 0; i < 200; i++) both.dialler.channel.send([pattern(60_000)])
      await both.dialler.closed()
      expect(both.dialler.frames.length).toBe(1)
      await both.acceptor.closed()
      expect(both.acceptor.error).toBe(last)
      expect(both.acceptor.frames.length).toBe(1)
    })

    test('a handler that throws closes the channel with its error, and gets nothing more', async () => {
      await using both = await pair()
      const thrown = new UnderstudyError('PROTOCOL_VIOLATION', 'test')
      both.acceptor.onFrame = () => {
        throw thrown
      }
      for (let i = 0; i < 3; i++) both.dialler.channel.send([pattern(10)])
      await both.acceptor.closed()
      expect(both.acceptor.error).toBe(thrown)
      expect(both.acceptor.frames.length).toBe(1)
    })

    test('a bug in a handler is CONNECTION_LOST with the cause', async () => {
      await using both = await pair()
      const bug = new TypeError('test')
      both.acceptor.onFrame = () => {
        throw bug
      }
      both.dialler.channel.send([pattern(10)])
      await both.acceptor.closed()
      expect(both.acceptor.error).toMatchObject({ code: 'CONNECTION_LOST', cause: bug })
    })
  })
}
