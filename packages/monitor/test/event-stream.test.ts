import type { ServerResponse } from 'node:http'
import { Writable } from 'node:stream'
import type { EventStream, StampedEvent } from '@understudy/node'
import { SimulatedClock } from '@understudy/testkit'
import { expect, test } from 'vitest'
import { sendEvents } from '../src/event-stream.ts'

/** A response whose reader takes something only when it is told to. */
class Reader extends Writable {
  text = ''
  #take: (() => void) | undefined

  constructor() {
    super({ highWaterMark: 64 })
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString()
    this.#take = done
  }

  take(): void {
    const take = this.#take
    this.#take = undefined
    take?.()
  }
}

function stream(): EventStream & { tell(event: StampedEvent): void; readonly ended: boolean } {
  const waiting: ((result: IteratorResult<StampedEvent, undefined>) => void)[] = []
  const items: StampedEvent[] = []
  let ended = false
  const over = { done: true, value: undefined } as const
  return {
    tell(event) {
      const next = waiting.shift()
      if (next === undefined) items.push(event)
      else next({ done: false, value: event })
    },
    get ended() {
      return ended
    },
    next() {
      const value = items.shift()
      if (value !== undefined) return Promise.resolve({ done: false, value })
      if (ended) return Promise.resolve(over)
      return new Promise((resolve) => waiting.push(resolve))
    },
    return() {
      ended = true
      for (const next of waiting.splice(0)) next(over)
      return Promise.resolve(over)
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}

function start(): {
  clock: SimulatedClock
  reader: Reader
  events: ReturnType<typeof stream>
  sent: Promise<void>
} {
  const [clock, reader, events] = [new SimulatedClock(), new Reader(), stream()]
  const limits = { clock, beatMs: 1000, stallMs: 5000 }
  return { clock, reader, events, sent: sendEvents(reader as unknown as ServerResponse, events, limits) }
}

const event = (sequence: number): StampedEvent => ({
  sequence,
  at: 0,
  event: { kind: 'listening', address: `a${sequence}` },
})

test('a stream says that it lives while nothing happens', async () => {
  const { clock, reader, events, sent } = start()
  reader.take()
  for (let n = 0; n < 3; n++) {
    await clock.advance(1000)
    reader.take()
  }
  expect(reader.text).toBe('retry: 1000\n\n:\n\n:\n\n:\n\n')
  await events.return?.()
  await sent
})

test('a reader that takes nothing is not written to, and cut off after a time', async () => {
  const { clock, reader, events, sent } = start()
  events.tell(event(1))
  await clock.advance(0)
  events.tell(event(2))
  await clock.advance(4000)
  // What the reader did not take is one frame: the rest waits where it is counted and dropped.
  expect(reader.writableLength).toBeLessThan(200)
  expect(reader.destroyed).toBe(false)
  await clock.advance(1500)
  await sent
  expect(reader.destroyed).toBe(true)
  expect(events.ended).toBe(true)
})

test('a reader that is slow gets everything, in order', async () => {
  const { clock, reader, events, sent } = start()
  for (let n = 1; n <= 5; n++) events.tell(event(n))
  for (let n = 0; n < 20; n++) {
    reader.take()
    await clock.advance(100)
  }
  await events.return?.()
  reader.take()
  await sent
  expect([...reader.text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => id)).toEqual(['1', '2', '3', '4', '5'])
  expect(reader.text).toContain(
    'id: 1\nevent: listening\ndata: {"sequence":1,"at":"1970-01-01T00:00:00.000Z","kind":"listening","address":"a1"}\n\n',
  )
})
