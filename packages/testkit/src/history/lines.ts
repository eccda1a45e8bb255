/**
 * Histories as lines of JSON, one for each thing that happened, so that a run that is killed leaves all that it knew.
 *
 * The first line is `{"understudyHistory":1,"model":…}`. Then, in the order in which they were noticed:
 *
 *     {"type":"call","id":7,"process":"c1","kind":"write","key":"k","value":5,"at":12.5}
 *     {"type":"ok","id":7,"at":13.75,"position":"1/20"}      also "output"
 *     {"type":"fail","id":8,"at":14,"error":"NOT_WRITTEN"}   also "unknown"
 *     {"type":"note","at":15,"text":"cut a from b"}
 *     {"type":"final","key":"k","rows":[[5,"1/20"]]}         the final state, in its order; the position may be missing
 *
 * Times are milliseconds of one monotonic clock. A call without an answer is of unknown outcome. A last line that was cut off is left out.
 */
import { UnderstudyError } from '@understudy/contracts'
import type { FinalRow } from './acked-writes.ts'
import type { Note } from './explain.ts'
import type { ActionKind, Operation, Output, Scalar } from './operation.ts'

export type HistoryModel = 'register' | 'set' | 'append' | 'acked-writes'

export type HistoryEvent =
  | { readonly understudyHistory: 1; readonly model: HistoryModel }
  | {
      readonly type: 'call'
      readonly id: number
      readonly process: string
      readonly kind: ActionKind
      readonly key: string
      readonly value?: Scalar
      readonly from?: Scalar
      readonly at: number
    }
  | {
      readonly type: 'ok'
      readonly id: number
      readonly at: number
      readonly output?: Output
      readonly position?: string
    }
  | { readonly type: 'fail' | 'unknown'; readonly id: number; readonly at: number; readonly error?: string }
  | { readonly type: 'note'; readonly at: number; readonly text: string }
  | {
      readonly type: 'final'
      readonly key: string
      readonly rows: readonly (readonly [Scalar, string?])[]
    }

export interface History {
  readonly model: HistoryModel
  readonly operations: readonly Operation[]
  readonly notes: readonly Note[]
  /** By key. */
  readonly final: ReadonlyMap<string, readonly FinalRow[]>
}

const MODELS: readonly string[] = ['register', 'set', 'append', 'acked-writes'] satisfies HistoryModel[]

/** Reads what `encodeEvent` wrote. Throws `INVALID_ARGUMENT` with the number of the line. */
export function parseHistory(text: string): History {
  const lines = text.split('\n')
  // Without an end of line it may be a part of one only.
  const last = lines.pop() ?? ''
  const events = lines.map(parseLine)
  if (last !== '') {
    try {
      events.push(parseLine(last, lines.length))
    } catch {
      // Cut off.
    }
  }
  return historyOf(events)
}

function parseLine(line: string, index: number): HistoryEvent {
  try {
    const event: unknown = JSON.parse(line)
    if (typeof event === 'object' && event !== null) return event as HistoryEvent
  } catch (error) {
    throw malformed(index, 'it is no JSON', error)
  }
  throw malformed(index, 'it is no object')
}

function malformed(index: number, why: string, cause?: unknown): UnderstudyError {
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    `Line ${index + 1} of the history cannot be used: ${why}. Nothing was checked. Give a file that a recorder of histories wrote.`,
    { cause },
  )
}

