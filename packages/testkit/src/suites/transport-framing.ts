/** Transport suite: frames arrive whole, in order, unchanged. */
import { test } from 'vitest'
import { SeededRandom } from '../random.ts'
import { expectFrames, numberedFrame, type TransportBench } from './transport-bench.ts'

const MIB = 1024 * 1024
const SIZES = [
  0,
  1,
  2,
  3,
  4,
  5,
  0,
  0,
  125,
  126,
  127,
  128,
  255,
  256,
  4095,
  4096,
  4097,
  16_383,
  65_535,
  65_536,
  65_537,
  300_001,
  MIB - 1,
  MIB,
  0,
  1,
]

export function framingTests(bench: TransportBench): void {
  test('frames of every size arrive in order and unchanged, in both directions at once', async () => {
    const { client, server } = await bench.pair()
    const there = SIZES.map((size, index) => numberedFrame(index, size))
    const back = SIZES.toReversed().map((size, index) => numberedFrame(index + 100, size))
    await Promise.all([client.sendAll(there), server.sendAll(back)])
    await Promise.all([server.untilFrames(there.length), client.untilFrames(back.length)])
    expectFrames(server.frames, there)
    expectFrames(client.frames, back)
  })

  test('the parts of a frame arrive as one frame, empty parts and views included', async () => {
    const { client, server } = await bench.pair()
    const random = new SeededRandom('parts')
    const sent: Uint8Array[] = []
    for (let index = 0; index < 200; index++) {
      const whole = numberedFrame(index, random.below(3000))
      const parts: Uint8Array[] = []
      for (let from = 0; from < whole.byteLength || parts.length === 0;) {
        const upTo = from + random.below(whole.byteLength - from + 1)
        parts.push(whole.subarray(from, upTo))
        from = upTo
      }
      client.channel.send(parts)
      sent.push(whole)
    }
    client.channel.send([])
    sent.push(new Uint8Array(0))
    await server.untilFrames(sent.length)
    expectFrames(server.frames, sent)
  })

  test('20,000 small messages of one turn of the event loop arrive in order', async () => {
    const { client, server } = await bench.pair()
    const sent = Array.from({ length: 20_000 }, (_, index) => numberedFrame(index, index % 40))
    for (const frame of sent) client.channel.send([frame])
    await server.untilFrames(sent.length)
    expectFrames(server.frames, sent)
  })

  test('frames belong to the handler: later ones do not change earlier ones', async () => {
    const { client, server } = await bench.pair()
    for (let round = 0; round < 20; round++) {
      for (let index = 0; index < 20; index++) client.channel.send([numberedFrame(round * 20 + index, 5000)])
      await server.untilFrames((round + 1) * 20)
    }
    expectFrames(
      server.frames,
      Array.from({ length: 400 }, (_, index) => numberedFrame(index, 5000)),
    )
  })

  test('a handler may send from within a frame', async () => {
    const { client } = await bench.pair({
      server: { frame: (bytes, probe) => void probe.channel.send([bytes, bytes]) },
    })
    for (let index = 0; index < 100; index++) client.channel.send([Uint8Array.of(index)])
    await client.untilFrames(100)
    expectFrames(
      client.frames,
      Array.from({ length: 100 }, (_, index) => Uint8Array.of(index, index)),
    )
  })
}
