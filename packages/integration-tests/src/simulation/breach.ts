/** What a simulation reports when a promise is broken. */

/** Every invariant with its sentence; the README lists the same, and a test compares. */
export const INVARIANTS = {
  I1: 'Durable ack: an acknowledged write is in the history of the leader, through every crash, and at the end on every node.',
  I3: 'Log matching: the same epoch and LSN have the same bytes, CRC and predecessor on every node; nobody is ever ahead of the leader.',
  I4: 'Epochs grow: within a history, over the restarts of the leader, and in what a follower has seen.',
  I5: 'State equality: what a node shows at a position is exactly what the history up to there makes.',
  I8: 'Atomic apply: a node stands between transactions, never inside one, and no transaction stays without its last part.',
  I9: 'Nothing invented: what was reported as not written, or was never sent, is nowhere.',
  I10: 'Exactly once: no write is in the history twice, none is applied twice.',
  I11: 'Corruption detected: every record and snapshot that is read or sent has the CRC of its bytes.',
  I12: 'Liveness: when the faults stop, all nodes converge within the time allowed.',
  I13: 'Bounded: queues, windows and timers stay within their limits.',
  I14: 'Fail-stop: a node fails only for a fault of its disk, and acknowledges nothing afterwards.',
  I15: 'Retention: a log never begins above what its own database may still need after a crash.',
  I16: 'Truthful status: what a follower reports as durable or applied is so.',
  A1: 'Acked is held: what a receipt says that members have, they have, and the log of a member keeps it through every crash.',
  A2: 'Strict: no reader of any node sees what the set of the ack rule does not have.',
  A3: 'Old and new: a rule that asks for acks ends only when members of it and of the new one have the record that names both.',
  A4: 'Elections: any nodes that may elect by the rules that they know of hold every acknowledged commit, at each moment of a change.',
  R1: 'Receipts never lie: no node calls a receipt lost that is not, or committed before the set of its rule has it; what one called committed none calls lost.',
  X1: 'Exposure is exact: the log lists every commit whose receipt says degraded, and no strict one; every node lists the same.',
  W1: 'Write-ahead: nothing is shown before it is durable in the own log, nothing answered or sent before it is durable on the leader.',
} as const
export type InvariantId = keyof typeof INVARIANTS

export class InvariantBreach extends Error {
  override readonly name: string = 'InvariantBreach'
  readonly id: InvariantId

  constructor(id: InvariantId, what: string) {
    super(`${id}: ${what}`)
    this.id = id
  }
}
