/** What must hold in every run, whatever happened. Knows nothing of how the nodes decide. */
import { comparePositions, formatPosition } from '@understudy/contracts'
import type { Decision, Rules } from '../../src/index.ts'
import { holds, pointOf, type Entry, type Log } from './log.ts'

export const INVARIANTS = {
  E1: 'In one epoch one node acknowledges.',
  E2: 'A commit that was acknowledged by its rule is in the log of every leader of a later epoch.',
  E3: 'No follower acknowledges in an epoch after it promised a higher one.',
  E4: 'Nobody shows anything after another node began a higher epoch, where a coordinator gives leases.',
  E5: 'The forecast names who then leads, or that nobody does, and what is lost.',
  E6: 'What is lost all the same, because the cluster is asynchronous or a person accepted it, lies after the position that the decision named.',
  E7: 'When the faults stop, one node leads, and all the others have its log.',
  E8: 'A recorded decision gives itself when it is replayed.',
} as const

export type InvariantId = keyof typeof INVARIANTS

export class Breach extends Error {
  readonly invariant: InvariantId

  constructor(invariant: InvariantId, message: string) {
    super(`breach ${invariant}: ${message}`)
    this.invariant = invariant
  }
}

interface Acked {
  readonly entry: Entry
  readonly by: string
  isGivenUp: boolean
}

interface Begun {
  readonly name: string
  readonly epoch: number
  readonly from: Log
  readonly decision: Decision | undefined
}

export class Checker {
  failovers = 0
  losses = 0
  refusals = 0
  /** A person accepted a loss at some time of this run. */
  isLossAccepted = false
  /** What a run went through: one that never meets a thing says nothing about it. */
  readonly met: Record<string, number> = {}
  readonly #hasLeases: boolean
  readonly #ackers = new Map<string, string>()
  readonly #acked: Acked[] = []
  readonly #begun: Begun[] = []
  readonly #promised = new Map<string, number>()

  constructor(hasLeases: boolean) {
    this.#hasLeases = hasLeases
  }

  meets(kind: string): void {
    this.met[kind] = (this.met[kind] ?? 0) + 1
  }

  /** A follower answers that it promised. */
  promiseAnswered(name: string, epoch: number): void {
    this.#promised.set(name, Math.max(epoch, this.#promised.get(name) ?? 0))
  }

  followerAcks(name: string, epoch: number): void {
    const promised = this.#promised.get(name) ?? 0
    if (epoch < promised) throw new Breach('E3', `${name} promised ${promised} and acknowledged in ${epoch}`)
  }

  /** A leader tells a client that a commit is done. */
  acked(name: string, entry: Entry): void {
    const key = this.#hasLeases ? String(entry.epoch) : `${entry.epoch}/${entry.runId}`
    const acker = this.#ackers.get(key)
    if (acker !== undefined && acker !== name)
      throw new Breach('E1', `${acker} and ${name} acknowledge in the epoch ${entry.epoch}`)
    this.#ackers.set(key, name)
    const acked = { entry, by: name, isGivenUp: false }
    for (const begun of this.#begun) {
      if (begun.epoch <= entry.epoch) continue
      if (this.#hasLeases && begun.name !== name)
        throw new Breach(
          'E4',
          `${name} acknowledges in ${entry.epoch} after ${begun.name} began ${begun.epoch}`,
        )
      this.#compare(acked, begun)
    }
    this.#acked.push(acked)
  }

  began(name: string, epoch: number, from: Log, decision: Decision | undefined): void {
    const begun = { name, epoch, from, decision }
    for (const acked of this.#acked) if (acked.entry.epoch < epoch) this.#compare(acked, begun)
    this.#begun.push(begun)
  }

  /** Commits on this log that were acknowledged and not given up. */
  ackedOn(log: Log): number {
    return this.#acked.filter((acked) => !acked.isGivenUp && holds(log, acked.entry)).length
  }

  /** A person gave up one of two runs that share a number. */
  dropRun(runId: string): void {
    for (const acked of this.#acked) {
      if (acked.entry.runId !== runId || acked.isGivenUp) continue
      if (!this.isLossAccepted && !isLocal(acked.entry.acks))
        throw new Breach('E2', `two runs of the epoch ${acked.entry.epoch} acknowledged commits`)
      acked.isGivenUp = true
    }
  }

  /** The newest commits that were acknowledged and not given up. */
  lastAcked(): Entry | undefined {
    return this.#acked.findLast((acked) => !acked.isGivenUp)?.entry
  }

  ackedCount(): number {
    return this.#acked.length
  }

  #compare(acked: Acked, { name, epoch, from, decision }: Begun): void {
    const { entry } = acked
    if (acked.isGivenUp || holds(from, entry)) return
    const told = `${entry.epoch}/${entry.lsn} of ${acked.by}, and ${name} began ${epoch} after ${pointOf(from).epoch}/${pointOf(from).lsn} without it`
    const isAsync = isLocal(entry.acks)
    // Without leases a leader of an asynchronous cluster that is cut off goes on: two promotions are told apart afterwards.
    if (isAsync && !this.#hasLeases) {
      acked.isGivenUp = true
      return
    }
    // Whoever accepts a loss without a coordinator may make two leaders of one number: a person then chooses one of them.
    if (this.isLossAccepted && !this.#hasLeases && isFork(entry, from)) {
      acked.isGivenUp = true
      return
    }
    const after = decision?.mayLose?.after
    if (after === undefined) throw new Breach(isAsync ? 'E6' : 'E2', told)
    if (comparePositions(entry, after) <= 0)
      throw new Breach('E6', `${told}; only what follows ${formatPosition(after)} was said to be lost`)
    acked.isGivenUp = true
    this.losses++
  }
}

function isLocal({ rule, next }: Rules): boolean {
  return rule.of === undefined && (next === undefined || next.of === undefined)
}

/** Whether the two histories have different runs under one number. */
function isFork(entry: Entry, log: Log): boolean {
  const runs = new Map(log?.history.map(({ number, runId }) => [number, runId]))
  return entry.history.some(({ number, runId }) => (runs.get(number) ?? runId) !== runId)
}
