import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { Log, LogRecord, Lsn, RecordDraft } from '@understudy/contracts'

export const RUN = ['00000000000000a1', '00000000000000b2', '00000000000000c3'] as const

/** A temporary directory that is removed at the end of the scope. */
export function scratch(): { readonly path: string } & Disposable {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'understudy-log-'))
  return { path: directory, [Symbol.dispose]: () => fs.rmSync(directory, { recursive: true, force: true }) }
}

export function draft(text: string | Uint8Array, flags = 0): RecordDraft {
  const payload = typeof text === 'string' ? new TextEncoder().encode(text) : text
  return { format: 1, flags, committedAtMs: 1_700_000_000_000.25, payload }
}

export function begin(log: Log, run: string = RUN[0], leader = 'a'): void {
  log.startEpoch({ runId: run, leader, committedAtMs: 1_700_000_000_000 })
}

export function text(record: LogRecord): string {
  return new TextDecoder().decode(record.payload)
}

/** Payloads of the data records, as text. */
export function texts(log: Log, from: Lsn = log.first): string[] {
  return [...log.records(from, log.end.lsn)].filter((record) => record.format !== 0).map(text)
}

export function errorOf(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  return undefined
}
