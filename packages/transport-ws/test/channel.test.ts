import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { UnderstudyError } from '@understudy/contracts'
import { channelOverSocketTests } from '@understudy/testkit/suites/channel-over-socket'
import { closingOf, framed, framesUntilEnd, pair, pattern, rawPair, turns } from './peers.ts'

channelOverSocketTests({ pair, rawPair, framed, turnBytes: 6200, cuts: [1, 2, 3, 6, 100, 105, 107] })

describe('the end', () => {
  test('the limit can be raised while the channel lives', async () => {
    await using both = await rawPair()
    both.channel.onFrame = () => {
      both.channel.channel.frameBytesMax = 100_000
    }
    both.socket.write(
      Buffer.concat([framed(pattern(4096)), framed(pattern(100_000)), framed(pattern(100_001))]),
    )
    both.socket.resume()
    both.socket.once('end', () => both.socket.end())
    await both.channel.closed()
    expect(both.channel.frames.map((frame) => frame.length)).toEqual([4096, 100_000])
    expect(both.channel.error?.code).toBe('FRAME_TOO_LARGE')
  })

  test('a limit raised during a pause holds for what came before it was raised', async () => {
    await using both = await rawPair()
    both.channel.onFrame = () => both.channel.channel.pause()
    both.socket.write(Buffer.concat([framed(pattern(10)), framed(pattern(10_000))]))
    await both.channel.framesArrived(1)
    await turns()
    both.channel.channel.frameBytesMax = 10_000
    both.channel.channel.resume()
    await both.channel.framesArrived(2)
    expect(both.channel.frames[1]?.length).toBe(10_000)
  })

  test('without a closing frame, inside a frame or not, is CONNECTION_LOST, and whole frames before count', async () => {
    for (const cut of [0, 1, 4, 50]) {
      await using both = await rawPair()
      both.socket.end(Buffer.concat([framed(pattern(10)), framed(pattern(100)).subarray(0, cut)]))
      await both.channel.closed()
      expect(both.channel.frames.length).toBe(1)
      expect(both.channel.error).toMatchObject({
        code: 'CONNECTION_LOST',
        message: expect.stringContaining(cut === 0 ? 'without a word' : 'inside a frame') as string,
      })
    }
  })

  test('a reset of a paused channel loses nothing that this process has read, and is told after it', async () => {
    await using both = await rawPair({}, { frameBytesMax: 1_000_000 })
    both.channel.onFrame = () => {
      if (both.channel.frames.length === 1) both.channel.channel.pause()
    }
    both.socket.write(
      Buffer.concat([framed(pattern(10)), framed(pattern(20)), framed(pattern(30)).subarray(0, 9)]),
    )
    await both.channel.framesArrived(1)
    // Read after the pause, as the operating system has more to give.
    both.socket.write(
      Buffer.concat([
        framed(pattern(30)).subarray(9),
        framed(pattern(40)),
        framed(pattern(50)).subarray(0, 20),
      ]),
    )
    await turns()
    both.socket.resetAndDestroy()
    while (both.channel.channel.send([pattern(1)])) await turns(1)
    expect([both.channel.frames.length, both.channel.closes, both.channel.channel.bufferedBytes]).toEqual([
      1, 0, 0,
    ])
    both.channel.channel.resume()
    await both.channel.closed()
    expect(both.channel.error).toMatchObject({
      code: 'CONNECTION_LOST',
      details: { systemCode: 'ECONNRESET' },
    })
    expect(both.channel.frames.map((frame) => frame.length)).toEqual([10, 20, 30, 40])
  })

  test.each([
    [1000, undefined],
    [1001, undefined],
    [1011, 'status 1011'],
    [1009, 'status 1009 (FRAME_TOO_LARGE)'],
  ])('a closing frame with status %i is answered and told', async (status, told) => {
    await using both = await rawPair()
    const body = Buffer.concat([
      Buffer.alloc(2),
      Buffer.from(status === 1009 ? 'FRAME_TOO_LARGE' : 'some <b>text</b>'),
    ])
    body.writeUInt16BE(status)
    both.channel.channel.send([pattern(5)])
    both.socket.write(framed(body, { first: 0x88 }))
    const frames = await framesUntilEnd(both.socket)
    both.socket.end()
    await both.channel.closed()
    expect(closingOf(frames)?.startsWith(String(status))).toBe(true)
    if (told === undefined) expect(both.channel.error).toBeUndefined()
    else {
      expect(both.channel.error).toMatchObject({
        code: 'CONNECTION_LOST',
        message: expect.stringContaining(told) as string,
      })
      // Not what the peer wrote.
      expect(both.channel.error?.message).not.toContain('<b>')
    }
  })

  test.each([
    [undefined, '1000'],
    [new UnderstudyError('PEER_SILENT', 'Private words.'), '1008 PEER_SILENT'],
  ])('close sends a closing frame that tells the code of the error, no more: %#', async (error, told) => {
    await using both = await rawPair()
    both.channel.channel.send([pattern(5)])
    both.channel.channel.close(error)
    const closing = once(both.socket, 'end')
    const frames: Buffer[] = []
    both.socket.on('data', (chunk) => {
      frames.push(chunk)
      // The answer to the closing frame, after which this side ends too.
      if (Buffer.concat(frames).includes(0x88))
        both.socket.write(framed(Uint8Array.of(3, 232), { first: 0x88 }))
    })
    await closing
    await both.channel.closed()
    expect(both.channel.error).toBe(error)
    const text = Buffer.concat(frames).subarray(7)
    expect(`${text.readUInt16BE(2)} ${text.toString('latin1', 4)}`.trim()).toBe(told)
  })

  test('after close whatever the peer still sends is read over, a frame above the limit too', async () => {
    await using both = await rawPair()
    const gone = both.channel.closed()
    both.channel.channel.close()
    const end = once(both.socket, 'end')
    both.socket.resume()
    both.socket.write(
      Buffer.concat([
        framed(pattern(100)),
        framed(pattern(100_000)),
        framed(Uint8Array.of(3, 232), { first: 0x88 }),
      ]),
    )
    await end
    both.socket.end()
    await gone
    expect(both.channel.error).toBeUndefined()
    expect(both.channel.frames).toEqual([])
  })

  test('both may close at once', async () => {
    await using both = await pair()
    both.dialler.channel.close()
    both.acceptor.channel.close()
    await Promise.all([both.dialler.closed(), both.acceptor.closed()])
    expect([both.dialler.error, both.acceptor.error]).toEqual([undefined, undefined])
  })
})
