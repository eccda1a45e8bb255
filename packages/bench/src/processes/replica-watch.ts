/**
 * Readers on a follower that note which commits they see, and when, in milliseconds of the system's monotonic clock.
 *
 * Decides: what a reader sees. One waits for the next commit and looks at the clock once it may read it: for the lag. One reads once a
 * millisecond, as a program that does not wait does: for the staleness of what it gets.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { UnderstudyError, isUnderstudyError } from '@understudy/contracts'
import type { UnderstudyNode } from '@understudy/node'
import type { Notes, ReplicaNotes } from '../subjects/subject.ts'

export type { ReplicaNotes }

const POLL_MS = 1

interface Noted {
  readonly numbers: number[]
  readonly atMs: number[]
}

export class ReplicaWatch {
  readonly #node: UnderstudyNode
  readonly #waiter: Noted = { numbers: [], atMs: [] }
  readonly #poller: Noted = { numbers: [], atMs: [] }
  readonly #running: Promise<unknown>
  #stopped = false

  constructor(node: UnderstudyNode) {
    this.#node = node
    this.#running = Promise.all([this.#wait(), this.#poll()])
  }

  async stop(): Promise<ReplicaNotes> {
    this.#stopped = true
    await this.#running
    return { waiter: packed(this.#waiter), poller: packed(this.#poller) }
  }

  async #wait(): Promise<void> {
    const node = this.#node
    while (!this.#stopped) {
      const { epoch, lsn } = node.applied
      try {
        const seen = await node.read((tx) => (tx.get('select 1'), node.applied.lsn), {
          after: { epoch, lsn: lsn + 1 },
          timeoutMs: 1000,
        })
        note(this.#waiter, seen, monotonicMs())
      } catch (error) {
        if (!(error instanceof UnderstudyError) || !isUnderstudyError(error, 'TIMEOUT')) throw error
      }
    }
  }

  /** The time is that from before the read: what is committed on the leader after it, no reader could have seen. */
  async #poll(): Promise<void> {
    const node = this.#node
    while (!this.#stopped) {
      const atMs = monotonicMs()
      note(this.#poller, await node.read((tx) => (tx.get('select 1'), node.applied.lsn)), atMs)
      await delay(POLL_MS)
    }
  }
}

function note(into: Noted, number: number, atMs: number): void {
  into.numbers.push(number)
  into.atMs.push(atMs)
}

function packed({ numbers, atMs }: Noted): Notes {
  return { numbers: Float64Array.from(numbers), atMs: Float64Array.from(atMs) }
}

function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6
}