/** The same of events that were not written anywhere. */
export function historyOf(events: readonly HistoryEvent[]): History {
  const [head] = events
  if (
    head === undefined ||
    !('understudyHistory' in head) ||
    head.understudyHistory !== 1 ||
    !MODELS.includes(head.model)
  )
    throw malformed(0, 'it does not begin a history of version 1')
  const operations = new Map<number, Operation>()
  const notes: Note[] = []
  const final = new Map<string, FinalRow[]>()
  for (const [index, event] of events.entries()) {
    if ('understudyHistory' in event) continue
    switch (event.type) {
      case 'call':
        if (operations.has(event.id)) throw malformed(index, `${event.id} is called twice`)
        operations.set(event.id, calledOf(event))
        break
      case 'ok':
      case 'fail':
      case 'unknown': {
        const called = operations.get(event.id)
        if (called === undefined) throw malformed(index, `${event.id} is answered before it is called`)
        operations.set(event.id, answeredOf(called, event))
        break
      }
      case 'note':
        notes.push({ atMs: event.at, text: event.text })
        break
      case 'final':
        final.set(event.key, [
          ...(final.get(event.key) ?? []),
          ...event.rows.map(([value, position]) => ({ value, ...(position !== undefined && { position }) })),
        ])
        break
      default:
        throw malformed(index, 'its type is not known')
    }
  }
  return { model: head.model, operations: [...operations.values()], notes, final }
}

function calledOf(event: Extract<HistoryEvent, { type: 'call' }>): Operation {
  const { type: _, at, ...action } = event
  return { ...action, outcome: 'unknown', invokedAtMs: at, completedAtMs: Infinity }
}

function answeredOf(
  called: Operation,
  event: Extract<HistoryEvent, { type: 'ok' | 'fail' | 'unknown' }>,
): Operation {
  const { type, at, id: _, ...answer } = event
  return { ...called, ...answer, outcome: type, completedAtMs: type === 'unknown' ? Infinity : at }
}

export function encodeEvent(event: HistoryEvent): string {
  return `${JSON.stringify(event)}\n`
}

/** The lines of a whole history, which `parseHistory` reads back. */
export function encodeHistory({ model, operations, notes, final }: History): string {
  const moments: { atMs: number; event: HistoryEvent }[] = notes.map(({ atMs, text }) => ({
    atMs,
    event: { type: 'note', at: atMs, text },
  }))
  for (const operation of operations) {
    const { outcome, invokedAtMs, completedAtMs, output, position, error, ...action } = operation
    moments.push({ atMs: invokedAtMs, event: { type: 'call', ...action, at: invokedAtMs } })
    const { id } = operation
    const code = error === undefined ? {} : { error }
    if (outcome === 'ok')
      moments.push({
        atMs: completedAtMs,
        event: {
          type: 'ok',
          id,
          at: completedAtMs,
          ...(output !== undefined && { output }),
          ...(position !== undefined && { position }),
        },
      })
    else if (outcome === 'fail')
      moments.push({ atMs: completedAtMs, event: { type: 'fail', id, at: completedAtMs, ...code } })
    else if (error !== undefined)
      moments.push({ atMs: invokedAtMs, event: { type: 'unknown', id, at: invokedAtMs, ...code } })
  }
  // Stable: a call stands before an answer of the same moment, as it was put there before.
  moments.sort((a, b) => a.atMs - b.atMs)
  const rows = [...final].map(([key, kept]): HistoryEvent => ({ type: 'final', key, rows: kept.map(pairOf) }))
  const events = [{ understudyHistory: 1, model } as const, ...moments.map(({ event }) => event), ...rows]
  return events.map(encodeEvent).join('')
}

function pairOf({ value, position }: FinalRow): [Scalar, string?] {
  return position === undefined ? [value] : [value, position]
}

/** One history of several that were recorded with one clock and one origin. */
export function mergeHistories(histories: readonly History[]): History {
  const [first] = histories
  if (first === undefined || histories.some(({ model }) => model !== first.model))
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      'Histories of one model make one history. Nothing was merged; give at least one, and all of one model.',
    )
  const operations = histories.flatMap(({ operations }) => operations)
  return {
    model: first.model,
    operations: operations
      .toSorted((a, b) => a.invokedAtMs - b.invokedAtMs)
      .map((operation, id) => ({ ...operation, id })),
    notes: histories.flatMap(({ notes }) => notes),
    final: new Map(histories.flatMap(({ final }) => [...final])),
  }
}
