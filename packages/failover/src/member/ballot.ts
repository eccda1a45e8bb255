/**
 * The promises of this node, written down: the voter with its file.
 *
 * 1. A promise binds from the moment it is asked; the answer comes after it is durable.
 * 2. A disk that does not take it: the promise still binds, and nobody is told that it was given.
 */
import { UnderstudyError, type Files } from '@understudy/contracts'
import type { Promised } from '../decide/observations.ts'
import { Voter, type PromiseAnswer, type PromiseRequest } from '../promotion/voter.ts'
import { readPromise, writePromise } from './promise-file.ts'

export interface BallotOptions {
  readonly files: Files
  readonly directory: string
  readonly startedAtMs: number
  /** See `VoterSettings`. */
  readonly grantMsMax: number
  /** Before it is written: this node is bound by it. */
  readonly bound: (promised: Promised) => void
}

export type Vote =
  | { readonly granted: true }
  | { readonly granted: false; readonly reason: string; readonly against?: Promised }

export class Ballot {
  readonly #options: BallotOptions
  readonly #voter: Voter

  /** Throws `STATE_CORRUPT`, `FORMAT_VERSION`. */
  constructor(options: BallotOptions) {
    this.#options = options
    const promised = readPromise(options.files, options.directory)
    const { grantMsMax } = options
    // One that never followed anybody said nothing before it started.
    const startedAtMs = promised === undefined ? -Infinity : options.startedAtMs
    this.#voter = new Voter({ ...(promised && { promised }), startedAtMs, grantMsMax })
  }

  /** What is durable. */
  get promised(): Promised | undefined {
    return this.#voter.promised
  }

  ask(request: PromiseRequest, nowMs: number, hearsLeader: boolean): Vote {
    return this.#keep(this.#voter.ask(request, nowMs, hearsLeader))
  }

  /** A leader of this epoch shows itself. */
  follow(leader: Promised): Vote {
    return this.#keep(this.#voter.follow(leader))
  }

  mayAck(epoch: number, runId: string): boolean {
    return this.#voter.mayAck(epoch, runId)
  }

  grant(leader: Promised, forMs: number, nowMs: number, hearsLeader: boolean): number {
    return this.#voter.grant(leader, forMs, nowMs, hearsLeader)
  }

  #keep(answer: PromiseAnswer): Vote {
    if (answer.kind === 'granted') return { granted: true }
    if (answer.kind === 'refused')
      return { granted: false, reason: answer.reason, ...(answer.promised && { against: answer.promised }) }
    const { files, directory, bound } = this.#options
    bound(answer.promised)
    try {
      writePromise(files, directory, answer.promised)
    } catch (error) {
      return { granted: false, reason: `its disk does not take the promise: ${reasonOf(error)}` }
    }
    this.#voter.persisted(answer.promised)
    return { granted: true }
  }
}

/** Why a leader is not followed. */
export function notFollowed(
  leader: Promised,
  { reason, against }: Extract<Vote, { granted: false }>,
): UnderstudyError {
  const isFork = against?.epoch === leader.epoch && against.runId !== leader.runId
  return new UnderstudyError(
    isFork ? 'EPOCH_FORK' : 'EPOCH_STALE',
    `${leader.candidate} leads the epoch ${leader.epoch} (run ${leader.runId}), and this node does not follow it: ${reason}. Nothing of it was taken.`,
    { epoch: against?.epoch ?? leader.epoch },
  )
}

export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
