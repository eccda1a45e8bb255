/**
 * What a leader publishes while it leads: its rules of acks, before they are in force, and its ceilings of ids, before they are used.
 *
 * 1. One publication at a time, each over exactly the version that was seen: what somebody else changed meanwhile (a pause) is kept.
 * 2. Only under the lease of this reign. A leader that was replaced publishes nothing.
 * 3. An outcome that is unknown is looked up, and the change made again where it is missing.
 */
import {
  isUnderstudyError,
  UnderstudyError,
  type Coordinator,
  type Observation,
  type PublishedState,
  type PublishOptions,
} from '@understudy/contracts'
import type { Member } from './member.ts'

export interface Change {
  readonly acks?: PublishedState['acks']
  /** Highest ids that may be given, by table: of those that are named. */
  readonly ceilings?: ReadonlyMap<string, bigint>
  /** Tables that are gone. */
  readonly forget?: readonly string[]
}

/** Each try takes over what somebody else published meanwhile; more of them than that is no chance. */
const TRIES_MAX = 20

/**
 * Puts what `next` makes of the newest state in its place: from `seen`, or from what is observed, and again from what somebody else published
 * meanwhile. Resolves with what is published then; `undefined`: there was nothing to do. Rejects with what `next` throws, and as `publish` of the coordinator.
 */
export async function replaceState(
  coordinator: Coordinator,
  seen: Observation | undefined,
  next: (state: PublishedState | undefined) => PublishedState | undefined,
  options: Omit<PublishOptions, 'expected'> = {},
): Promise<{ readonly revision: string; readonly state: PublishedState } | undefined> {
  let held = seen ?? (await coordinator.observe())
  for (let tries = 1; ; tries++) {
    const state = next(held.state)
    if (state === undefined) return undefined
    try {
      return { revision: await coordinator.publish(state, { ...options, expected: held.revision }), state }
    } catch (error) {
      const isAgain =
        isUnderstudyError(error, 'COORDINATOR_CONFLICT') || isUnderstudyError(error, 'COORDINATOR_UNCERTAIN')
      if (!isAgain || tries >= TRIES_MAX) throw error
    }
    held = await coordinator.observe()
  }
}

/** Resolves at once where there is no coordinator. Rejects with `NOT_LEADER`, `COORDINATOR_UNAVAILABLE`, `COORDINATOR_UNCERTAIN`, `LEASE_LOST`. */
export async function publish(me: Member, change: Change): Promise<void> {
  const { coordinator } = me.settings
  if (coordinator === undefined) return
  const { reign, sight } = me
  const grant = reign?.lease?.grant
  if (reign === undefined || grant === undefined) throw notLeading(me)
  const { runId } = reign.promise
  const seen = sight.held?.state?.runId === runId ? sight.held : undefined
  const next = (state: PublishedState | undefined): PublishedState | undefined => {
    if (me.reign !== reign || state?.runId !== runId) throw notLeading(me)
    return isDone(state, change) ? undefined : merged(state, change)
  }
  const { forget } = change
  const done = await replaceState(coordinator, seen, next, { grant, ...(forget && { forget }) })
  // Unless the watch told of something since, which may be newer than this.
  if (done !== undefined && seen !== undefined && sight.held === seen) sight.learned({ ...seen, ...done })
}

function merged(state: PublishedState, { acks, ceilings, forget }: Change): PublishedState {
  const all = new Map(state.ceilings)
  for (const table of forget ?? []) all.delete(table)
  for (const [table, ceiling] of ceilings ?? []) {
    const before = all.get(table)
    if (before === undefined || before < ceiling) all.set(table, ceiling)
  }
  return { ...state, ...(acks && { acks }), ceilings: all }
}

function isDone(state: PublishedState, change: Change): boolean {
  const { acks, ceilings, forget = [] } = change
  if (acks !== undefined && JSON.stringify(acks) !== JSON.stringify(state.acks)) return false
  if (forget.some((table) => state.ceilings.has(table) && ceilings?.has(table) !== true)) return false
  return [...(ceilings ?? [])].every(([table, ceiling]) => (state.ceilings.get(table) ?? -1n) >= ceiling)
}

function notLeading(me: Member): UnderstudyError {
  return new UnderstudyError(
    'NOT_LEADER',
    `Node ${me.settings.self} does not lead any more, and publishes nothing. Nothing was changed.`,
  )
}
