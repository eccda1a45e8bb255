/**
 * Decisions that are kept: each with all its observations, as one line of JSON that can be replayed.
 *
 * Decides: the form of the line, and what `explain` says of it. Leaves to others: where lines are kept, and for how long.
 *
 * Validity conditions:
 * 1. A line holds everything that `decide` was given: replayed by the same version it gives the same decision.
 * 2. A line by another version of the rules may give another one; `explain` says so, and shows both.
 */
import { formatPosition, UnderstudyError } from '@understudy/contracts'
import { decide } from './decide.ts'
import type { Action, Decision } from './decision.ts'
import type { Observations } from './observations.ts'

/** Goes up with each change of `decide` that can change a decision. */
export const DECISION_VERSION = 2

export interface DecisionRecord {
  readonly version: number
  /** Wall clock, milliseconds since the Unix epoch: for people. */
  readonly at: number
  readonly observations: Observations
  readonly decision: Decision
}

export interface Explanation {
  readonly record: DecisionRecord
  /** What the observations give now. */
  readonly replayed: Decision
  readonly isSame: boolean
  /** For people; several lines. */
  readonly text: string
}

/** Decides, and gives the line to keep, without its end of line. */
export function decideAndRecord(
  observations: Observations,
  at: number,
): { decision: Decision; line: string } {
  const decision = decide(observations)
  return { decision, line: encodeRecord({ version: DECISION_VERSION, at, observations, decision }) }
}

export function encodeRecord(record: DecisionRecord): string {
  return JSON.stringify(record, (_, value: unknown) =>
    // JSON has no infinity; detectors do.
    value === Infinity ? 'Infinity' : value === -Infinity ? '-Infinity' : value,
  )
}

/** Throws `STATE_CORRUPT` for what is no record, `FORMAT_VERSION` for one of a newer version. */
export function decodeRecord(line: string): DecisionRecord {
  let value: unknown
  try {
    value = JSON.parse(line, (key, value: unknown) =>
      typeof value === 'string' && NUMBERS.has(key) ? Number(value) : value,
    )
  } catch (cause) {
    throw corrupt('it is no JSON', cause)
  }
  const record = value as Partial<DecisionRecord> | null
  if (typeof record !== 'object' || record === null || typeof record.version !== 'number')
    throw corrupt('it has no version')
  if (record.version > DECISION_VERSION)
    throw new UnderstudyError(
      'FORMAT_VERSION',
      `The decision was recorded by a newer version (${record.version}, this one reads up to ${DECISION_VERSION}). Nothing was changed. Use the newer version to explain it.`,
    )
  const { observations, decision, at } = record
  const isWhole =
    typeof at === 'number' &&
    Array.isArray(observations?.members) &&
    typeof observations.coordinator?.kind === 'string' &&
    typeof observations.intent?.kind === 'string' &&
    typeof observations.verdict?.verdict === 'string' &&
    typeof observations.policy?.mode === 'string' &&
    typeof decision?.action?.kind === 'string'
  if (!isWhole) throw corrupt('a part is missing')
  return record as DecisionRecord
}

/** Replays a line of the record, and says what it was about. Throws as `decodeRecord` does. */
export function explain(line: string): Explanation {
  const record = decodeRecord(line)
  const replayed = decide(record.observations)
  const isSame = JSON.stringify(replayed) === JSON.stringify(record.decision)
  return { record, replayed, isSame, text: textOf(record, replayed, isSame) }
}

/** Numbers that may be infinite. */
const NUMBERS: ReadonlySet<string> = new Set(['silentMs', 'freeAtMs', 'untilMs', 'holdUntilMs', 'sinceMs'])

function textOf({ at, observations, decision }: DecisionRecord, replayed: Decision, isSame: boolean): string {
  const { leader, self, intent, coordinator, verdict } = observations
  const lines = [
    `${new Date(at).toISOString()}  ${self} decided: ${actionText(decision.action)}`,
    `  asked by     ${intent.kind === 'automatic' ? 'nobody' : `a person (${intent.kind})`}`,
    `  leader       ${leader ?? 'none'}, held ${verdict.verdict}`,
    `  coordinator  ${coordinator.kind}`,
    ...(decision.observed === undefined ? [] : [`  would have   ${actionText(decision.observed)}`]),
    ...(decision.actor === undefined ? [] : [`  to be done by ${decision.actor}`]),
    ...decision.reasons.map((reason) => `  because      ${reason}`),
    ...decision.rejected.map(({ name, reason }) => `  not ${name}: ${reason}`),
    ...(decision.mayLose === undefined
      ? []
      : [`  may lose     acknowledged commits after ${formatPosition(decision.mayLose.after)}`]),
    ...(decision.action.kind === 'refuse'
      ? decision.action.help.map((help) => `  would help   ${help}`)
      : []),
    ...observations.members.map(
      ({ name, report }) =>
        `  saw          ${name}: ${report === undefined ? 'no answer' : `${report.state} at ${formatPosition(report.end)}, applied ${report.appliedLsn}`}`,
    ),
    isSame ? '  replayed     the same' : `  replayed     ANOTHER: ${actionText(replayed.action)}`,
  ]
  return lines.join('\n')
}

/** An action in a few words. */
export function actionText(action: Action): string {
  switch (action.kind) {
    case 'none':
      return 'nothing'
    case 'wait':
      return `wait until ${Math.round(action.untilMs)}`
    case 'stopReceivers':
      return `stop the receivers of ${action.names.join(', ')}`
    case 'promise':
      return `ask ${action.voters.join(', ')} to promise the epoch ${action.epoch}`
    case 'fetchTail':
      return `${action.to} fetches ${formatPosition(action.after)} to ${formatPosition(action.upTo)} from ${action.from}`
    case 'promote':
      return `promote ${action.name} in the epoch ${action.epoch}, from ${formatPosition(action.from)}`
    case 'refuse':
      return 'refuse'
  }
}

function corrupt(what: string, cause?: unknown): UnderstudyError {
  return new UnderstudyError(
    'STATE_CORRUPT',
    `A line is no record of a decision: ${what}. Nothing was changed. Look at the line, and leave it out to read the others.`,
    { ...(cause !== undefined && { cause }) },
  )
}
