import { Duplex } from 'node:stream'
import type { Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { SimulatedClock } from '@understudy/testkit'
import { TcpChannel } from '../src/channel.ts'
import { FrameWriter, SlabPool } from '../src/frame-writer.ts'
import { framed, pattern } from './peers.ts'

describe('a batch', () => {
  test('is every frame in order, wherever the slabs end', () => {
    const pool = new SlabPool()
    for (let first = 0; first < 6; first++) {
      const writer = new FrameWriter(pool)
      const frames = [pattern(first), ...Array.from({ length: 14_000 }, (_, i) => pattern(1, i))]
      for (const frame of frames) writer.add([frame], frame.length)
      expect(Buffer.compare(Buffer.concat(writer.take().buffers), Buffer.concat(frames.map(framed)))).toBe(0)
    }
    for (let size = 4080; size <= 4100; size++) {
      const writer = new FrameWriter(pool)
      const frames = Array.from({ length: 40 }, (_, i) => pattern(size, i))
      for (const frame of frames) writer.add([frame.subarray(0, 1), frame.subarray(1)], size)
      const batch = writer.take()
      expect(batch.bytes).toBe(40 * (size + 4))
      expect(Buffer.compare(Buffer.concat(batch.buffers), Buffer.concat(frames.map(framed)))).toBe(0)
      expect(writer.bytes).toBe(0)
    }
  })

  test('copies small parts together and passes large ones on', () => {
    const writer = new FrameWriter(new SlabPool())
    const large = pattern(5000)
    for (let i = 0; i < 10; i++) writer.add([pattern(9)], 9)
    writer.add([pattern(9), large, pattern(3)], 5012)
    const { buffers } = writer.take()
    expect(buffers.map((buffer) => buffer.length)).toEqual([143, 5000, 3])
    expect(buffers[1]).toBe(large)
  })

  test('does not share its slabs with the next one until they are recycled', () => {
    const pool = new SlabPool()
    const writer = new FrameWriter(pool)
    writer.add([pattern(100)], 100)
    const first = writer.take()
    writer.add([pattern(100, 1)], 100)
    const second = writer.take()
    expect(second.slabs[0]).not.toBe(first.slabs[0])
    expect(Buffer.concat(first.buffers)).toEqual(framed(pattern(100)))
    pool.recycle(first)
    writer.add([pattern(100, 2)], 100)
    expect(writer.take().slabs[0]).toBe(first.slabs[0])
  })
})

test('the buffers of one turn reach the socket in one write', async () => {
  const writes: number[] = []
  const written = Promise.withResolvers<void>()
  const socket = new Duplex({
    read() {},
    write(chunk: Uint8Array, _encoding, callback) {
      writes.push(chunk.length)
      callback()
      written.resolve()
    },
    writev(chunks: readonly { chunk: Uint8Array }[], callback) {
      writes.push(chunks.reduce((sum, { chunk }) => sum + chunk.length, 0))
      callback()
      written.resolve()
    },
  })
  const channel = new TcpChannel(socket as Socket, {
    remote: 'tcp://127.0.0.1:1',
    frameBytesMax: 1000,
    frameMs: 1000,
    highBytes: 1_000_000,
    lowBytes: 1,
    clock: new SimulatedClock(),
    pool: new SlabPool(),
  })
  for (let i = 0; i < 5; i++) channel.send([pattern(9), pattern(20_000)])
  expect(writes).toEqual([])
  await written.promise
  expect(writes).toEqual([5 * 20_013])
})
