/**
 * The clients of the demo: one loads the cities, several write visits without end, and ledgers keep what each of them was
 * promised.
 *
 * 1. A writer has at most one write under way, and only rows of its own: so what must be found is known for each row.
 * 2. A writer knows the addresses of the cluster and nothing of who leads. Its client sends a write again, under its key, until it is
 *    answered; a write that is not fails the demo.
 */
import { connect, type ClientStatement, type ClusterClient, type ClusterWriteReply } from '@understudy/client'
import type { Clock } from '@understudy/contracts'
import { accessOf } from '../access.ts'
import type { City } from './dataset.ts'
import { IdLedger } from './ids.ts'
import { Ledger, type Note } from './ledger.ts'
import { createTables, deleteVisit, insertCities, insertVisit, updateVisit, type Visit } from './schema.ts'
import { pause } from './waiting.ts'

/** Writers at once. */
const LANES = 16
/** Each is shared by as many writers as programs have requests at once. */
const CLIENTS = 4
/** A writer rests so long after each write: a demo shares its machine. */
const REST_MS = 3
const CITIES_PER_WRITE = 500
/** For a write, all its tries included: far longer than any failover, also where the machine has much else to do. */
const TIMEOUT_MS = 60_000

/** Who took writes, as clients see it. */
export interface Leading {
  /** Empty before the first write. */
  readonly name: string
  readonly epoch: number
  /** Monotonic time at which its first write was acknowledged. */
  readonly sinceMs: number
}

export class Workload {
  readonly ledger: Ledger = new Ledger()
  readonly ids: IdLedger = new IdLedger()
  readonly #addresses: readonly string[]
  readonly #clock: Clock
  readonly #signal: AbortSignal
  readonly #stop = new AbortController()
  readonly #failed = Promise.withResolvers<never>()
  #clients: ClusterClient[] = []
  #lanes: Promise<void>[] = []
  #leading: Leading = { name: '', epoch: 0, sinceMs: 0 }
  #commits = 0
  #replayed = 0
  #underWay = 0
  #cities = 0

  /** `addresses`: of nodes of the cluster, not all of which need be there. */
  constructor(addresses: readonly string[], clock: Clock, signal: AbortSignal) {
    this.#addresses = addresses
    this.#clock = clock
    this.#signal = signal
    this.#failed.promise.catch(() => {})
  }

  /** Acknowledged writes. */
  get commits(): number {
    return this.#commits
  }

  /** Those that were sent again and turned out to be done already. */
  get replayed(): number {
    return this.#replayed
  }

  /** Writes that wait for their answer at this moment. */
  get underWay(): number {
    return this.#underWay
  }

  get leading(): Leading {
    return this.#leading
  }

  /** Makes the tables, then loads the cities while the writers begin. */
  async load(cities: readonly City[], onProgress: (rows: number) => void): Promise<void> {
    for (let n = 0; n < CLIENTS; n++) this.#clients.push(await this.#connect(`demo ${n + 1}`))
    const [loader] = this.#clients
    await this.#write(loader!, createTables(LANES))
    for (let at = 0; at < cities.length; at += CITIES_PER_WRITE) {
      const batch = cities.slice(at, at + CITIES_PER_WRITE)
      await this.#write(loader!, insertCities(batch))
      this.#cities += batch.length
      onProgress(this.#cities)
      if (at === 0) this.#begin()
    }
  }

  /** Rejects when a write fails; never resolves. */
  get failed(): Promise<never> {
    return this.#failed.promise
  }

  /** Which followers must have a write from now on. */
  async setAcks(rule: string): Promise<void> {
    await this.#clients[0]!.setAcks(rule, { onUnmet: 'block', timeoutMs: TIMEOUT_MS })
  }

  /** Lets each writer finish the write that it is at. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#lanes)
  }

  /** Gives up whatever is under way. */
  async close(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#clients.map((client) => client.close()))
    await Promise.allSettled(this.#lanes)
  }

  #connect(name: string): Promise<ClusterClient> {
    const { transport } = accessOf({})
    return connect(this.#addresses, { transport, name, timeoutMs: TIMEOUT_MS, signal: this.#signal })
  }

  #begin(): void {
    this.#lanes = Array.from({ length: LANES }, (_, index) =>
      this.#runLane(index + 1, this.#clients[index % CLIENTS]!),
    )
    for (const lane of this.#lanes) lane.catch(this.#failed.reject)
  }

  async #runLane(lane: number, client: ClusterClient): Promise<void> {
    /** Rows of this writer that are there, oldest first. */
    const own: Visit[] = []
    for (let n = 0; !this.#stop.signal.aborted; n++) {
      const step = n % 10
      const note = `${lane}.${n}`
      const chosen = own[(n * 7919) % Math.max(own.length, 1)]
      if (chosen === undefined || step < 6) {
        const visit = { id: n * LANES + lane, city: ((n * 7919 + lane * 104_729) % this.#cities) + 1, note }
        const reply = await this.#change(client, visit.id, note, insertVisit(visit, lane))
        this.ids.give(idOf(reply), note)
        own.push(visit)
      } else if (step < 8) {
        const visit = { ...chosen, note }
        await this.#change(client, visit.id, note, updateVisit(visit, lane))
        own.splice(own.indexOf(chosen), 1, visit)
      } else {
        await this.#change(client, chosen.id, undefined, deleteVisit(chosen, lane))
        own.splice(own.indexOf(chosen), 1)
      }
      await pause(this.#clock, REST_MS, this.#signal)
    }
  }

  /** One write of a row, noted in the ledger. */
  async #change(
    client: ClusterClient,
    id: number,
    note: Note,
    statements: readonly ClientStatement[],
  ): Promise<ClusterWriteReply> {
    const reply = await this.#write(client, statements)
    this.ledger.acknowledge(id, note)
    return reply
  }

  async #write(client: ClusterClient, statements: readonly ClientStatement[]): Promise<ClusterWriteReply> {
    this.#underWay++
    try {
      const reply = await client.write(statements)
      this.#commits++
      if (reply.replayed) this.#replayed++
      this.#see(reply)
      return reply
    } finally {
      this.#underWay--
    }
  }

  #see({ node, position }: ClusterWriteReply): void {
    if (position === undefined || position.epoch <= this.#leading.epoch) return
    this.#leading = { name: node, epoch: position.epoch, sinceMs: this.#clock.monotonic() }
  }
}

/** The id of the ticket that an insert was answered with; a write done before may have been answered without. */
function idOf({ results, valueKept }: ClusterWriteReply): number | undefined {
  return valueKept ? Number(results[0]?.rows[0]?.[0]) : undefined
}
