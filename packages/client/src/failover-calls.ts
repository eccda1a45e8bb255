/** The calls of a client about who leads: they go to one node, which tells the other members. */
import type { RequestBody } from '@understudy/protocol'
import type { CallOptions } from './client.ts'

export interface PromoteCallOptions extends CallOptions {
  /** Name of the member that is to lead. Default: the node that is asked. */
  readonly target?: string
  /** Acknowledged commits may be lost. Default false. */
  readonly acceptLoss?: boolean
}

export interface SwitchoverCallOptions extends CallOptions {
  /** Name of the follower that is to lead. Default: the best one. */
  readonly target?: string
}

export interface ChangedLeader {
  readonly leader: string
  readonly epoch: number
  /** From the wish to the first accepted write, in milliseconds. */
  readonly tookMs: number
  /** Acknowledged commits after this position may be lost: only where that was accepted. */
  readonly mayLose?: {
    readonly after: { readonly epoch: number; readonly lsn: number }
    readonly records?: number
  }
}

/** Each rejects with `FAILOVER_REFUSED`, whose message says why and what would help, and as every call does. */
export interface FailoverCalls {
  /** Makes a member the leader, within `timeoutMs`. `TIMEOUT`: it may still happen. */
  promote(options?: PromoteCallOptions): Promise<ChangedLeader>
  /** The leader hands over to a follower, within `timeoutMs`; no write is lost. `TIMEOUT`: the old one leads on. */
  switchover(options?: SwitchoverCallOptions): Promise<ChangedLeader>
  /** Automatic failover of the whole cluster, off or on. */
  pauseFailover(paused: boolean, options?: CallOptions): Promise<void>
  /** The newest decisions of the node about who leads, oldest first: lines for `explain` of `@understudy/failover`. Default: 100 of them. */
  decisions(limit?: number, options?: CallOptions): Promise<readonly string[]>
}

const DECISIONS = 100

/** Asks, and gives the JSON of the answer; `fits` says whether it can be one. */
export type AskJson = <T>(
  body: RequestBody,
  options: CallOptions,
  fits: (value: unknown) => boolean,
) => Promise<T>

/** `timeoutMs`: of a call that names none. */
export function failoverCalls(ask: AskJson, timeoutMs: number): FailoverCalls {
  return {
    promote: ({ target, acceptLoss = false, ...call } = {}) => {
      const named = target === undefined ? {} : { target }
      const body = { kind: 'promote', ...named, acceptLoss, timeoutMs: call.timeoutMs ?? timeoutMs } as const
      return ask(body, call, isChange)
    },
    switchover: ({ target, ...call } = {}) => {
      const named = target === undefined ? {} : { target }
      return ask({ kind: 'switchover', ...named, timeoutMs: call.timeoutMs ?? timeoutMs }, call, isChange)
    },
    pauseFailover: async (paused, options = {}) => {
      await ask({ kind: 'pauseFailover', paused }, options, () => true)
    },
    decisions: (limit = DECISIONS, options = {}) => ask({ kind: 'decisions', limit }, options, isLines),
  }
}

function isChange(value: unknown): boolean {
  const { leader, epoch } = (value ?? {}) as Partial<ChangedLeader>
  return typeof leader === 'string' && typeof epoch === 'number'
}

function isLines(value: unknown): boolean {
  return Array.isArray(value) && value.every((line) => typeof line === 'string')
}
