/** A sound frame of each kind, for places where none of them belongs. */
import { encodeMessage, type Message, type RequestBody, type Value } from '@understudy/protocol'
import type { Frame } from './mutator.ts'

const POINT = { epoch: 1, lsn: 3, crc: 0xdead_beef }
const HISTORY = [{ number: 1, runId: '0123456789abcdef', leader: 'a', firstLsn: 1, crcBefore: 0 }]
const VALUES: Value[] = [null, 7, -1, 0.5, 2n ** 62n, 'text', new Uint8Array([0, 1, 255])]
const NONCE = new Uint8Array(32).fill(9)

const REFERENCE = {
  cluster: 'c',
  position: { epoch: 1, lsn: 3 },
  crc: 0xdead_beef,
  runId: '0123456789abcdef',
}

/** Requests for a table `t (id, v, w)`. */
export const REQUESTS: readonly RequestBody[] = [
  { kind: 'status' },
  {
    kind: 'write',
    statements: [{ sql: 'insert or replace into t values (?, ?, ?)', parameters: [4, 'new', null] }],
  },
  {
    kind: 'write',
    statements: [
      { sql: 'update t set v = ? where id = ?', parameters: ['other', 2] },
      { sql: 'delete from t where id = 7', parameters: [] },
    ],
  },
  {
    kind: 'write',
    statements: [{ sql: 'update t set v = ? where id = ?', parameters: ['once', 3] }],
    ack: 'durable',
    of: { kind: 'any', count: 1, names: ['b', 'c'] },
    ackTimeoutMs: 5,
    key: 'order-17',
  },
  { kind: 'verdict', receipt: REFERENCE },
  { kind: 'reach', receipt: REFERENCE, level: 'durable', count: 1, timeoutMs: 5 },
  { kind: 'read', statement: { sql: 'select * from t where id < ?', parameters: [5] }, timeoutMs: 100 },
  {
    kind: 'read',
    statement: { sql: 'select ?, ?, ?, ?, ?, ?, ?', parameters: VALUES },
    after: { epoch: 1, lsn: 2 },
    timeoutMs: 50,
  },
  { kind: 'mark' },
  { kind: 'digest', at: { epoch: 1, lsn: 3 }, timeoutMs: 20, keep: true },
  { kind: 'rows', at: { epoch: 1, lsn: 3 }, table: 't', offset: 0 },
  { kind: 'release', at: { epoch: 1, lsn: 3 } },
  { kind: 'slots' },
  { kind: 'exposure', after: { epoch: 1, lsn: 2 }, sinceMs: 3, byChoice: true, timeoutMs: 1000 },
  { kind: 'dropSlot', name: 'b' },
  { kind: 'forget', name: 'b' },
  { kind: 'switchFormat', format: 'row' },
  {
    kind: 'setAcks',
    rule: 'any 1 (b, c) received',
    onUnmet: 'degrade',
    visibility: 'local',
    ackTimeoutMs: 9,
    acceptLoss: true,
  },
  { kind: 'promote', target: 'b', acceptLoss: true, timeoutMs: 10 },
  { kind: 'switchover', target: 'b', timeoutMs: 10 },
  { kind: 'pauseFailover', paused: true },
  { kind: 'decisions', limit: 10 },
  {
    kind: 'write',
    statements: [
      { sql: 'update t set v = ? where id = ?', parameters: ['when', 2], expect: 1 },
      { sql: 'insert into t values (2, ?, null)', parameters: [3n], when: { changed: 0, rows: 1 } },
      { sql: 'delete from t where id = 8', parameters: [], when: { or: [{ error: 1 }, { not: { ok: 1 } }] } },
      { sql: '', parameters: [], require: { and: [{ ok: 0 }, { returned: 0, rows: 0 }] } },
    ],
    bigints: true,
  },
  { kind: 'prepare', prepared: 1, sql: 'select * from t where id < ?' },
  { kind: 'unprepare', prepared: 1 },
  { kind: 'begin', transaction: 1, readOnly: false, timeoutMs: 50, waitMs: 100 },
  { kind: 'begin', transaction: 2, readOnly: true, timeoutMs: 50, waitMs: 100, after: { epoch: 1, lsn: 2 } },
  {
    kind: 'run',
    transaction: 1,
    statement: { sql: 'update t set v = ? where id = 5', parameters: ['in it'] },
    bigints: true,
  },
  { kind: 'run', transaction: 2, statement: { sql: '', parameters: [9n], prepared: 1 } },
  { kind: 'end', transaction: 1, commit: true },
  { kind: 'end', transaction: 2, commit: false },
  {
    kind: 'open',
    stream: 1,
    statement: { sql: 'select * from t', parameters: [] },
    waitMs: 100,
    timeoutMs: 50,
    rowsMax: 2,
    bytesMax: 1000,
    transaction: 2,
  },
  { kind: 'fetch', stream: 1, rowsMax: 2, bytesMax: 1000 },
  { kind: 'cancel', stream: 1 },
]

