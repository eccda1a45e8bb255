/**
 * SQLite files that instances start from: one for each workload, made once in a run.
 *
 * Decides: that a file is made by bare SQLite, without syncs while it is filled. With a database of the user's own the file is a copy of it,
 * to which the tables of the workload are added unless they are there.
 */
import { backup, DatabaseSync } from 'node:sqlite'
import path from 'node:path'
import { UnderstudyError } from '@understudy/contracts'
import type { Statement, Workload } from '../workloads/workload.ts'

export class Databases {
  readonly #directory: string
  readonly #own: string | undefined
  readonly #made = new Map<string, Promise<string>>()

  /** `own`: a database of the user's own. */
  constructor(directory: string, own?: string) {
    this.#directory = directory
    this.#own = own
  }

  /** Path of a file with the tables of the workload, and its rows. */
  of(workload: Workload, rows: number): Promise<string> {
    const key = `${workload.name}-${rows}`
    let made = this.#made.get(key)
    if (made === undefined) {
      const file = path.join(this.#directory, `${this.#made.size}-${key.replaceAll(/[^\w.-]/g, '_')}.db`)
      this.#made.set(key, (made = makeDatabase(file, workload, rows, this.#own)))
    }
    return made
  }
}

async function makeDatabase(file: string, workload: Workload, rows: number, own?: string): Promise<string> {
  if (own !== undefined) await copyOf(own, file)
  const database = new DatabaseSync(file)
  try {
    // A rollback journal in memory: a file that is complete when it is closed, and that a power loss may as well take.
    database.exec('pragma journal_mode = memory; pragma synchronous = off')
    const isNew = workload.schema('sqlite').map((sql) => madeTable(database, sql))
    if (isNew.every(Boolean)) for (const batch of workload.rows({ rows })) fill(database, batch)
  } finally {
    database.close()
  }
  return file
}

async function copyOf(own: string, file: string): Promise<void> {
  try {
    const source = new DatabaseSync(own, { readOnly: true })
    try {
      await backup(source, file)
    } finally {
      source.close()
    }
  } catch (error) {
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `The database ${own} cannot be read: ${error instanceof Error ? error.message : String(error)}. It was not changed, and nothing was measured.`,
      { cause: error },
    )
  }
}

/** False when it was there. */
function madeTable(database: DatabaseSync, sql: string): boolean {
  try {
    database.exec(sql)
    return true
  } catch (error) {
    if (error instanceof Error && error.message.includes('already exists')) return false
    throw error
  }
}

function fill(database: DatabaseSync, batch: readonly Statement[]): void {
  database.exec('begin')
  for (const { sql, params = [], many } of batch) {
    const prepared = database.prepare(sql)
    for (const row of many ?? [params]) prepared.run(...row)
  }
  database.exec('commit')
}
