/**
 * What a leader publishes while it leads: its rules of acks, before they are in force, and its ceilings of ids, before they are used.
 *
 * 1. One publication at a time, each over exactly the version that was seen: what somebody else changed meanwhile (a pause) is kept.
 * 2. Only under the lease of this reign. A leader that was replaced publishes nothing.
 * 3. An outcome that is unknown is looked up, and the change made again where it is missing.
 */
import { isUnderstudyError, UnderstudyError, type PublishedState } from '@understudy/contracts'
import type { Member } from './member.ts'
import type { Reign } from './reign.ts'

export interface Change {
  readonly acks?: PublishedState['acks']
  /** Highest ids that may be given, by table: of those that are named. */
  readonly ceilings?: ReadonlyMap<string, bigint>
  /** Tables that are gone. */
  readonly forget?: readonly string[]
}

/** Each try takes over what somebody else published meanwhile; more of them than that is no chance. */
const TRIES_MAX = 20

/** Resolves at once where there is no coordinator. Rejects with `NOT_LEADER`, `COORDINATOR_UNAVAILABLE`, `COORDINATOR_UNCERTAIN`, `LEASE_LOST`. */
export async function publish(me: Member, change: Change): Promise<void> {
  const { coordinator } = me.settings
  if (coordinator === undefined) return
  const { reign } = me
  if (reign?.lease === undefined) throw notLeading(me)
  for (let tries = 1; ; tries++) {
    const held = tries === 1 ? me.sight.held : await coordinator.observe()
    if (me.reign !== reign) throw notLeading(me)
    if (held?.state?.runId !== reign.promise.runId) {
      if (tries < 3) continue
      throw notLeading(me)
    }
    const { revision, state } = held
    if (isDone(state, change)) return
    try {
      await put(me, reign, merged(state, change), revision, change.forget)
      return
    } catch (error) {
      const isOver = tries >= TRIES_MAX || !isUnderstudyError(error)
      if (isOver || (error.code !== 'COORDINATOR_CONFLICT' && error.code !== 'COORDINATOR_UNCERTAIN'))
        throw error
    }
  }
}

async function put(
  me: Member,
  reign: Reign,
  state: PublishedState,
  expected: string,
  forget: readonly string[] | undefined,
): Promise<void> {
  const { coordinator } = me.settings
  const grant = reign.lease?.grant
  if (coordinator === undefined || grant === undefined) return
  const revision = await coordinator.publish(state, { expected, grant, ...(forget && { forget }) })
  const { held } = me.sight
  if (held !== undefined) me.sight.learned({ ...held, revision, state })
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
