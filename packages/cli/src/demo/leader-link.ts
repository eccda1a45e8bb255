/**
 * One connection to the leader for all writers, made anew whenever it ended: what a program needs to outlive a restart
 * of its leader.
 */
import type { Client } from '@understudy/client'
import { isUnderstudyError, type Clock, type ErrorCode } from '@understudy/contracts'
import { connectTo } from '../connections.ts'
import { pause } from './waiting.ts'

const RETRY_MS = 50
/** For an answer: long, because a write without one is a write of unknown outcome. A dead leader is noticed at once. */
const TIMEOUT_MS = 30_000

/** Codes that say that nothing was sent, or nobody was there: the write was not done and may be made again. */
const NOT_DONE: readonly ErrorCode[] = [
  'CONNECT_FAILED',
  'CONNECTION_LOST',
  'NOT_WRITTEN',
  'PEER_SILENT',
  'TIMEOUT',
]

/** Whether a failed call can be made again without doing anything twice. */
export function canRepeat(error: unknown): boolean {
  return isUnderstudyError(error) && NOT_DONE.includes(error.code)
}

export class LeaderLink {
  readonly #address: string
  readonly #clock: Clock
  readonly #signal: AbortSignal
  #current: Promise<Client> | undefined

  constructor(address: string, clock: Clock, signal: AbortSignal) {
    this.#address = address
    this.#clock = clock
    this.#signal = signal
  }

  /** The connection, once there is one. */
  client(): Promise<Client> {
    this.#current ??= this.#connect()
    return this.#current
  }

  /** This connection failed: the next call of `client` makes another. */
  async drop(client: Client): Promise<void> {
    const current = this.#current
    if (current !== undefined && (await current) === client && this.#current === current)
      this.#current = undefined
    await client.close()
  }

  async close(): Promise<void> {
    const client = await this.#current?.catch(() => undefined)
    this.#current = undefined
    await client?.close()
  }

  async #connect(): Promise<Client> {
    for (;;) {
      try {
        return await connectTo(this.#address, undefined, TIMEOUT_MS)
      } catch (error) {
        if (!canRepeat(error)) throw error
        await pause(this.#clock, RETRY_MS, this.#signal)
      }
    }
  }
}
