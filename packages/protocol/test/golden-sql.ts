/** Messages of what is kept for a client, whose bytes are golden. */
import type { Message } from '../src/index.ts'

const statement = {
  sql: 'insert into t values (?, ?, ?, ?, ?, ?)',
  parameters: [null, -1, 9_223_372_036_854_775_807n, 1.5, 'text \u{1f600}', Uint8Array.of(0, 255)],
}

export const SQL_SAMPLES: Readonly<Record<string, Message>> = {
  'request-write-with-conditions': {
    type: 'request',
    id: 14,
    body: {
      kind: 'write',
      statements: [
        { sql: 'update t set n = n - ?', parameters: [1n], expect: 0 },
        {
          sql: '',
          parameters: [7n],
          prepared: 3,
          when: { and: [{ ok: 0 }, { not: { error: 0 } }, { changed: 0, rows: 2 }] },
        },
        { sql: '', parameters: [], require: { or: [{ changed: 0 }, { returned: 1, rows: 0 }] } },
      ],
      bigints: true,
    },
  },
  'request-prepare': {
    type: 'request',
    id: 15,
    body: { kind: 'prepare', prepared: 3, sql: 'select * from t where id = ?' },
  },
  'request-unprepare': { type: 'request', id: 16, body: { kind: 'unprepare', prepared: 3 } },
  'request-begin': {
    type: 'request',
    id: 17,
    body: {
      kind: 'begin',
      transaction: 1,
      readOnly: false,
      timeoutMs: 5000,
      waitMs: 30_000,
      ack: 'durable',
      of: { kind: 'any', count: 1, names: ['b', 'c'] },
      ackTimeoutMs: 2000,
    },
  },
  'request-begin-read-only': {
    type: 'request',
    id: 18,
    body: {
      kind: 'begin',
      transaction: 2,
      readOnly: true,
      timeoutMs: 5000,
      waitMs: 1000,
      after: { epoch: 2, lsn: 1044 },
    },
  },
  'request-run': {
    type: 'request',
    id: 19,
    body: { kind: 'run', transaction: 1, statement, bigints: true },
  },
  'request-end': { type: 'request', id: 20, body: { kind: 'end', transaction: 1, commit: true } },
  'request-open': {
    type: 'request',
    id: 21,
    body: {
      kind: 'open',
      stream: 1,
      statement,
      waitMs: 1000,
      timeoutMs: 60_000,
      rowsMax: 256,
      bytesMax: 262_144,
      after: { epoch: 2, lsn: 1044 },
      afterProof: { crc: 7, runId: 'fedcba9876543210' },
      bigints: true,
      transaction: 2,
    },
  },
  'request-fetch': {
    type: 'request',
    id: 22,
    body: { kind: 'fetch', stream: 1, rowsMax: 256, bytesMax: 262_144 },
  },
  'request-cancel': { type: 'request', id: 23, body: { kind: 'cancel', stream: 1 } },
  'response-steps': {
    type: 'response',
    id: 14,
    body: {
      kind: 'results',
      results: [
        {
          columns: [],
          rows: [],
          changes: 0,
          error: { code: 'SQL_FAILED', message: 'UNIQUE constraint failed: t.id' },
        },
        { columns: [], rows: [], changes: 0, skipped: true },
      ],
    },
  },
  'response-prepared': {
    type: 'response',
    id: 15,
    body: {
      kind: 'prepared',
      columns: [
        { name: 'id', type: 'INTEGER' },
        { name: 'n + 1', type: '' },
      ],
      parameters: 1,
      readOnly: true,
    },
  },
  'response-page': {
    type: 'response',
    id: 21,
    body: {
      kind: 'page',
      columns: ['id', 'body'],
      rows: [[1n, Uint8Array.of(0, 255)]],
      isLast: true,
      position: { epoch: 2, lsn: 1044 },
      proof: { crc: 7, runId: 'fedcba9876543210' },
    },
  },
}
