/**
 * What clients were told of each write, held against the history.
 *
 * A write sets its own key `w/<id>`, which nobody ever changes again, and adds one to its client's counter: a write that
 * is lost, doubled or invented shows in both.
 */
import type { Lsn, Position } from '@understudy/contracts'
import { InvariantBreach } from './breach.ts'
import type { RecordedChange } from './formats.ts'

/** `unknown`: it may or may not be in the history. */
export type Outcome = 'pending' | 'acknowledged' | 'refused' | 'unknown'

interface Entry {
  readonly value: string
  outcome: Outcome
  /** Last LSN of the transaction that holds it. */
  lsn: Lsn | undefined
}

export class Ledger {
  readonly #entries = new Map<string, Entry>()
  readonly #counters = new Map<string, number>()

  get size(): number {
    return this.#entries.size
  }

  sent(id: string, value: string): void {
    this.#entries.set(id, { value, outcome: 'pending', lsn: undefined })
  }

  /** A transaction entered the history. */
  entered(lsn: Lsn, changes: readonly RecordedChange[]): void {
    const touched = new Set<string>()
    for (const { key, after } of changes) {
      const id = idOf(key)
      if (id === undefined) continue
      const entry = this.#entries.get(id)
      if (entry === undefined || entry.outcome === 'refused')
        throw new InvariantBreach(
          'I9',
          `record ${lsn} holds the write ${id}, which ${entry ? 'was refused' : 'nobody sent'}`,
        )
      if (entry.lsn !== undefined)
        throw new InvariantBreach(
          'I10',
          `record ${lsn} holds the write ${id}, which record ${entry.lsn} holds too`,
        )
      if (entry.value !== after)
        throw new InvariantBreach('I5', `record ${lsn} holds another value of the write ${id}`)
      entry.lsn = lsn
      const client = clientOf(id)
      touched.add(client)
      this.#counters.set(client, (this.#counters.get(client) ?? 0) + 1)
    }
    for (const client of touched) this.#expectCounter(lsn, client, changes)
  }

  /** Its outcome was unknown. */
  sentAgain(id: string): void {
    this.#of(id).outcome = 'pending'
  }

  acknowledged(id: string, position: Position): void {
    const entry = this.#of(id)
    if (entry.lsn === undefined)
      throw new InvariantBreach('W1', `the write ${id} was acknowledged before its record was durable`)
    if (entry.lsn !== position.lsn)
      throw new InvariantBreach(
        'I1',
        `the write ${id} stands in record ${entry.lsn}, its receipt says ${position.lsn}`,
      )
    entry.outcome = 'acknowledged'
  }

  refused(id: string): void {
    const entry = this.#of(id)
    if (entry.lsn !== undefined)
      throw new InvariantBreach(
        'I9',
        `the write ${id} was reported as not written, but record ${entry.lsn} holds it`,
      )
    entry.outcome = 'refused'
  }

  /** It is in the log of its leader, and was not acknowledged in time. */
  written(id: string, position: Position | undefined): void {
    const entry = this.#of(id)
    if (entry.lsn === undefined || entry.lsn !== position?.lsn)
      throw new InvariantBreach(
        'I1',
        `the write ${id} was reported as written in record ${position?.lsn}, it stands in ${entry.lsn}`,
      )
    entry.outcome = 'unknown'
  }

  /** Its node died, or said that it does not know. */
  unknown(id: string): void {
    this.#of(id).outcome = 'unknown'
  }

  /** Everything acknowledged is in what `valueOf` shows. */
  expectAcknowledged(node: string, valueOf: (key: string) => string | undefined): void {
    for (const [id, { outcome, value }] of this.#entries) {
      const found = valueOf(keyOf(id))
      if (outcome === 'acknowledged' && found !== value)
        throw new InvariantBreach('I1', `${node} lost the acknowledged write ${id}`)
      if (outcome === 'refused' && found !== undefined)
        throw new InvariantBreach('I9', `${node} holds the write ${id}, which was reported as not written`)
    }
  }

  count(outcome: Outcome): number {
    return [...this.#entries.values()].filter((entry) => entry.outcome === outcome).length
  }

  #expectCounter(lsn: Lsn, client: string, changes: readonly RecordedChange[]): void {
    const counter = changes.find(({ key }) => key === counterKey(client))?.after
    const expected = String(this.#counters.get(client) ?? 0)
    if (counter !== expected)
      throw new InvariantBreach(
        'I10',
        `record ${lsn} counts ${counter} writes of ${client}, there are ${expected}`,
      )
  }

  #of(id: string): Entry {
    const entry = this.#entries.get(id)
    if (entry === undefined)
      throw new InvariantBreach('I9', `the write ${id} was answered, but nobody sent it`)
    return entry
  }
}

export function keyOf(id: string): string {
  return `w/${id}`
}

export function counterKey(client: string): string {
  return `n/${client}`
}

function idOf(key: string): string | undefined {
  return key.startsWith('w/') ? key.slice(2) : undefined
}

function clientOf(id: string): string {
  return id.slice(0, id.indexOf('-'))
}
