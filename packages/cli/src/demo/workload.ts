/**
 * The clients of the demo: one loads the cities, several write visits without end, and a ledger keeps what each of them
 * was promised.
 *
 * 1. A writer has at most one write under way, and only rows of its own: so what must be found is known for each row.
 * 2. A write without an answer is never made again, and its row is left alone from then on.
 */
import type { Client, ClientStatement } from '@understudy/client'
import { isUnderstudyError, type Clock } from '@understudy/contracts'
import type { City } from './dataset.ts'
import { canRepeat, LeaderLink } from './leader-link.ts'
import { Ledger, type Note } from './ledger.ts'
import { createTables, deleteVisit, insertCities, insertVisit, updateVisit, type Visit } from './schema.ts'
import { pause } from './waiting.ts'

/** Writers at once. */
const LANES = 16
/** A writer rests so long after each write: a demo shares its machine. */
const REST_MS = 3
const CITIES_PER_WRITE = 500
const REPEAT_MS = 20

export class Workload {
  readonly ledger: Ledger = new Ledger()
  readonly #link: LeaderLink
  readonly #clock: Clock
  readonly #signal: AbortSignal
  readonly #stop = new AbortController()
  readonly #failed = Promise.withResolvers<never>()
  #lanes: Promise<void>[] = []
  #commits = 0
  #underWay = 0
  #unanswered = 0
  #cities = 0

  constructor(leader: string, clock: Clock, signal: AbortSignal) {
    this.#link = new LeaderLink(leader, clock, signal)
    this.#clock = clock
    this.#signal = signal
    this.#failed.promise.catch(() => {})
  }

  /** Acknowledged writes. */
  get commits(): number {
    return this.#commits
  }

  /** Writes that wait for their answer at this moment. */
  get underWay(): number {
    return this.#underWay
  }

  /** Writes that never got one. */
  get unanswered(): number {
    return this.#unanswered
  }

  /** Makes the tables, then loads the cities while the writers begin. */
  async load(cities: readonly City[], onProgress: (rows: number) => void): Promise<void> {
    await this.#write(createTables(LANES))
    for (let at = 0; at < cities.length; at += CITIES_PER_WRITE) {
      const batch = cities.slice(at, at + CITIES_PER_WRITE)
      await this.#write(insertCities(batch))
      this.#cities += batch.length
      onProgress(this.#cities)
      if (at === 0) this.#begin()
    }
  }

  /** Rejects when a writer meets an error that writing again cannot mend; never resolves. */
  get failed(): Promise<never> {
    return this.#failed.promise
  }

  /** Lets each writer finish the write that it is at. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#lanes)
  }

  /** Gives up whatever is under way. */
  async close(): Promise<void> {
    this.#stop.abort()
    await this.#link.close()
    await Promise.allSettled(this.#lanes)
  }

  #begin(): void {
    this.#lanes = Array.from({ length: LANES }, (_, index) => this.#runLane(index + 1))
    for (const lane of this.#lanes) lane.catch(this.#failed.reject)
  }

  async #runLane(lane: number): Promise<void> {
    /** Rows of this writer that are there, oldest first. */
    const own: Visit[] = []
    for (let n = 0; !this.#stop.signal.aborted; n++) {
      const step = n % 10
      const chosen = own[(n * 7919) % Math.max(own.length, 1)]
      if (chosen === undefined || step < 6) {
        const visit = {
          id: n * LANES + lane,
          city: ((n * 7919 + lane * 104_729) % this.#cities) + 1,
          note: `${lane}.${n}`,
        }
        if (await this.#change(visit.id, visit.note, insertVisit(visit, lane))) own.push(visit)
      } else if (step < 8) {
        const visit = { ...chosen, note: `${lane}.${n}` }
        const kept = await this.#change(visit.id, visit.note, updateVisit(visit, lane))
        own.splice(own.indexOf(chosen), 1, ...(kept ? [visit] : []))
      } else {
        await this.#change(chosen.id, undefined, deleteVisit(chosen, lane))
        own.splice(own.indexOf(chosen), 1)
      }
      await pause(this.#clock, REST_MS, this.#signal)
    }
  }

  /** One write of a row, noted in the ledger. False when it is unknown whether it was done. */
  async #change(id: number, note: Note, statements: readonly ClientStatement[]): Promise<boolean> {
    try {
      await this.#write(statements)
      this.ledger.acknowledge(id, note)
      return true
    } catch (error) {
      if (!isUnderstudyError(error, 'OUTCOME_UNKNOWN')) throw error
      this.#unanswered++
      this.ledger.leaveOpen(id, note)
      return false
    }
  }

  /** Writes until it is done or nobody knows: then `OUTCOME_UNKNOWN`. */
  async #write(statements: readonly ClientStatement[]): Promise<void> {
    for (;;) {
      const client = await this.#link.client()
      try {
        await this.#send(client, statements)
        return
      } catch (error) {
        const unknown = isUnderstudyError(error, 'OUTCOME_UNKNOWN')
        if (unknown || canRepeat(error)) await this.#link.drop(client)
        if (unknown || !canRepeat(error)) throw error
        await pause(this.#clock, REPEAT_MS, this.#signal)
      }
    }
  }

  async #send(client: Client, statements: readonly ClientStatement[]): Promise<void> {
    this.#underWay++
    try {
      await client.write(statements)
      this.#commits++
    } finally {
      this.#underWay--
    }
  }
}
