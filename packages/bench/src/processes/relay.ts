/**
 * The process that makes a network slow: it hands on what comes, in both directions, after a time.
 *
 * Decides: when a byte goes on. Leaves to others: what the bytes are.
 *
 * 1. Timers of Node count whole milliseconds and fire late. While bytes wait, this process sleeps on its own in steps of
 *    `STEP_MS` and looks at its sockets in between: so no byte goes on before its time, and few much after it. It says how late
 *    they were.
 * 2. Its memory holds what is under way, as a long line would: what a sender may have under way is limited by itself.
 */
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { performance } from 'node:perf_hooks'
import { DelayLine } from '../acks/delay-line.ts'
import { latencyHistogram, latencyOf, type Latency } from './load.ts'
import { cpuSeconds } from './processor-time.ts'
import { serve } from './serve.ts'

const STEP_MS = 0.1
/** Bytes that the receiving side's system did not take, above which the sender is read no more. */
const UNTAKEN_BYTES_MAX = 8 * 1024 * 1024

interface Direction {
  readonly line: DelayLine<Uint8Array | 'end'>
  readonly to: Socket
}

interface State {
  server: Server | undefined
  readonly directions: Set<Direction>
  /** Whether a turn of the loop is scheduled. */
  awake: boolean
}

const state: State = { server: undefined, directions: new Set(), awake: false }
/** What a sleep waits for: nobody wakes it. */
const never = new Int32Array(new SharedArrayBuffer(4))
const held = latencyHistogram()

const calls = {
  /** Listens for one target; the address that stands for it. Each direction takes half of the round trip that is added. */
  async open({
    target,
    roundTripMs,
  }: {
    readonly target: string
    readonly roundTripMs: number
  }): Promise<string> {
    const { hostname: host, port } = new URL(target)
    // Each direction ends by itself: what is under way in the other one still arrives.
    const allowHalfOpen = true
    state.server = createServer({ noDelay: true, allowHalfOpen }, (near) => {
      const far = connect({ host, port: Number(port), noDelay: true, allowHalfOpen })
      carry(near, far, roundTripMs / 2)
      carry(far, near, roundTripMs / 2)
    })
    state.server.listen({ host: '127.0.0.1', port: 0 })
    await once(state.server, 'listening')
    return `tcp://127.0.0.1:${(state.server.address() as AddressInfo).port}`
  },

  /** How long bytes were held on their way in one direction since the last call, in milliseconds. */
  held(): Latency {
    const latency = latencyOf(held)
    held.reset()
    return latency
  },

  /** Processor time of this process so far. */
  cpuSeconds(): number {
    return cpuSeconds()
  },

  close(): void {
    state.server?.close()
    for (const { to } of state.directions) to.destroy()
  },
} as const

export type RelayCalls = typeof calls

function carry(from: Socket, to: Socket, delayMs: number): void {
  const direction: Direction = { line: new DelayLine(delayMs), to }
  state.directions.add(direction)
  const push = (item: Uint8Array | 'end'): void => {
    direction.line.push(item, performance.now())
    wake()
  }
  from.on('data', (chunk: Uint8Array) => {
    push(chunk)
    if (to.writableLength > UNTAKEN_BYTES_MAX) from.pause()
  })
  to.on('drain', () => from.resume())
  from.on('end', () => push('end'))
  // A connection that breaks on one side breaks on the other, at once.
  from.on('error', () => to.destroy())
  from.on('close', () => {
    if (!from.readableEnded) to.destroy()
  })
  to.on('close', () => state.directions.delete(direction))
}

function wake(): void {
  if (state.awake) return
  state.awake = true
  setImmediate(turn)
}

/** Hands on what is due, then sleeps until the next is, or for a step: sockets are looked at between two turns. */
function turn(): void {
  let nextMs = Number.POSITIVE_INFINITY
  for (const direction of state.directions) {
    handOn(direction)
    nextMs = Math.min(nextMs, direction.line.dueMs)
  }
  state.awake = nextMs !== Number.POSITIVE_INFINITY
  if (!state.awake) return
  const restMs = Math.min(STEP_MS, nextMs - performance.now())
  if (restMs > 0) Atomics.wait(never, 0, 0, restMs)
  setImmediate(turn)
}

function handOn({ line, to }: Direction): void {
  const nowMs = performance.now()
  const due = line.takeDue(nowMs)
  if (due.length === 0 || to.destroyed) return
  to.cork()
  for (const { item, cameMs } of due) {
    if (item === 'end') to.end()
    else {
      held.recordValue((nowMs - cameMs) * 1000)
      to.write(item)
    }
  }
  to.uncork()
}

serve(calls)
