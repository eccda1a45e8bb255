/**
 * The process of those who connect to a node and never say who they are: one half sends nothing, the other the beginning
 * of a first message and then a byte a second. What the node closes is dialled again at once, up to a rate.
 *
 * Decides: what such a peer does. Leaves to others: what the node makes of it.
 *
 * 1. Dials come from several addresses of this machine (127.0.0.2 and up), because nodes limit connections of one.
 * 2. It costs little itself: a plain socket for each connection, bytes written by one timer for all.
 */
import { connect, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import type { WireName } from '../wire.ts'
import { cpuSeconds } from './processor-time.ts'
import { serve } from './serve.ts'

export interface Attack {
  /** Of the node: `tcp://127.0.0.1:…` or `ws://127.0.0.1:…`. */
  readonly address: string
  readonly connections: number
  /** At most, the first dials included. */
  readonly dialsPerSecond: number
}

/** Counters since the start. */
export interface AttackState {
  /** Connections that are open now, as this end sees it. */
  readonly open: number
  readonly dialled: number
  /** Connections that were made and that the node ended. */
  readonly closedByNode: number
  /** Dials that did not become a connection. */
  readonly failed: number
  readonly bytesSent: number
  /** Processor time of this process. */
  readonly cpuSeconds: number
  readonly monotonicSeconds: number
}

const TICK_MS = 50
const TICKS_PER_SECOND = 1000 / TICK_MS
const SOURCE_ADDRESSES = 8
/** Of the frame that is begun: within what a node takes from a stranger. */
const ANNOUNCED_BYTES = 4000

/** The length before a frame of transport-tcp. */
const TCP_HEAD = Buffer.from([ANNOUNCED_BYTES & 0xff, ANNOUNCED_BYTES >> 8, 0, 0])
/** A masked binary frame (RFC 6455, section 5.2), with a mask of zeros. */
const WS_HEAD = Buffer.from([0x82, 0xfe, ANNOUNCED_BYTES >> 8, ANNOUNCED_BYTES & 0xff, 0, 0, 0, 0])
const WS_UPGRADE = [
  'GET / HTTP/1.1',
  'Host: 127.0.0.1',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Protocol: understudy.1',
  '\r\n',
].join('\r\n')
const A_BYTE = Buffer.from([1])

/** One of the connections that are kept up. */
interface Slot {
  readonly index: number
  socket: Socket | undefined
  /** The beginning is out: bytes may follow. */
  hasBegun: boolean
}

class Strangers {
  readonly #attack: Attack
  readonly #wire: WireName
  readonly #port: number
  readonly #slots: readonly Slot[]
  readonly #waiting: Slot[]
  readonly #timer: NodeJS.Timeout
  #earnedMs = performance.now()
  #dialsLeft = 0
  readonly #counts = { open: 0, dialled: 0, closedByNode: 0, failed: 0, bytesSent: 0 }
  #tick = 0

  constructor(attack: Attack) {
    const { port, protocol } = new URL(attack.address)
    this.#attack = attack
    this.#wire = protocol === 'ws:' ? 'ws' : 'tcp'
    this.#port = Number(port)
    this.#slots = Array.from({ length: attack.connections }, (_, index) => ({
      index,
      socket: undefined,
      hasBegun: false,
    }))
    this.#waiting = [...this.#slots]
    this.#timer = setInterval(() => this.#turn(), TICK_MS)
  }

  get state(): AttackState {
    return { ...this.#counts, cpuSeconds: cpuSeconds(), monotonicSeconds: performance.now() / 1000 }
  }

  async end(): Promise<void> {
    clearInterval(this.#timer)
    const closed = this.#slots.flatMap(({ socket }) =>
      socket === undefined ? [] : [new Promise((resolve) => socket.once('close', resolve))],
    )
    for (const { socket } of this.#slots) socket?.destroy()
    await Promise.all(closed)
  }

  #turn(): void {
    this.#tick++
    for (let index = this.#tick % TICKS_PER_SECOND; index < this.#slots.length; index += TICKS_PER_SECOND)
      this.#drip(this.#slots[index] as Slot)
    for (this.#earnDials(); this.#dialsLeft >= 1 && this.#waiting.length > 0; this.#dialsLeft--)
      this.#dial(this.#waiting.shift() as Slot)
  }

  /** Dials that were not made in time are lost but for a quarter of a second: the rate is a limit, not a mean. */
  #earnDials(): void {
    const { dialsPerSecond } = this.#attack
    const nowMs = performance.now()
    const earned = ((nowMs - this.#earnedMs) / 1000) * dialsPerSecond
    this.#dialsLeft = Math.min(this.#dialsLeft + earned, Math.max(1, dialsPerSecond / 4))
    this.#earnedMs = nowMs
  }

  #drip({ index, socket, hasBegun }: Slot): void {
    if (!isSlow(index) || !hasBegun || socket?.writable !== true) return
    socket.write(A_BYTE)
    this.#counts.bytesSent++
  }

  #dial(slot: Slot): void {
    const counts = this.#counts
    counts.dialled++
    const localAddress = `127.0.0.${2 + (slot.index % SOURCE_ADDRESSES)}`
    const socket = connect({ host: '127.0.0.1', port: this.#port, localAddress, noDelay: true })
    slot.socket = socket
    let isOpen = false
    socket.once('connect', () => {
      isOpen = true
      counts.open++
      if (isSlow(slot.index)) this.#begin(slot, socket)
      else socket.resume()
    })
    socket.on('error', () => {})
    socket.once('close', () => {
      if (isOpen) {
        counts.open--
        counts.closedByNode++
      } else counts.failed++
      slot.socket = undefined
      slot.hasBegun = false
      this.#waiting.push(slot)
    })
  }

  /** All that is valid, up to the first bytes of a frame. */
  #begin(slot: Slot, socket: Socket): void {
    if (this.#wire === 'tcp') {
      socket.resume().write(TCP_HEAD)
      slot.hasBegun = true
      return
    }
    let answer = ''
    socket.write(WS_UPGRADE)
    socket.on('data', (chunk: Buffer) => {
      if (slot.hasBegun) return
      answer += chunk.toString('latin1')
      if (!answer.includes('\r\n\r\n')) return
      if (!answer.startsWith('HTTP/1.1 101')) {
        socket.destroy()
        return
      }
      socket.write(WS_HEAD)
      slot.hasBegun = true
    })
  }
}

/** Whether a connection sends a byte a second. Its neighbours are silent. */
function isSlow(index: number): boolean {
  // Not every other one: the source addresses must have both.
  return Math.floor(index / SOURCE_ADDRESSES) % 2 === 1
}

interface State {
  strangers: Strangers | undefined
}

const state: State = { strangers: undefined }

function started(): Strangers {
  if (state.strangers === undefined) throw new TypeError('start comes first')
  return state.strangers
}

const calls = {
  start(attack: Attack): void {
    state.strangers = new Strangers(attack)
  },

  state(): AttackState {
    return started().state
  },

  /** Ends every connection. */
  async stop(): Promise<void> {
    await started().end()
    state.strangers = undefined
  },

  async close(): Promise<void> {
    await state.strangers?.end()
  },
} as const

export type StrangersCalls = typeof calls

serve(calls)
