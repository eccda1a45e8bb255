/**
 * Receipts that clients keep, and what every node says of them, again and again.
 *
 * Decides: which receipts are asked about, which verdicts contradict each other or the acks. Leaves to others: when to ask.
 *
 * 1. No node of a simulated cluster leads but one, and its log is its life: so no receipt is ever lost, and what a node calls
 *    committed stays so.
 * 2. `committed` is said only of what the set of its rule has, where the rule was not lowered.
 */
import {
  isUnderstudyError,
  type Log,
  type Lsn,
  type Receipt,
  type ReceiptReference,
  type UnderstudyError,
} from '@understudy/contracts'
import { verdictOf } from '@understudy/replication'
import { InvariantBreach } from './breach.ts'
import type { World } from './world.ts'

/** Receipts asked about in one look, besides those of the newest writes. */
const ASKED = 12
const NEWEST = 12

export class Receipts {
  readonly #world: World
  readonly #kept: ReceiptReference[] = []
  readonly #committed = new Set<ReceiptReference>()
  #next = 0

  constructor(world: World) {
    this.#world = world
  }

  /** As a client stores them. */
  keep({ cluster, position, crc, runId }: Receipt): void {
    this.#kept.push({ cluster, position, crc, runId })
  }

  /** A write that is in the log and was not acknowledged: its error says enough. */
  keepError({ position, details }: UnderstudyError, cluster: string): void {
    const crc = details['crc']
    if (position !== undefined && typeof crc === 'number') this.#kept.push({ cluster, position, crc })
  }

  /** A node is asked about some, in turn, and about the newest. */
  ask(node: string, cluster: string, log: Log, acknowledged: Lsn): void {
    const from = Math.max(0, this.#kept.length - NEWEST)
    for (const receipt of this.#kept.slice(from)) this.#ask(node, cluster, log, acknowledged, receipt)
    for (let i = 0; i < Math.min(ASKED, from); i++)
      this.#ask(node, cluster, log, acknowledged, this.#kept[this.#next++ % from] as ReceiptReference)
  }

  askAll(node: string, cluster: string, log: Log, acknowledged: Lsn): void {
    for (const receipt of this.#kept) this.#ask(node, cluster, log, acknowledged, receipt)
  }

  #ask(node: string, cluster: string, log: Log, acknowledged: Lsn, receipt: ReceiptReference): void {
    const { history, end } = log
    const crcAt = (lsn: Lsn): number | undefined => log.crcAt(lsn)
    const { lsn } = receipt.position
    try {
      const { verdict, reason } = verdictOf(receipt, { cluster, history, end, crcAt, acknowledged })
      if (verdict === 'unknown') return
      if (verdict === 'lost')
        throw new InvariantBreach('R1', `${node} calls LSN ${lsn} lost (${reason})${this.#before(receipt)}`)
      this.#committed.add(receipt)
      this.#world.tally.add('receipt called committed')
      this.#world.acks.expectCommitted(node, lsn)
    } catch (error) {
      if (!isUnderstudyError(error, 'INVALID_ARGUMENT')) throw error
      throw new InvariantBreach('R1', `${node} takes the receipt of LSN ${lsn} for none: ${error.message}`)
    }
  }

  #before(receipt: ReceiptReference): string {
    return this.#committed.has(receipt) ? ', which a node called committed before' : ''
  }
}