const MESSAGES: readonly Message[] = [
  { type: 'authBegin', version: 1, mechanism: 'secret', name: 'b', nonce: NONCE, compression: true },
  { type: 'authBegin', version: 1, mechanism: 'certificate', name: 'b', nonce: NONCE, compression: false },
  { type: 'authChallenge', nonce: NONCE },
  { type: 'authProof', proof: NONCE },
  { type: 'authDone', signature: NONCE, compression: true },
  ...(['client', 'replicate', 'snapshot'] as const).map((purpose): Message => ({
    type: 'hello',
    versionMin: 1,
    versionMax: 1,
    purpose,
    cluster: '',
    node: 'b',
    history: purpose === 'replicate' ? HISTORY : [],
    end: { epoch: 0, lsn: 0, crc: 0 },
    formats: [{ id: 1, version: 1, fingerprint: 'x' }],
  })),
  {
    type: 'welcome',
    version: 1,
    cluster: 'c',
    node: 'a',
    history: HISTORY,
    end: POINT,
    verdict: { kind: 'continue', from: 1 },
    heartbeatMs: 1000,
    deadlineMs: 5000,
  },
  { type: 'refuse', code: 'FORBIDDEN', message: 'no' },
  { type: 'records', highWatermark: 3, bytes: new Uint8Array(60) },
  { type: 'ack', epoch: 1, received: 3, durable: 2, applied: 1 },
  {
    type: 'heartbeat',
    epoch: 1,
    lsn: 3,
    highWatermark: 3,
    sentAtMs: 10,
    echoMs: 5,
    slots: [{ name: 'local', lsn: 2 }],
  },
  { type: 'snapshotRequest', resumeId: '', resumeOffset: 0, heldBytes: 0, bytesPerSecondMax: 0 },
  {
    type: 'snapshotStart',
    id: 's1',
    point: POINT,
    history: HISTORY,
    pageBytes: 512,
    totalBytes: 8192,
    chunkBytes: 1024,
    mode: 'stream',
    offset: 0,
    windowBytes: 4096,
  },
  { type: 'snapshotHashes', firstChunk: 0, hashes: new Uint8Array(32), last: true },
  { type: 'snapshotChunk', offset: 0, crc: 1, bytes: new Uint8Array(64) },
  { type: 'snapshotAck', offset: 1024 },
  { type: 'snapshotEnd', digest: NONCE },
  { type: 'memberWord', bytes: NONCE },
  ...REQUESTS.map((body, index): Message => ({ type: 'request', id: index + 1, body })),
  {
    type: 'response',
    id: 1,
    body: {
      kind: 'results',
      results: [{ columns: ['a', 'b'], rows: [[1, 'x']], changes: 0 }],
      position: { epoch: 1, lsn: 3 },
    },
  },
  { type: 'response', id: 2, body: { kind: 'json', text: '{"__proto__":{"polluted":true},"a":[1]}' } },
  {
    type: 'response',
    id: 6,
    body: {
      kind: 'prepared',
      columns: [{ name: 'id', type: 'INTEGER' }],
      parameters: 1,
      readOnly: true,
    },
  },
  {
    type: 'response',
    id: 7,
    body: {
      kind: 'page',
      columns: ['a', 'b'],
      rows: [[1n, 'x']],
      isLast: true,
      position: { epoch: 1, lsn: 3 },
    },
  },
  { type: 'response', id: 3, body: { kind: 'error', code: 'SQL_FAILED', message: 'no' } },
  {
    type: 'response',
    id: 4,
    body: { kind: 'error', code: 'WRITTEN_NOT_ACKED', message: 'no', point: POINT },
  },
  {
    type: 'response',
    id: 5,
    body: {
      kind: 'results',
      results: [],
      receipt: {
        ...REFERENCE,
        index: 1,
        asked: 'durable',
        reached: 'received',
        members: [{ name: 'b', durableAt: 5 }, { name: 'c' }],
        degraded: true,
      },
      replayed: true,
      valueKept: true,
    },
  },
]

export function specimens(): Frame[] {
  return MESSAGES.map(frameOf)
}

export function frameOf(message: Message): Frame {
  return Uint8Array.from(Buffer.concat(encodeMessage(message)))
}
