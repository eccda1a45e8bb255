/**
 * The way back: what a payload did, undone from the payload alone.
 *
 * Decides: which payloads hold all that this needs, and the changes that undo a step. Leaves to others: the order of
 * records, running the changes (`applier.ts`).
 *
 * 1. Deletes and updates carry the old values, an insert its key, and a row whose place an insert took is in `replaced`.
 * 2. Within a step first what was inserted goes, then updates turn back, then what was deleted or replaced returns: so no
 *    row returns to a key that is still taken.
 * 3. What rows do not show (counters, pragmas, statistics) stands in `before`. A payload that lacks what it needs is refused as
 *    a whole, before anything is done; so is one with a schema change, whose old schema no payload holds.
 */
import { decodeChangesetRaw, encodeChangeset, type Change, type RawValue } from '@understudy/changeset'
import { UnderstudyError } from '@understudy/contracts'
import type { Plan, RowsStep } from './decode.ts'
import type { PlainValue, SequenceValue, Sequences } from './payload.ts'

/** Why a plan cannot be undone, in a few words; `undefined` when it can. */
export function cannotUndo(plan: Plan): string | undefined {
  const { steps, triggers, sequences, userVersion, applicationId, statistics, before } = plan
  if (steps.some(({ kind }) => kind === 'schema')) return 'it changes the schema'
  if (triggers !== undefined) return 'it changes triggers'
  const asksForBefore =
    sequences !== undefined ||
    userVersion !== undefined ||
    applicationId !== undefined ||
    statistics !== undefined ||
    steps.some((step) => step.kind === 'rows' && step.tables.some(({ replace }) => replace))
  if (!asksForBefore) return undefined
  const known =
    before !== undefined &&
    (userVersion === undefined || before.userVersion !== undefined) &&
    (applicationId === undefined || before.applicationId !== undefined) &&
    (statistics === undefined || before.statistics !== undefined)
  return known ? undefined : 'it does not say all that was there before'
}

/** `SNAPSHOT_REQUIRED`, for a payload that cannot be undone. */
export function notUndoable(why: string): UnderstudyError {
  return new UnderstudyError(
    'SNAPSHOT_REQUIRED',
    `A row record cannot be undone from itself: ${why}. Nothing was changed. Let the node bootstrap: only pages that differ travel.`,
    { why },
  )
}

/** A changeset that undoes a step, with the number of its changes. */
export interface Inverse {
  readonly changeset: Uint8Array
  readonly changes: number
  readonly updates: number
}

export function inverseOf(step: RowsStep): Inverse {
  const gone: Change<RawValue>[] = []
  const back: Change<RawValue>[] = []
  const updates: Change<RawValue>[] = []
  for (const changeset of [step.strict, step.replacing]) {
    for (const change of decodeChangesetRaw(changeset)) {
      const { operation, before, after } = change
      if (operation === 'insert') gone.push({ ...change, operation: 'delete', before: after, after: [] })
      else if (operation === 'delete')
        back.push({ ...change, operation: 'insert', before: [], after: before })
      else updates.push(turned(change))
    }
  }
  back.push(...decodeChangesetRaw(step.replaced))
  const changes = [...gone, ...updates, ...back]
  return { changeset: encodeChangeset(changes), changes: changes.length, updates: updates.length }
}

/** A key stands on the old side alone. */
function turned(change: Change<RawValue>): Change<RawValue> {
  const { key, before, after } = change
  return {
    ...change,
    before: after.map((value, index) => (key[index] === 0 ? value : before[index])),
    after: before.map((value, index) => (key[index] === 0 ? value : undefined)),
  }
}

/** The counters before a group, from those after it. */
export function countersBefore(
  after: readonly (readonly PlainValue[])[],
  changed: Sequences | undefined,
  before: readonly SequenceValue[],
): (readonly PlainValue[])[] {
  if (changed === undefined) return [...after]
  if (changed.all) return before.map(({ name, value }) => [name, value])
  const old = new Map(before.map(({ name, value }) => [name, value]))
  const named = new Set(changed.sequences.map(({ name }) => name))
  return after.flatMap((row) => {
    const name = row[0] as PlainValue
    if (!named.has(name)) return [row]
    return old.has(name) ? [[name, old.get(name) as PlainValue]] : []
  })
}
