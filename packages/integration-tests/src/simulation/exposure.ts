/**
 * What the log says of commits with less protection than asked, held against what writers were told.
 *
 * Decides: which receipts must, and must not, be in the list. Leaves to others: the list itself, which is the code under test.
 *
 * 1. The list is made of the leader's durable records, each taken once; at the end it is made anew from each node's own log.
 * 2. A commit that waited when the rule was lowered may have been acknowledged at the last moment: its receipt may say either.
 */
import type { ExposedRange, Log, Lsn, Position, Receipt } from '@understudy/contracts'
import { beginExposure, takeRecord } from '@understudy/replication'
import { InvariantBreach } from './breach.ts'
import type { RawRecord } from './raw-records.ts'

export class ExposureBook {
  readonly #state = beginExposure(0)
  readonly #degraded = new Set<Lsn>()
  readonly #strict = new Set<Lsn>()

  /** A record entered the history. */
  entered(record: RawRecord): void {
    takeRecord(this.#state, { ...record, committedAtMs: 0 })
  }

  answered({ position, asked, degraded }: Receipt): void {
    if (degraded) this.#degraded.add(position.lsn)
    else if (asked !== 'local') this.#strict.add(position.lsn)
  }

  get degraded(): number {
    return this.#degraded.size
  }

  /** Exactly what was answered as degraded is in the list. */
  expectExact(): void {
    const ranges = this.#state.ranges.filter(({ why }) => why === 'lowered')
    for (const lsn of this.#degraded)
      if (!ranges.some((range) => holds(range, lsn)))
        throw new InvariantBreach('X1', `the receipt of LSN ${lsn} says degraded, the list does not have it`)
    for (const lsn of this.#strict) {
      const range = ranges.find((each) => holds(each, lsn))
      if (range !== undefined && !(range.waited && lsn >= range.waited.from && lsn <= range.waited.to))
        throw new InvariantBreach(
          'X1',
          `the receipt of LSN ${lsn} is strict, the list has it from ${range.from.lsn} to ${range.to.lsn}`,
        )
    }
    for (const range of ranges) {
      const known = [...this.#degraded].filter((lsn) => holds(range, lsn)).length
      if (known > range.commits)
        throw new InvariantBreach('X1', `${known} receipts are in a range of ${range.commits} commits`)
    }
  }

  /** A log that is kept from its beginning says the same. */
  expectSame(name: string, log: Log): void {
    if (log.first !== 1) return
    const state = beginExposure(0)
    for (const record of log.records(1)) takeRecord(state, record)
    const [own, known] = [state, this.#state].map(({ ranges }) => JSON.stringify(ranges.map(withoutTimes)))
    if (own !== known) throw new InvariantBreach('X1', `${name} lists ${own}, the history ${known}`)
  }
}

function holds({ from, to }: ExposedRange, lsn: Lsn): boolean {
  return lsn >= from.lsn && lsn <= to.lsn
}

function withoutTimes({ why, from, to, commits, asked, waited, isOpen }: ExposedRange): object {
  const positions: readonly Position[] = [from, to]
  return { why, positions, commits, asked, waited, isOpen }
}
