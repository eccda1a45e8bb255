/**
 * Keeps the record of the ack rule in the log of a node that may be promoted.
 *
 * Decides: up to where the node's own slot may go. Leaves to others: what the record says (replication), when a leader says it again.
 *
 * 1. Without a coordinator the log is all that a candidate knows the rule from. A leader says it again before its own log lets go of it;
 *    a follower, whose checkpoints come at other times, keeps the newest one that it has.
 */
import type { Log, Lsn } from '@understudy/contracts'
import { newestAckRecord } from '@understudy/replication'

export class RuleKeeper {
  readonly #log: Log
  #lookedTo: Lsn = 0
  #crc: number | undefined
  #newest: { readonly lsn: Lsn; readonly asks: boolean } | undefined

  constructor(log: Log) {
    this.#log = log
  }

  readonly keepsFrom = (lsn: Lsn): Lsn => {
    const { durable } = this.#log
    // It was cut meanwhile, and may say something else.
    if (
      this.#lookedTo > durable ||
      (this.#lookedTo >= this.#log.first && this.#log.crcAt(this.#lookedTo) !== this.#crc)
    ) {
      this.#lookedTo = 0
      this.#newest = undefined
    }
    this.#newest = newestAckRecord(this.#log, this.#lookedTo + 1) ?? this.#newest
    this.#lookedTo = durable
    this.#crc = this.#log.crcAt(durable)
    if (this.#newest?.asks !== true) return lsn
    return Math.min(lsn, this.#newest.lsn - 1)
  }
}
