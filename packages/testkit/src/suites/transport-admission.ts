/** Transport suite: a listener holds as many channels as it may, and no more. */
import { expect, test } from 'vitest'
import type { ListenOptions } from '@understudy/contracts'
import type { TransportBench } from './transport-bench.ts'
import type { ChannelProbe } from './channel-probe.ts'

export function admissionTests(bench: TransportBench): void {
  test('one channel more than channelsMax is closed at once; the others go on, and a free place can be taken', async () => {
    await oneTooMany(bench, { channelsMax: 2 })
  })

  test('one channel more from an address than channelsPerAddressMax is closed at once; a free place can be taken', async (context) => {
    if (bench.under.perAddressLimit === false) {
      context.skip()
      return
    }
    await oneTooMany(bench, { channelsMax: 10, channelsPerAddressMax: 2 })
  })

  test('listeners count their channels each for itself', async () => {
    const servers: ChannelProbe[] = []
    for (let index = 0; index < 3; index++) {
      const listener = await bench.listen((channel) => servers.push(bench.probe(channel)), {
        channelsMax: 1,
        channelsPerAddressMax: 1,
      })
      const client = bench.probe(await bench.under.transport.connect(listener.address))
      client.channel.send([Uint8Array.of(index)])
      await bench.until(() => servers.length === index + 1)
      await servers[index]?.untilFrames(1)
      expect(client.end).toBeUndefined()
    }
  })
}

async function oneTooMany(bench: TransportBench, options: ListenOptions): Promise<void> {
  const servers: ChannelProbe[] = []
  const echo = (bytes: Uint8Array, probe: ChannelProbe): void => void probe.channel.send([bytes])
  const listener = await bench.listen(
    (channel) => servers.push(bench.probe(channel, { frame: echo })),
    options,
  )
  const connect = async (): Promise<ChannelProbe> =>
    bench.probe(await bench.under.transport.connect(listener.address))
  const first = await connect()
  const second = await connect()
  for (const client of [first, second]) {
    client.channel.send([Uint8Array.of(7)])
    await client.untilFrames(1)
  }
  const third = await connect().catch(() => undefined)
  third?.channel.send([Uint8Array.of(7)])
  await third?.untilFramesOrEnd(1)
  expect(third?.frames ?? []).toEqual([])
  expect(servers).toHaveLength(2)
  first.channel.send([Uint8Array.of(8)])
  await first.untilFrames(2)

  first.channel.close()
  await servers[0]?.untilClosed()
  const fourth = await connect()
  fourth.channel.send([Uint8Array.of(9)])
  await fourth.untilFrames(1)
}
