/**
 * Events of a node as Server-Sent Events: `id` is the sequence number, `event` the kind, `data` all of it as JSON.
 *
 * 1. A reader that takes nothing holds up nobody: events wait in the node's own bounded buffer, which says what it dropped; one that takes nothing for
 *    `stallMs` is cut off.
 * 2. A comment goes out in every `beatMs`, so that both ends notice when the other is gone.
 */
import type { ServerResponse } from 'node:http'
import type { Clock, Timer } from '@understudy/contracts'
import type { EventStream, StampedEvent } from '@understudy/node'
import { toJson } from './json.ts'

export interface EventStreamLimits {
  readonly clock: Clock
  readonly beatMs: number
  readonly stallMs: number
}

/** Sends what comes until the stream or the connection ends. Never rejects. */
export async function sendEvents(
  response: ServerResponse,
  events: EventStream,
  { clock, beatMs, stallMs }: EventStreamLimits,
): Promise<void> {
  let beat: Timer | undefined
  const beats = (): void => {
    beat = clock.schedule(beatMs, () => {
      // Behind what waits already it would only grow the buffer.
      if (!response.writableNeedDrain) response.write(':\n\n')
      beats()
    })
  }
  response.once('close', () => void events.return?.())
  response.write('retry: 1000\n\n')
  beats()
  try {
    for await (const event of events) {
      if (!response.write(frameOf(event))) await drained(response, clock, stallMs)
    }
  } finally {
    beat?.cancel()
    response.end()
  }
}

function frameOf({ sequence, at, event }: StampedEvent): string {
  const data = toJson({ sequence, at: new Date(at).toISOString(), ...event })
  return `id: ${sequence}\nevent: ${event.kind}\ndata: ${data}\n\n`
}

/** Until the reader takes more, or is gone; one that does neither in time is cut off. */
function drained(response: ServerResponse, clock: Clock, stallMs: number): Promise<void> {
  return new Promise((resolve) => {
    const stalled = clock.schedule(stallMs, () => response.destroy())
    const done = (): void => {
      stalled.cancel()
      response.off('drain', done).off('close', done)
      resolve()
    }
    if (response.destroyed) return done()
    response.once('drain', done).once('close', done)
  })
}
