/**
 * Receipts as a leader hands them out: plain data that can be stored as JSON, with a method for as long as the node lives.
 *
 * 1. Only data is enumerable: JSON, spreads and clones of a receipt are what it says, and nothing else.
 */
import type {
  AckLevel,
  EpochHistory,
  LogPoint,
  Receipt,
  ReceiptMember,
  ReceiptReference,
} from '@understudy/contracts'

export interface ReachOptions {
  /** How long to wait, in milliseconds. Default 10,000. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

/** Who has a commit, and how. */
export interface Reached {
  readonly level: AckLevel
  /** Followers that have it at this level now, at least as many as were asked for, by name. */
  readonly members: readonly ReceiptMember[]
}

/** Of a leader: waits until so many of its followers, of whatever name, have a commit at a level. */
export interface Reaches {
  reach(receipt: ReceiptReference, level: AckLevel, count: number, options?: ReachOptions): Promise<Reached>
}

/** What a write resolves with. */
export interface WriteReceipt extends Receipt {
  /**
   * Waits until `count` followers, of whatever name, have the commit at `level`; see `reach` of the leader. A copy of the
   * receipt does not have this method: give it to `reach` of a node.
   */
  reach(level: AckLevel, count?: number, options?: ReachOptions): Promise<Reached>
}

/** Where the receipts of a group come from. */
export interface ReceiptOrigin {
  readonly leader: Reaches
  readonly cluster: string
  readonly history: EpochHistory
}

/** Run id of an epoch. */
export function runIdOf(history: EpochHistory, epoch: number): string {
  const newest = history.at(-1)
  const entry = newest?.number === epoch ? newest : history.find(({ number }) => number === epoch)
  return entry?.runId ?? ''
}

export class LeaderReceipt implements WriteReceipt {
  readonly cluster: string
  readonly position: Receipt['position']
  readonly runId: string
  readonly index: number
  readonly crc: number
  readonly asked: AckLevel
  readonly reached: AckLevel
  readonly members: readonly ReceiptMember[]
  readonly degraded: boolean
  readonly #leader: Reaches

  constructor(
    leader: Reaches,
    of: {
      readonly cluster: string
      readonly runId: string
      readonly point: LogPoint
      readonly index: number
    },
    acks: Pick<Receipt, 'asked' | 'reached' | 'members' | 'degraded'>,
    position: Receipt['position'] = { epoch: of.point.epoch, lsn: of.point.lsn },
  ) {
    this.#leader = leader
    this.cluster = of.cluster
    this.position = position
    this.runId = of.runId
    this.index = of.index
    this.crc = of.point.crc
    this.asked = acks.asked
    this.reached = acks.reached
    this.members = acks.members
    this.degraded = acks.degraded
  }

  reach(level: AckLevel, count: number = 1, options: ReachOptions = {}): Promise<Reached> {
    return this.#leader.reach(this, level, count, options)
  }
}
