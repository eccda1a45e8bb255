import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { systemClock } from '@understudy/contracts'
import { channelOverSocketTests } from '@understudy/testkit/suites/channel-over-socket'
import { framed, pair, pattern, rawPair } from './peers.ts'

channelOverSocketTests({ pair, rawPair, framed, turnBytes: 6400, cuts: [1, 3, 4, 5, 100, 103] })

describe('the end', () => {
  test('garbage is refused as a frame over the limit, without memory for it', async () => {
    await using both = await rawPair()
    both.socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await both.channel.closed()
    expect(both.channel.error).toMatchObject({ code: 'FRAME_TOO_LARGE', details: { frameBytesMax: 4096 } })
    expect(both.channel.frames).toEqual([])
  })

  test('the limit can be raised while the channel lives', async () => {
    await using both = await rawPair()
    both.channel.onFrame = () => {
      both.channel.channel.frameBytesMax = 100_000
    }
    both.socket.write(
      Buffer.concat([framed(pattern(4096)), framed(pattern(100_000)), framed(pattern(100_001))]),
    )
    await both.channel.closed()
    expect(both.channel.frames.map((frame) => frame.length)).toEqual([4096, 100_000])
    expect(both.channel.error?.code).toBe('FRAME_TOO_LARGE')
  })

  test('a peer that ends inside a frame is CONNECTION_LOST, and whole frames before count', async () => {
    for (const cut of [1, 4, 50]) {
      await using both = await rawPair()
      both.socket.end(Buffer.concat([framed(pattern(10)), framed(pattern(100)).subarray(0, cut)]))
      await both.channel.closed()
      expect(both.channel.frames.length).toBe(1)
      expect(both.channel.error?.code).toBe('CONNECTION_LOST')
    }
  })

  test('a peer that closes only its sending half still gets what was sent, then the end', async () => {
    await using both = await rawPair()
    const received: Buffer[] = []
    both.socket.on('data', (chunk) => received.push(chunk))
    both.channel.onFrame = () => both.channel.channel.send([pattern(50_000)])
    both.socket.end(framed(pattern(1)))
    await once(both.socket, 'end')
    expect(Buffer.concat(received)).toEqual(framed(pattern(50_000)))
    await both.channel.closed()
    expect(both.channel.error).toBeUndefined()
  })

  test('close does not wait longer than its time for a peer that takes nothing', async () => {
    const scheduled: { delayMs: number; run: () => void }[] = []
    const clock = {
      ...systemClock(),
      schedule(delayMs: number, run: () => void) {
        scheduled.push({ delayMs, run })
        return { cancel: () => {} }
      },
    }
    await using both = await rawPair({ clock })
    both.socket.pause()
    for (let i = 0; i < 400; i++) both.channel.channel.send([pattern(64 * 1024)])
    both.channel.channel.close()
    expect(scheduled.map((timer) => timer.delayMs)).toEqual([1000])
    expect(both.channel.closes).toBe(0)
    scheduled[0]?.run()
    await both.channel.closed()
    expect(both.channel.error).toMatchObject({ code: 'CONNECTION_LOST' })
  })
})
