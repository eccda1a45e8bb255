/** The verdict on what clients of a cluster recorded: their histories, the final state, and the ids that they were given. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Client } from '@understudy/client'
import type { Clock } from '@understudy/contracts'
import { checkHistory } from '@understudy/testkit/check-history'
import {
  HistoryRecorder,
  encodeHistory,
  mergeHistories,
  parseHistory,
  type History,
  type HistoryModel,
} from '@understudy/testkit/history'
import type { Operation } from '@understudy/testkit/linearizability'

export interface Evidence {
  readonly folder: string
  /** Names of the loads. */
  readonly loads: readonly string[]
  readonly notes: readonly { readonly atMs: number; readonly text: string }[]
  /** Of the leader, after all is settled. */
  readonly client: Client
  readonly clock: Clock
}

export interface JudgeOptions {
  /** An asynchronous leader may lose what it acknowledged: those writes count as unknown. Registers are not judged then. Default false. */
  readonly mayLose?: boolean
}

export interface Judgement {
  /** Acknowledged writes that are not there, where they may be lost. */
  readonly lost: number
  /** Explanations of what is wrong. */
  readonly broken: readonly string[]
  /** Unique writes by how they were answered, and how many stand there. */
  readonly writes: {
    readonly ok: number
    readonly fail: number
    readonly unknown: number
    readonly rows: number
  }
  readonly registers: { readonly ok: number; readonly fail: number; readonly unknown: number }
}

export async function judge(
  evidence: Evidence,
  { mayLose = false }: JudgeOptions = {},
): Promise<{ judgement: Judgement; files: Map<string, string> }> {
  const rows = await notesOf(evidence.client)
  const recorded = withFinal(historyOf(evidence, 'acked-writes'), rows)
  const writes = mayLose ? forgiven(recorded) : recorded
  const registers = mergeHistories([historyOf(evidence, 'register'), await finalReads(evidence)])
  const broken: string[] = []
  for (const history of mayLose ? [writes] : [writes, registers]) {
    const { verdict, explanation } = checkHistory(history)
    if (verdict !== 'kept') broken.push(explanation)
  }
  broken.push(...idBreaches(recorded.operations, rows))
  const files = new Map([
    ['acked-writes.jsonl', encodeHistory(writes)],
    ['register.jsonl', encodeHistory(registers)],
  ])
  const judgement = {
    broken,
    lost: countOf(recorded.operations).ok - countOf(writes.operations).ok,
    writes: { ...countOf(writes.operations), rows: rows.length },
    registers: countOf(registers.operations),
  }
  return { judgement, files }
}

function forgiven(history: History): History {
  const there = new Set(history.final.get('note')?.map(({ value }) => value))
  return {
    ...history,
    operations: history.operations.map((operation) =>
      operation.outcome === 'ok' && !there.has(operation.value ?? null)
        ? { ...operation, outcome: 'unknown', completedAtMs: Infinity }
        : operation,
    ),
  }
}

function countOf(operations: readonly Operation[]): { ok: number; fail: number; unknown: number } {
  const count = { ok: 0, fail: 0, unknown: 0 }
  for (const { outcome } of operations) count[outcome]++
  return count
}

function historyOf({ folder, loads, notes }: Evidence, model: HistoryModel): History {
  const texts = loads.map((name) =>
    parseHistory(readFileSync(join(folder, `${name}.${model}.jsonl`), 'utf8')),
  )
  return { ...mergeHistories(texts), notes }
}

interface NoteRow {
  readonly id: number
  readonly value: string
}

const PAGE = 2000

/** In the order of their ids, which is that in which they were committed. */
async function notesOf(client: Client): Promise<NoteRow[]> {
  const all: NoteRow[] = []
  for (;;) {
    const after = all.at(-1)?.id ?? 0
    const { rows } = await client.read('select id, value from note where id > ? order by id limit ?', [
      after,
      PAGE,
    ])
    for (const [id, value] of rows) all.push({ id: Number(id), value: String(value) })
    if (rows.length < PAGE) return all
  }
}

function withFinal(history: History, rows: readonly NoteRow[]): History {
  return { ...history, final: new Map([['note', rows.map(({ value }) => ({ value }))]]) }
}

/** What the registers hold at the end is read like by any other client. */
async function finalReads({ client, clock }: Evidence): Promise<History> {
  const recorder = new HistoryRecorder({ clock, model: 'register', originMs: 0 })
  const { rows } = await client.read('select key from register')
  const recorded = recorder.registers('final', {
    read: async (key) => {
      const answer = await client.read('select value from register where key = ?', [key])
      return (answer.rows[0]?.[0] ?? null) as string | null
    },
    write: async () => {},
  })
  for (const [key] of rows) await recorded.read(String(key))
  return recorder.history
}

/** A store outside, keyed by the ids that writes returned, must never meet another row under one of them. */
function idBreaches(operations: readonly Operation[], rows: readonly NoteRow[]): string[] {
  const breaches: string[] = []
  const givenTo = new Map<number, Operation>()
  const rowOf = new Map(rows.map((row) => [row.id, row]))
  for (const operation of operations) {
    const id = operation.output
    if (operation.outcome !== 'ok' || typeof id !== 'number') continue
    const other = givenTo.get(id)
    if (other !== undefined)
      breaches.push(`id ${id} was given to ${String(other.value)} and to ${String(operation.value)}`)
    givenTo.set(id, operation)
    const row = rowOf.get(id)
    if (row !== undefined && row.value !== operation.value)
      breaches.push(`id ${id} was given to ${String(operation.value)}, and is that of ${row.value}`)
  }
  return breaches
}
