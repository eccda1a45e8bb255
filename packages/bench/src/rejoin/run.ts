/**
 * The benchmark of rejoining: how long a former leader with a lost tail takes to follow the new one, and how much travels.
 *
 * Decides: the kinds of tails and their order. Leaves to others: what one turn is (`duo.ts`).
 *
 * Validity:
 * 1. The time runs from the call of `createNode` on the former leader's directory until it shows what the new leader showed then: its own
 *    redo after the kill, the export of the lost tail, undo and catch-up are in it. No caches are dropped.
 * 2. Bytes are those of all connections of the new leader in that time, both directions, against those of the follower's first start.
 * 3. The tail of pages comes last, because it makes the files of both equal.
 */
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Machine } from '../machine.ts'
import { runScenarios } from '../run.ts'
import type { Reporter, Scenario } from '../scenario.ts'
import { CREATE_TABLE } from '../table.ts'
import { Duo, type Rejoined } from './duo.ts'
import { allRejoinFigures, type RejoinFigureName, type RejoinFigureValues, type TailName } from './figures.ts'
import { resolveRejoinOptions, type RejoinOptions, type RejoinSettings } from './options.ts'

const MEBIBYTE = 1024 ** 2
const VALUE_BYTES = 1000
/** What changes the schema, and as many rows as a small table has. */
const CHANGED_SCHEMA = `create table other (id integer primary key, v text); insert into other select id, k from kv limit 1000; alter table kv add column more text`
const RESTORED_SCHEMA = 'alter table kv add column never text'

export interface RejoinResult {
  readonly figures: RejoinFigureValues
  readonly machine: Machine
  readonly settings: RejoinSettings
  readonly details: RejoinDetails
}

/** Plain data. */
export interface RejoinDetails {
  readonly databaseBytes: number
  /** The follower's first start. */
  readonly copyBytes: number
  readonly copySeconds: number
  readonly tails: Readonly<Partial<Record<TailName, Rejoined>>>
}

/** Runs the benchmark. Throws `INVALID_ARGUMENT`, `REQUEST_FAILED` when a process failed, `DIVERGED` when rows differed. */
export async function runRejoin(reporter: Reporter, options?: RejoinOptions): Promise<RejoinResult> {
  const settings = resolveRejoinOptions(options)
  const { measured, machine, details } = await runScenarios<RejoinSettings, 'rejoin', RejoinFigureName>(
    { rejoin },
    settings,
    reporter,
  )
  return {
    figures: allRejoinFigures(measured),
    machine,
    settings,
    details: details.rejoin as unknown as RejoinDetails,
  }
}

const rejoin: Scenario<RejoinSettings, RejoinFigureName> = async ({ settings, directory, reporter }) => {
  const { tails, commits, sizeMiB } = settings
  reporter.begin('rejoin', 2 + tails.length)
  const original = path.join(directory, 'original.db')
  const { rows, bytes } = fill(original, sizeMiB * MEBIBYTE)
  reporter.step(`a database of ${Math.round(bytes / MEBIBYTE)} MiB`)
  await using duo = await Duo.start(directory, original)
  reporter.step(`a full copy: ${megabytes(duo.copyBytes)} in ${duo.copySeconds.toFixed(2)} s`)
  const results: Partial<Record<TailName, Rejoined>> = {}
  const figures: Partial<Record<RejoinFigureName, number>> = {}
  for (const tail of tails) {
    const result = await measure(duo, tail, { rows, commits })
    results[tail] = result
    figures[`${tail}Seconds`] = result.seconds
    figures[`${tail}Percent`] = (100 * result.wireBytes) / duo.copyBytes
    const how = result.pageBytes === undefined ? 'undone here' : 'by pages that differ'
    reporter.step(`${tail}: ${result.seconds.toFixed(2)} s, ${megabytes(result.wireBytes)}, ${how}`)
  }
  reporter.end()
  const { copyBytes, copySeconds } = duo
  return { figures, details: { databaseBytes: bytes, copyBytes, copySeconds, tails: results } }
}

function measure(
  duo: Duo,
  tail: TailName,
  { rows, commits }: { readonly rows: number; readonly commits: number },
): Promise<Rejoined> {
  switch (tail) {
    case 'row':
    case 'statement':
      return duo.turn({ format: tail, commits, rows })
    case 'schema':
      return duo.turn({ format: 'row', commits, rows, before: CHANGED_SCHEMA })
    case 'delta':
      return duo.base(rows, commits)
    case 'wal':
      return duo.turn({ format: 'wal', commits, rows, before: RESTORED_SCHEMA })
  }
}

/** Makes a database of at least `bytes`. */
function fill(file: string, bytes: number): { readonly rows: number; readonly bytes: number } {
  const database = new DatabaseSync(file)
  try {
    database.exec(`pragma journal_mode = off; pragma synchronous = off; ${CREATE_TABLE}`)
    const insert = database.prepare('insert into kv (k, v, n) values (?, ?, ?)')
    const pages = database.prepare('pragma page_count')
    let rows = 0
    let size = 0
    while (size < bytes) {
      database.exec('begin')
      for (let row = 0; row < 1000; row++)
        insert.run(`key-${rows}`, `${rows++} `.repeat(VALUE_BYTES).slice(0, VALUE_BYTES), row)
      database.exec('commit')
      size = Number(pages.get()?.['page_count']) * 4096
    }
    return { rows, bytes: size }
  } finally {
    database.close()
  }
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e6 ? 3 : 1)} MB on the wire`
}
