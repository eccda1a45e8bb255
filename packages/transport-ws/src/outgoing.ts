/**
 * Sends frames as messages of `ws`, gathered into few writes.
 *
 * Decides: when bytes are written (at the end of the turn of the event loop, or sooner when many wait), and when the
 * sender is told to wait. Leaves to `ws`: headers and masks.
 *
 * 1. After each `send` that said false, `drained` is called once, as soon as less than `lowBytes` wait.
 * 2. A write for each message would cost ten times one for all of a turn: the socket holds them back meanwhile.
 */
import type { Socket } from 'node:net'
import { WebSocket } from 'ws'
import { UnderstudyError } from '@understudy/contracts'

/** Bytes gathered in one turn that are written without waiting for its end. */
const FLUSH_BYTES = 256 * 1024
/** No Buffer is longer on every platform. */
const LENGTH_MAX = 0x7fffffff
const BINARY = { binary: true, compress: false, fin: true } as const

export interface OutgoingMarks {
  readonly highBytes: number
  readonly lowBytes: number
}

export class Outgoing {
  readonly #ws: WebSocket
  readonly #socket: Socket
  readonly #marks: OutgoingMarks
  readonly #drained: () => void
  #corked = false
  #gatheredBytes = 0
  #flushScheduled = false
  #mustTellDrained = false

  constructor(ws: WebSocket, socket: Socket, marks: OutgoingMarks, drained: () => void) {
    this.#ws = ws
    this.#socket = socket
    this.#marks = marks
    this.#drained = drained
  }

  /** Whether frames can still be sent. */
  get isOpen(): boolean {
    return this.#ws.readyState === WebSocket.OPEN && !this.#socket.destroyed
  }

  /** Bytes that the operating system has not taken. */
  get bufferedBytes(): number {
    return this.#socket.destroyed ? 0 : this.#ws.bufferedAmount
  }

  /** One message of all parts. Returns false when more than `highBytes` wait. */
  send(parts: readonly Uint8Array[]): boolean {
    const ws = this.#ws
    const data = parts.length === 1 ? parts[0]! : joined(parts)
    if (!this.#corked) this.#cork()
    // Only while much waits must we know when it is out.
    const isMuch = ws.bufferedAmount + data.length >= this.#marks.lowBytes
    ws.send(data, BINARY, isMuch ? this.#written : undefined)
    this.#gatheredBytes += data.length
    if (this.#gatheredBytes >= FLUSH_BYTES) this.flush()
    if (ws.bufferedAmount <= this.#marks.highBytes) return true
    this.#mustTellDrained = true
    return false
  }

  /** Writes what was gathered. */
  flush(): void {
    if (!this.#corked) return
    this.#corked = false
    this.#gatheredBytes = 0
    this.#socket.uncork()
  }

  #cork(): void {
    this.#corked = true
    this.#socket.cork()
    if (this.#flushScheduled) return
    this.#flushScheduled = true
    setImmediate(() => {
      this.#flushScheduled = false
      this.flush()
    })
  }

  readonly #written = (error?: Error | null): void => {
    if ((error !== null && error !== undefined) || !this.#mustTellDrained) return
    if (this.bufferedBytes >= this.#marks.lowBytes) return
    this.#mustTellDrained = false
    this.#drained()
  }
}

/** One buffer of all parts: a message in fragments would be joined by the receiver, at the same price. */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  if (length > LENGTH_MAX)
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `A frame of ${length} bytes is longer than a message may be. Nothing was sent.`,
    )
  return Buffer.concat(parts, length)
}
