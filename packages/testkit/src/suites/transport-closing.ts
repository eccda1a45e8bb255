/** Transport suite: channels end in order, once, and tell why. */
import { expect, test } from 'vitest'
import { UnderstudyError } from '@understudy/contracts'
import {
  expectFrames,
  fillUntilRefused,
  numberedFrame,
  PIECE_BYTES,
  type TransportBench,
} from './transport-bench.ts'
import type { ChannelProbe } from './channel-probe.ts'

export function closingTests(bench: TransportBench): void {
  test('close delivers what was sent before, then ends both sides without an error', async () => {
    const { client, server } = await bench.pair()
    // More than any window: the sender still holds most of it when it closes.
    const sent = Array.from({ length: 100 }, (_, index) => numberedFrame(index, 40_000 + index))
    for (const frame of sent) client.channel.send([frame])
    client.channel.close()
    expect(await server.untilClosed()).toBeUndefined()
    expect(await client.untilClosed()).toBeUndefined()
    expectFrames(server.frames, sent)
  })

  test('the side that accepted can close in the same way', async () => {
    const { client, server } = await bench.pair()
    server.channel.send([numberedFrame(1, 70_000)])
    server.channel.close()
    expect(await client.untilClosed()).toBeUndefined()
    expect(await server.untilClosed()).toBeUndefined()
    expectFrames(client.frames, [numberedFrame(1, 70_000)])
  })

  test('close in the midst of traffic both ways: what was sent before arrives whole, what the peer sent arrives up to somewhere', async () => {
    const { client, server } = await bench.pair({
      server: { frame: (bytes, probe) => void probe.channel.send([bytes]) },
    })
    const sent = Array.from({ length: 60 }, (_, index) => numberedFrame(index, 50_000 + index))
    for (const frame of sent.slice(0, 30)) client.channel.send([frame])
    await client.untilFrames(1)
    for (const frame of sent.slice(30)) client.channel.send([frame])
    client.channel.close()
    expect(await server.untilClosed()).toBeUndefined()
    expect(await client.untilClosed()).toBeUndefined()
    expectFrames(server.frames, sent)
    expectFrames(client.frames, sent.slice(0, client.frames.length))
  })

  test('after close, send returns false and drops the frame, and close again has no effect', async () => {
    const { client, server } = await bench.pair()
    client.channel.send([Uint8Array.of(1)])
    client.channel.close()
    expect(client.channel.send([Uint8Array.of(2)])).toBe(false)
    client.channel.close(new UnderstudyError('PEER_SILENT', 'Too late to matter.'))
    await server.untilClosed()
    expect(await client.untilClosed()).toBeUndefined()
    expect(client.channel.send([Uint8Array.of(3)])).toBe(false)
    expectFrames(server.frames, [Uint8Array.of(1)])
    server.channel.close()
  })

  test('close is not answered from within: closed comes later', async () => {
    const { client } = await bench.pair()
    client.channel.close()
    expect(client.end).toBeUndefined()
    await client.untilClosed()
  })

  test('the error given to close is what closed tells this side', async () => {
    const { client, server } = await bench.pair()
    client.channel.close(new UnderstudyError('PEER_SILENT', 'The peer sent nothing.'))
    expect(await client.untilClosed()).toMatchObject({ code: 'PEER_SILENT' })
    await server.untilClosed()
  })

  test('both sides may close at once', async () => {
    const { client, server } = await bench.pair()
    client.channel.close()
    server.channel.close()
    await Promise.all([client.untilClosed(), server.untilClosed()])
  })

  test('a channel that is closed within a frame delivers no further frame', async () => {
    const { client, server } = await bench.pair({
      server: { frame: (_bytes, probe) => probe.channel.close() },
    })
    for (let index = 0; index < 10; index++) client.channel.send([Uint8Array.of(index)])
    await Promise.all([server.untilClosed(), client.untilClosed()])
    expect(server.frames).toHaveLength(1)
  })

  test('frames for a paused receiver outlast the close of their sender', async () => {
    const { client, server } = await bench.pair({ accepted: (channel) => channel.pause() })
    const sent = Array.from({ length: 10 }, (_, index) => numberedFrame(index, 1000))
    for (const frame of sent) client.channel.send([frame])
    client.channel.close()
    await client.untilClosed()
    expect(server.frames).toEqual([])
    server.channel.resume()
    expect(await server.untilClosed()).toBeUndefined()
    expectFrames(server.frames, sent)
  })

  test('close ends soon, too, when the peer takes nothing; the peer gets whole frames in order or none', async () => {
    const { client, server } = await bench.pair({ accepted: (channel) => channel.pause() })
    const sent = await fillUntilRefused(client)
    client.channel.close()
    await client.untilClosed()
    server.channel.resume()
    await server.untilClosed()
    expect(server.frames.length).toBeLessThanOrEqual(sent)
    expectFrames(
      server.frames,
      Array.from({ length: server.frames.length }, (_, index) => numberedFrame(index, PIECE_BYTES)),
    )
  })

  test('a throw in the frame handler closes the channel with that error, and ends delivery', async () => {
    const fail = (bytes: Uint8Array): void => {
      if (bytes[0] === 2) throw new UnderstudyError('PROTOCOL_VIOLATION', 'This frame is no message.')
    }
    const { client, server } = await bench.pair({ server: { frame: fail } })
    for (const number of [1, 2, 3]) client.channel.send([Uint8Array.of(number)])
    expect(await server.untilClosed()).toMatchObject({ code: 'PROTOCOL_VIOLATION' })
    await client.untilClosed()
    expectFrames(server.frames, [Uint8Array.of(1), Uint8Array.of(2)])
  })

  test('a throw that is no UnderstudyError closes the channel with one that has it as cause', async () => {
    const cause = new TypeError('a bug')
    const fail = (): void => {
      throw cause
    }
    const { client, server } = await bench.pair({ server: { frame: fail } })
    client.channel.send([Uint8Array.of(1)])
    expect(await server.untilClosed()).toMatchObject({ isUnderstudyError: true, cause })
    await client.untilClosed()
  })

  test('one channel that ends leaves the others of its listener alone', async () => {
    const servers: ChannelProbe[] = []
    const listener = await bench.listen((channel) => servers.push(bench.probe(channel)))
    const clients: ChannelProbe[] = []
    for (let index = 0; index < 3; index++) {
      clients.push(bench.probe(await bench.under.transport.connect(listener.address)))
      clients[index]?.channel.send([Uint8Array.of(index)])
    }
    clients[1]?.channel.close()
    await clients[1]?.untilClosed()
    for (const index of [0, 2]) clients[index]?.channel.send([Uint8Array.of(index)])
    const marked = (number: number): ChannelProbe | undefined =>
      servers.find((server) => server.frames[0]?.[0] === number)
    await bench.roundTrips(2)
    await Promise.all([0, 2].map(async (index) => marked(index)?.untilFrames(2)))
    expect([0, 2].map((index) => marked(index)?.frames.length)).toEqual([2, 2])
  })
}
