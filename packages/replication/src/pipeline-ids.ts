/** The ids of a pipeline, from when its storage is at the end of the log: before that only what followers said is kept. */
import type { LogPoint, Lsn } from '@understudy/contracts'
import type { AckGate } from './ack-gate.ts'
import type { MemberProgress } from './ack-tracker.ts'
import { IdGate, type IdStatus } from './id-gate.ts'
import type { CommitPipelineOptions } from './pipeline-api.ts'
import { isOwn, type PendingWrite } from './write-queue.ts'

interface Around<T> {
  readonly gate: AckGate<T>
  /** Runs a group of the leader's own. */
  readonly own: (body: () => void) => Promise<LogPoint>
}

export class PipelineIds<C, T> {
  readonly #options: CommitPipelineOptions<C, T>
  readonly #around: Around<T>
  #gate: IdGate | undefined
  readonly #progress = new Map<string, MemberProgress>()

  constructor(options: CommitPipelineOptions<C, T>, around: Around<T>) {
    this.#options = options
    this.#around = around
  }

  /** Throws what reading the ceilings throws. */
  start(): void {
    const { storage, log, clock, node, ids = {} } = this.#options
    if (storage.ids === undefined || ids === false) return
    const { gate, own } = this.#around
    this.#gate = new IdGate({
      table: storage.ids,
      log,
      clock,
      node,
      options: ids,
      heldByRule: () => gate.heldByRule,
      look: () => gate.look(),
      ask: () => void own(() => undefined).catch(() => undefined),
    })
    for (const [name, progress] of this.#progress) this.#gate.follower(name, progress)
    this.#progress.clear()
  }

  get gate(): IdGate | undefined {
    return this.#gate
  }

  get status(): IdStatus | undefined {
    return this.#gate?.status()
  }

  follower(name: string, progress: MemberProgress | undefined): void {
    if (this.#gate !== undefined) this.#gate.follower(name, progress)
    else if (progress !== undefined) this.#progress.set(name, progress)
    else this.#progress.delete(name)
  }

  durable(lsn: Lsn, [first]: readonly PendingWrite<T>[]): void {
    const body = first?.body
    this.#gate?.durable(lsn, isOwn(body) ? (body.grants ?? new Set()) : undefined)
  }

  /** Whether the answers of the group that is durable wait for a ceiling. */
  readonly holds = (): boolean => this.#gate?.holds() === true

  close(): void {
    this.#gate?.close()
  }
}
