/**
 * Connections that were accepted and are no channel yet: each has a deadline, and all end with the listener.
 *
 * Decides: that each becomes a channel or ends in time, and that its owner is told once of how it ended. Leaves to others: what the
 * connection must do meanwhile, what is said of one that did not.
 *
 * 1. The deadline is for all of it: a byte now and then does not move it.
 * 2. A connection is known by both its ends: over TLS the session has another socket than the connection.
 * 3. Of what `close` breaks off nobody is told.
 */
import type { Socket } from 'node:net'
import type { Clock, Timer } from '@understudy/contracts'
import { connectionName } from './address.ts'

type Ends = Parameters<typeof connectionName>[0]

export interface PendingOptions<T> {
  readonly clock: Clock
  /** How long each may take. */
  readonly timeoutMs: number
  /** One was not done in time; its socket is destroyed afterwards. */
  readonly late: (about: T) => void
  /** One ended by itself before it was done. */
  readonly ended?: (about: T) => void
}

export class Pending<T> {
  readonly #options: PendingOptions<T>
  readonly #open = new Map<string, { readonly socket: Socket; readonly about: T; readonly timer: Timer }>()

  constructor(options: PendingOptions<T>) {
    this.#options = options
  }

  /** A connection was accepted; `about` comes back with whatever becomes of it. */
  add(socket: Socket, about: T): void {
    const { clock, timeoutMs, late, ended } = this.#options
    const name = connectionName(socket)
    const timer = clock.schedule(timeoutMs, () => {
      this.#open.delete(name)
      late(about)
      socket.destroy()
    })
    this.#open.set(name, { socket, about, timer })
    socket.once('close', () => {
      timer.cancel()
      // Its ends may be another connection's by now.
      if (this.#open.get(name)?.socket !== socket) return
      this.#open.delete(name)
      ended?.(about)
    })
  }

  /** It is done, or failed: from here on it has no deadline. `undefined` when it was late, closed or gone already. */
  take(socket: Ends): { readonly about: T } | undefined {
    const name = connectionName(socket)
    const found = this.#open.get(name)
    found?.timer.cancel()
    this.#open.delete(name)
    return found
  }

  /** Breaks off all that wait. */
  close(): void {
    const open = [...this.#open.values()]
    this.#open.clear()
    for (const { socket } of open) socket.destroy()
  }
}
