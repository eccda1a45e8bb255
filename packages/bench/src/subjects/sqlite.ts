/**
 * Bare `node:sqlite`: WAL, prepared statements, nothing replicated, the callers in the process of the engine. The limit that everything
 * else is compared with.
 *
 * Decides: that SQLite's own `synchronous` says what survives. Leaves to others: what is executed.
 */
import path from 'node:path'
import { copyFile } from 'node:fs/promises'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import type { Statement, Step } from '../workloads/workload.ts'
import type { Connections, Instance, StartOptions, Subject } from './subject.ts'

interface Endpoint {
  readonly file: string
  readonly synchronous: string
}

const DURABILITY: Readonly<Record<string, string>> = {
  full: 'fdatasync of the WAL at each commit',
  off: 'none: no sync at all, a power loss may destroy the database',
}

export const subject: Subject = {
  name: 'sqlite',
  title: 'bare node:sqlite, not replicated',
  variants: [{ synchronous: 'full' }, { synchronous: 'off' }],
  find: () => Promise.resolve({ version: process.versions['sqlite'] ?? 'unknown' }),
  start,
  connect: (endpoint) => Promise.resolve(new BareConnection(endpoint as Endpoint)),
}

async function start({ directory, variant, database }: StartOptions): Promise<Instance> {
  const file = path.join(directory, 'bare.db')
  await copyFile(await database(), file)
  const synchronous = variant['synchronous'] ?? 'full'
  return {
    endpoint: { file, synchronous } satisfies Endpoint,
    facts: {
      durability: DURABILITY[synchronous] ?? synchronous,
      version: `SQLite ${process.versions['sqlite'] ?? 'unknown'}`,
      settings: `journal_mode=wal synchronous=${synchronous}`,
    },
    nodes: () => [],
    settled: () => Promise.resolve(),
    column: (sql) => Promise.resolve(columnOf(file, sql)),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

function columnOf(file: string, sql: string): readonly string[] {
  const database = new DatabaseSync(file, { readOnly: true })
  try {
    return database
      .prepare(sql)
      .all()
      .map((row) => String(Object.values(row)[0]))
  } finally {
    database.close()
  }
}

/** All writers share it: they are in one process, and SQLite has one writer. */
class BareConnection implements Connections {
  readonly #database: DatabaseSync
  readonly #prepared = new Map<string, StatementSync>()

  constructor({ file, synchronous }: Endpoint) {
    this.#database = new DatabaseSync(file)
    this.#database.exec(`pragma journal_mode = wal; pragma synchronous = ${synchronous}`)
  }

  run(step: Step): undefined {
    if (step.kind === 'read') {
      this.#execute(step.statement)
      return
    }
    const [only] = step.statements
    // One statement is a transaction by itself.
    if (step.statements.length === 1 && only !== undefined && only.many === undefined) {
      this.#execute(only)
      return
    }
    this.#database.exec('begin immediate')
    for (const statement of step.statements) this.#execute(statement)
    this.#database.exec('commit')
  }

  #execute({ sql, params = [], many, returns = false }: Statement): void {
    let prepared = this.#prepared.get(sql)
    if (prepared === undefined) this.#prepared.set(sql, (prepared = this.#database.prepare(sql)))
    if (returns) prepared.all(...params)
    else if (many === undefined) prepared.run(...params)
    else for (const each of many) prepared.run(...each)
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#database.close()
    return Promise.resolve()
  }
}
