/**
 * Heartbeats and the deadline of a snapshot conversation, the same on both sides.
 *
 * 1. Something is sent at least each `heartbeatMs`, also while a snapshot is opened, a limit waits or a disk syncs.
 * 2. A peer that sent nothing for `deadlineMs` is given up with `PEER_SILENT`: a one-way cut shows no error of its own.
 * 3. A process that itself stood still does not blame the peer: after a late tick it first reads what has come.
 */
import { UnderstudyError, type Clock, type Timer } from '@understudy/contracts'
import type { Connection, Message } from '@understudy/protocol'

export interface KeepAliveOptions {
  readonly connection: Pick<Connection, 'remote' | 'send' | 'close'>
  readonly clock: Clock
  readonly heartbeatMs: number
  readonly deadlineMs: number
}

export class KeepAlive {
  readonly #options: KeepAliveOptions
  #timer: Timer | undefined
  #heardMs: number
  #sentMs: number
  #tickMs: number

  constructor(options: KeepAliveOptions) {
    this.#options = options
    const now = options.clock.monotonic()
    this.#heardMs = now
    this.#sentMs = now
    this.#tickMs = now
    this.#schedule()
  }

  /** A message came. */
  heard(): void {
    this.#heardMs = this.#options.clock.monotonic()
  }

  /** Sends `message`, whatever the channel holds back; returns what `Connection.send` did. */
  send(message: Message): boolean {
    this.#sentMs = this.#options.clock.monotonic()
    return this.#options.connection.send(message)
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #schedule(): void {
    this.#timer = this.#options.clock.schedule(this.#options.heartbeatMs / 2, () => this.#tick())
  }

  #tick(): void {
    const { clock, connection, heartbeatMs, deadlineMs } = this.#options
    const now = clock.monotonic()
    const late = now - this.#tickMs > heartbeatMs / 2 + deadlineMs / 2
    this.#tickMs = now
    this.#schedule()
    if (!late && now - this.#heardMs > deadlineMs) {
      this.stop()
      connection.close(
        new UnderstudyError(
          'PEER_SILENT',
          `${connection.remote} sent nothing for ${deadlineMs} ms during a snapshot. What was received is kept; the transfer goes on with the next connection.`,
          { remote: connection.remote },
        ),
      )
      return
    }
    if (now - this.#sentMs < heartbeatMs / 2) return
    this.send({ type: 'heartbeat', epoch: 0, lsn: 0, highWatermark: 0, sentAtMs: now, echoMs: 0, slots: [] })
  }
}
