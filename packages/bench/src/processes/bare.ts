/** The process with bare node:sqlite: WAL, one row per transaction, a prepared statement, nothing else. */
import { performance } from 'node:perf_hooks'
import { DatabaseSync } from 'node:sqlite'
import { CREATE_TABLE, INSERT, Rows } from '../table.ts'
import { serve } from './serve.ts'

interface State {
  database: DatabaseSync | undefined
}

const state: State = { database: undefined }
const rows = new Rows()

const calls = {
  open({ path, synchronous }: { readonly path: string; readonly synchronous: 'full' | 'off' }): void {
    const database = new DatabaseSync(path)
    state.database = database
    database.exec(`pragma journal_mode = wal; pragma synchronous = ${synchronous}`)
    database.exec(CREATE_TABLE)
  },

  /** Commits per second. */
  load({ seconds }: { readonly seconds: number }): number {
    const { database } = state
    if (database === undefined) throw new TypeError('open comes first')
    const insert = database.prepare(INSERT)
    const startMs = performance.now()
    const endMs = startMs + seconds * 1000
    let commits = 0
    let nowMs = startMs
    while (nowMs < endMs) {
      insert.run(...rows.next())
      commits++
      nowMs = performance.now()
    }
    return commits / ((nowMs - startMs) / 1000)
  },

  close(): void {
    state.database?.close()
    state.database = undefined
  },
} as const

export type BareCalls = typeof calls

serve(calls)
