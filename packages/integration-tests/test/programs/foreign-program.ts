/**
 * Another, unmodified program with a database of its own: plain SQLite with its own checkpoints. One command a line on
 * standard input, one answer a line: `sql <statements>` → `done`, or SQLite's message; `run` writes until `rest` → how
 * many it wrote so far; `reopen`; `close`. Argument: the path.
 */
import { DatabaseSync } from 'node:sqlite'
import { createInterface } from 'node:readline'

const path = process.argv[2] ?? ''
const open = (): DatabaseSync => {
  const opened = new DatabaseSync(path, { timeout: 5000 })
  opened.exec('pragma wal_autocheckpoint = 50; pragma synchronous = normal')
  return opened
}
let database: DatabaseSync | undefined = open()
let isRunning = false
let written = 0

function write(): void {
  if (!isRunning) return
  database?.exec(`begin immediate; insert into note (body) values (hex(randomblob(300)));
    update note set body = 'n${written}' where id % 97 = ${written % 97}; commit`)
  written++
  if (written % 100 === 0) database?.exec('pragma wal_checkpoint(passive)')
  setTimeout(write, 1)
}

function run(command: string, sql: string): string {
  switch (command) {
    case 'sql':
      database?.exec(sql)
      return 'done'
    case 'run':
      isRunning = true
      setImmediate(write)
      return 'done'
    case 'rest':
      isRunning = false
      return String(written)
    case 'count':
      return String(written)
    case 'reopen':
      database?.close()
      database = open()
      return 'done'
    default:
      database?.close()
      database = undefined
      return 'closed'
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const [command = '', ...rest] = line.split(' ')
  let answer: string
  try {
    answer = run(command, rest.join(' '))
  } catch (error) {
    answer = error instanceof Error ? error.message : String(error)
  }
  process.stdout.write(`${answer}\n`)
}
database?.close()
