/** Transport suite: connections come about, or fail with a reason. */
import { expect, test } from 'vitest'
import { expectFrames, turns, type TransportBench } from './transport-bench.ts'
import type { ChannelProbe } from './channel-probe.ts'

export function connectingTests(bench: TransportBench): void {
  test('the address of a listener is one to connect to, of a scheme that the transport names', async () => {
    const { client, server, listener } = await bench.pair()
    const scheme = listener.address.slice(0, listener.address.indexOf(':'))
    expect(bench.under.transport.schemes).toContain(scheme)
    expect(client.channel.remote).not.toBe('')
    expect(server.channel.remote).not.toBe('')
  })

  test('nobody listening is CONNECT_FAILED', async () => {
    await expect(bench.under.transport.connect(bench.under.deadAddress)).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
    })
  })

  test.for(['', 'nonsense', 'no-such-scheme://127.0.0.1:1', '://', 'http://'])(
    'the address "%s" is ADDRESS_INVALID, to connect and to listen',
    async (address) => {
      const { transport } = bench.under
      await expect(transport.connect(address)).rejects.toMatchObject({ code: 'ADDRESS_INVALID' })
      await expect(transport.listen(address, () => undefined)).rejects.toMatchObject({
        code: 'ADDRESS_INVALID',
      })
    },
  )

  test('a signal that is aborted already, or aborts at once, rejects with ABORTED', async () => {
    const listener = await bench.listen((channel) => bench.probe(channel))
    const { transport } = bench.under
    await expect(transport.connect(listener.address, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORTED',
    })
    const controller = new AbortController()
    const connecting = transport.connect(listener.address, { signal: controller.signal })
    controller.abort()
    await expect(connecting).rejects.toMatchObject({ code: 'ABORTED' })
  })

  test('a signal that aborts after the connection was made does not touch it', async () => {
    const accepted = Promise.withResolvers<ChannelProbe>()
    const listener = await bench.listen((channel) => accepted.resolve(bench.probe(channel)))
    const controller = new AbortController()
    const client = bench.probe(
      await bench.under.transport.connect(listener.address, { signal: controller.signal }),
    )
    controller.abort()
    client.channel.send([Uint8Array.of(1)])
    const server = await accepted.promise
    await server.untilFramesOrEnd(1)
    expectFrames(server.frames, [Uint8Array.of(1)])
    expect(client.end).toBeUndefined()
  })

  test('a signal that aborts at any stage leaves either no channel, or one that it does not touch', async () => {
    const servers: ChannelProbe[] = []
    const echo = (bytes: Uint8Array, probe: ChannelProbe): void => void probe.channel.send([bytes])
    const listener = await bench.listen((channel) => servers.push(bench.probe(channel, { frame: echo })))
    const opened: ChannelProbe[] = []
    for (let stage = 0; stage < 16; stage++) {
      const controller = new AbortController()
      const connecting = bench.under.transport
        .connect(listener.address, { signal: controller.signal })
        .then((channel) => opened.push(bench.probe(channel)))
      await turns(stage)
      controller.abort()
      await connecting.catch((error: unknown) => expect(error).toMatchObject({ code: 'ABORTED' }))
    }
    for (const client of opened) {
      client.channel.send([Uint8Array.of(1)])
      await client.untilFramesOrEnd(1)
      expectFrames(client.frames, [Uint8Array.of(1)])
      client.channel.close()
    }
    // Also those whose dialler went away in the midst.
    await bench.roundTrips(1)
    await Promise.all(servers.map((server) => server.untilClosed()))
  })

  test('an address that does not answer is TIMEOUT, or ABORTED when that comes first', async (context) => {
    const { silentAddress, transport } = bench.under
    if (silentAddress === undefined) {
      context.skip()
      return
    }
    await expect(transport.connect(silentAddress, { timeoutMs: 50 })).rejects.toMatchObject({
      code: 'TIMEOUT',
    })
    const controller = new AbortController()
    const connecting = transport.connect(silentAddress, { timeoutMs: 20_000, signal: controller.signal })
    setImmediate(() => controller.abort())
    await expect(connecting).rejects.toMatchObject({ code: 'ABORTED' })
  })

  test('what the listener sends at once is not lost to a dialler that starts a little later', async () => {
    const listener = await bench.listen((channel) => {
      bench.probe(channel).channel.send([Uint8Array.of(1)])
    })
    const client = bench.probe(await bench.under.transport.connect(listener.address))
    await client.untilFrames(1)
  })

  test('a closed listener accepts nobody and closes what it accepted', async () => {
    const { client, server, listener } = await bench.pair()
    await listener.close()
    await listener.close()
    await expect(bench.under.transport.connect(listener.address)).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
    })
    await Promise.all([client.untilClosed(), server.untilClosed()])
  })

  test('an address can be listened at again after its listener closed, and not before', async () => {
    const { transport } = bench.under
    const first = await bench.listen((channel) => bench.probe(channel))
    await expect(transport.listen(first.address, () => undefined)).rejects.toMatchObject({
      isUnderstudyError: true,
    })
    await first.close()
    const second = await transport.listen(first.address, (channel) => bench.probe(channel))
    expect(second.address).toBe(first.address)
    bench.probe(await transport.connect(second.address))
    await second.close()
  })
}
