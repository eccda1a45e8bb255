/** Transport suite: a slow receiver slows the sender, and a paused one loses nothing. */
import { expect, test } from 'vitest'
import {
  expectFrames,
  fillUntilRefused,
  numberedFrame,
  PIECE_BYTES,
  type TransportBench,
} from './transport-bench.ts'
import type { ChannelProbe } from './channel-probe.ts'

export function pressureTests(bench: TransportBench): void {
  test('a receiver that is paused makes send return false; after it resumes, drained comes and all frames arrive', async () => {
    const { client, server } = await bench.pair({ accepted: (channel) => channel.pause() })
    const sent = await fillUntilRefused(client)
    expect(client.channel.bufferedBytes).toBeGreaterThan(0)
    const buffered = client.channel.bufferedBytes
    await bench.roundTrips(3)
    expect(client.drainedCount).toBe(0)
    server.channel.resume()
    await client.until(() => client.drainedCount > 0)
    expect(client.drainedCount).toBe(1)
    expect(client.channel.bufferedBytes).toBeLessThan(buffered)
    await server.untilFrames(sent)
    expectFrames(
      server.frames,
      Array.from({ length: sent }, (_, index) => numberedFrame(index, PIECE_BYTES)),
    )
  })

  test('drained comes once for each time send was refused, and never without', async () => {
    const { client, server } = await bench.pair({ accepted: (channel) => channel.pause() })
    client.channel.send([numberedFrame(0, 10)])
    let sent = 1
    for (let round = 1; round <= 3; round++) {
      server.channel.pause()
      sent += await fillUntilRefused(client)
      // Refused again: still one `drained` to come.
      client.channel.send([numberedFrame(0, PIECE_BYTES)])
      sent += 1
      expect(client.drainedCount).toBe(round - 1)
      server.channel.resume()
      await server.untilFrames(sent)
      await client.until(() => client.drainedCount >= round)
      expect(client.drainedCount).toBe(round)
    }
    await bench.roundTrips(3)
    expect(client.drainedCount).toBe(3)
    expect(client.channel.bufferedBytes).toBe(0)
  })

  test('a sender that heeds back-pressure moves 64 MiB through bounded memory', async () => {
    const total = 1024
    let received = 0
    const count = (bytes: Uint8Array, probe: ChannelProbe): void => {
      received += bytes.byteLength
      probe.frames.length = 0
    }
    const { client, server } = await bench.pair({ server: { frame: count } })
    const piece = numberedFrame(1, PIECE_BYTES)
    let highest = 0
    for (let index = 0; index < total; index++) {
      const seen = client.drainedCount
      const free = client.channel.send([piece])
      highest = Math.max(highest, client.channel.bufferedBytes)
      if (!free) await client.until(() => client.drainedCount > seen)
    }
    await server.until(() => received === total * PIECE_BYTES)
    expect(highest).toBeLessThan(24 * 1024 * 1024)
  })

  test('nothing is delivered between pause and resume, in the midst of a piece included', async () => {
    const pauseAtThird = (_bytes: Uint8Array, probe: ChannelProbe): void => {
      if (probe.frames.length % 3 === 0) probe.channel.pause()
    }
    const { client, server } = await bench.pair({ server: { frame: pauseAtThird } })
    const sent = Array.from({ length: 10 }, (_, index) => numberedFrame(index, 20))
    for (const frame of sent) client.channel.send([frame])
    for (const expected of [3, 6, 9]) {
      await server.untilFrames(expected)
      await bench.roundTrips(3)
      expect(server.frames).toHaveLength(expected)
      server.channel.resume()
    }
    await server.untilFrames(10)
    expectFrames(server.frames, sent)
  })

  test('a paused channel can send', async () => {
    const { client, server } = await bench.pair()
    server.channel.pause()
    server.channel.send([Uint8Array.of(1)])
    await client.untilFrames(1)
    server.channel.resume()
  })

  test('pausing or resuming twice counts once', async () => {
    const { client, server } = await bench.pair()
    server.channel.resume()
    server.channel.pause()
    server.channel.pause()
    server.channel.resume()
    client.channel.send([Uint8Array.of(1)])
    await server.untilFrames(1)
    server.channel.resume()
    client.channel.send([Uint8Array.of(2)])
    await server.untilFrames(2)
    expectFrames(server.frames, [Uint8Array.of(1), Uint8Array.of(2)])
  })
}
