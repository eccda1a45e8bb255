/** The bytes of version 1, as they were released: a change of a frame shows here as a difference. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { decodeMessage, encodeMessage, type Message } from '../src/index.ts'
import { SQL_SAMPLES } from './golden-sql.ts'

/** `UPDATE_GOLDEN=1` writes missing frames; existing ones are never changed. */
const FIXTURE = new URL('fixtures/v1-frames.json', import.meta.url)

const history = [
  { number: 1, runId: '00ff00ff00ff00ff', leader: 'a', firstLsn: 1, crcBefore: 0 },
  { number: 2, runId: 'fedcba9876543210', leader: 'b', firstLsn: 1043, crcBefore: 0xdeadbeef },
]
const end = { epoch: 2, lsn: 9_007_199_254_740_991, crc: 0xffffffff }
const statement = {
  sql: 'insert into t values (?, ?, ?, ?, ?, ?)',
  parameters: [null, -1, 9_223_372_036_854_775_807n, 1.5, 'text \u{1f600}', Uint8Array.of(0, 255)],
}

const reference = {
  cluster: 'cluster-1',
  position: { epoch: 2, lsn: 1047 },
  crc: 0x01020304,
  runId: 'fedcba9876543210',
}

const samples: Record<string, Message> = {
  ...SQL_SAMPLES,
  'auth-begin': {
    type: 'authBegin',
    version: 1,
    mechanism: 'secret',
    name: 'b',
    nonce: new Uint8Array(32).fill(1),
    compression: true,
  },
  'auth-begin-certificate': {
    type: 'authBegin',
    version: 1,
    mechanism: 'certificate',
    name: 'b',
    nonce: new Uint8Array(32).fill(1),
    compression: false,
  },
  'auth-challenge': { type: 'authChallenge', nonce: new Uint8Array(32).fill(2) },
  'auth-proof': { type: 'authProof', proof: new Uint8Array(32).fill(3) },
  'auth-done': { type: 'authDone', signature: new Uint8Array(32).fill(4), compression: true },
  'auth-done-certificate': { type: 'authDone', signature: new Uint8Array(), compression: false },
  hello: {
    type: 'hello',
    versionMin: 1,
    versionMax: 1,
    purpose: 'replicate',
    cluster: 'cluster-1',
    node: 'b',
    history,
    end,
    formats: [
      { id: 1, version: 1 },
      { id: 3, version: 2 },
    ],
  },
  'hello-client': {
    type: 'hello',
    versionMin: 1,
    versionMax: 1,
    purpose: 'client',
    cluster: '',
    node: '',
    history: [],
    end: { epoch: 0, lsn: 0, crc: 0 },
    formats: [],
  },
  'welcome-continue': {
    type: 'welcome',
    version: 1,
    cluster: 'cluster-1',
    node: 'a',
    history,
    end,
    verdict: { kind: 'continue', from: 1044 },
    heartbeatMs: 500,
    deadlineMs: 3000,
  },
  'welcome-truncate': {
    type: 'welcome',
    version: 1,
    cluster: 'cluster-1',
    node: 'a',
    history,
    end,
    verdict: { kind: 'truncate', after: 0 },
    heartbeatMs: 500,
    deadlineMs: 3000,
  },
  'welcome-snapshot': {
    type: 'welcome',
    version: 1,
    cluster: 'cluster-1',
    node: 'a',
    history,
    end,
    verdict: { kind: 'snapshot', reason: 'the log begins at 2000' },
    heartbeatMs: 500,
    deadlineMs: 3000,
  },
  refuse: { type: 'refuse', code: 'FOREIGN_CLUSTER', message: 'This node belongs to another cluster.' },
  records: { type: 'records', highWatermark: 1_042, bytes: Uint8Array.of(1, 2, 3, 4) },
  ack: { type: 'ack', epoch: 2, received: 1_044, durable: 1_043, applied: 4_294_967_296 },
  heartbeat: {
    type: 'heartbeat',
    epoch: 2,
    lsn: 1_044,
    highWatermark: 1_043,
    sentAtMs: 1234.5,
    echoMs: 0,
    slots: [
      { name: 'local', lsn: 1000 },
      { name: 'b', lsn: 1043 },
    ],
  },
  snapshotRequest: {
    type: 'snapshotRequest',
    resumeId: 'snapshot-1',
    resumeOffset: 1_048_576,
    heldBytes: 4096,
    bytesPerSecondMax: 0,
  },
  snapshotStart: {
    type: 'snapshotStart',
    id: 'snapshot-1',
    point: end,
    history,
    pageBytes: 4096,
    totalBytes: 1_073_741_824,
    chunkBytes: 262_144,
    mode: 'hashes',
    offset: 0,
    windowBytes: 8_388_608,
  },
  snapshotHashes: {
    type: 'snapshotHashes',
    firstChunk: 7,
    hashes: Uint8Array.from({ length: 32 }, (_, i) => i),
    last: true,
  },
  snapshotChunk: { type: 'snapshotChunk', offset: 262_144, crc: 0x01020304, bytes: Uint8Array.of(9, 8) },
  snapshotAck: { type: 'snapshotAck', offset: 524_288 },
  snapshotEnd: { type: 'snapshotEnd', digest: Uint8Array.from({ length: 32 }, (_, i) => 255 - i) },
  memberWord: { type: 'memberWord', bytes: Uint8Array.from(Buffer.from('{}')) },
  'request-status': { type: 'request', id: 1, body: { kind: 'status' } },
  'request-write': { type: 'request', id: 2, body: { kind: 'write', statements: [statement, statement] } },
  'request-write-with-key': {
    type: 'request',
    id: 12,
    body: {
      kind: 'write',
      statements: [statement],
      ack: 'durable',
      of: { kind: 'first', count: 1, names: ['b', 'c'] },
      ackTimeoutMs: 500,
      key: 'order-17',
    },
  },
  'request-verdict': { type: 'request', id: 13, body: { kind: 'verdict', receipt: reference } },
  'request-reach': {
    type: 'request',
    id: 14,
    body: { kind: 'reach', receipt: reference, level: 'applied', count: 2, timeoutMs: 1000 },
  },
  'response-receipt': {
    type: 'response',
    id: 12,
    body: {
      kind: 'results',
      results: [],
      position: { epoch: 2, lsn: 1047 },
      receipt: {
        cluster: 'cluster-1',
        position: { epoch: 2, lsn: 1047 },
        runId: 'fedcba9876543210',
        index: 3,
        crc: 0x01020304,
        asked: 'applied',
        reached: 'received',
        members: [{ name: 'b', durableAt: 1_700_000_000_000.5 }, { name: 'c' }],
        degraded: true,
      },
      replayed: true,
      valueKept: false,
    },
  },
  'response-error-point': {
    type: 'response',
    id: 12,
    body: {
      kind: 'error',
      code: 'WRITTEN_NOT_ACKED',
      message: 'not in time',
      point: { epoch: 2, lsn: 1047, crc: 7 },
    },
  },
  'request-read': {
    type: 'request',
    id: 3,
    body: { kind: 'read', statement, after: { epoch: 2, lsn: 1044 }, timeoutMs: 1000 },
  },
  'request-read-after-token': {
    type: 'request',
    id: 15,
    epoch: { number: 2, runId: 'fedcba9876543210' },
    body: {
      kind: 'read',
      statement,
      after: { epoch: 2, lsn: 1044 },
      afterProof: { crc: 0x01020304, runId: 'fedcba9876543210' },
      stalenessMsMax: 250,
      timeoutMs: 1000,
    },
  },
  'request-write-forwarded': {
    type: 'request',
    id: 16,
    body: {
      kind: 'write',
      statements: [statement],
      key: 'order-17',
      forwarded: { by: 'b', author: 'shop' },
    },
  },
  'request-whoLeads': {
    type: 'request',
    id: 17,
    body: { kind: 'whoLeads', unlessEpoch: { number: 2, runId: 'fedcba9876543210' }, waitMs: 25_000 },
  },
  'response-results-with-proof': {
    type: 'response',
    id: 15,
    epoch: { number: 3, runId: '00ff00ff00ff00ff' },
    body: {
      kind: 'results',
      results: [{ columns: ['id'], rows: [[1]], changes: 0 }],
      position: { epoch: 2, lsn: 1045 },
      proof: { crc: 0x01020304, runId: 'fedcba9876543210' },
    },
  },
  'response-leadership': {
    type: 'response',
    id: 17,
    body: {
      kind: 'leadership',
      node: 'b',
      cluster: 'cluster-1',
      role: 'follower',
      takesWrites: false,
      forwardsWrites: true,
      epoch: { number: 3, runId: '00ff00ff00ff00ff' },
      applied: { epoch: 2, lsn: 1045, crc: 0x01020304 },
      stalenessMs: 0,
      leader: { name: 'a', address: 'tcp://127.0.0.1:7401' },
      members: [
        { name: 'a', address: 'tcp://127.0.0.1:7401' },
        { name: 'b', address: 'ws://127.0.0.1:7402/' },
      ],
    },
  },
  'response-leadership-alone': {
    type: 'response',
    id: 18,
    body: {
      kind: 'leadership',
      node: 'a',
      cluster: '',
      role: 'leader',
      takesWrites: true,
      forwardsWrites: false,
      applied: { epoch: 0, lsn: 0, crc: 0 },
      members: [],
    },
  },
  'response-not-leader': {
    type: 'response',
    id: 19,
    body: {
      kind: 'error',
      code: 'NOT_LEADER',
      message: 'This node follows.',
      leader: 'tcp://127.0.0.1:7401',
    },
  },
  'request-mark': { type: 'request', id: 4, body: { kind: 'mark' } },
  'request-digest': {
    type: 'request',
    id: 5,
    body: { kind: 'digest', at: { epoch: 2, lsn: 1044 }, timeoutMs: 1000 },
  },
  'request-exposure': {
    type: 'request',
    id: 7,
    body: {
      kind: 'exposure',
      after: { epoch: 3, lsn: 1042 },
      sinceMs: 1_760_000_000_000,
      byChoice: true,
      timeoutMs: 5000,
    },
  },
  'request-slots': { type: 'request', id: 6, body: { kind: 'slots' } },
  'request-forget': { type: 'request', id: 7, body: { kind: 'forget', name: 'b' } },
  'request-dropSlot': { type: 'request', id: 7, body: { kind: 'dropSlot', name: 'b' } },
  'request-switchFormat': { type: 'request', id: 8, body: { kind: 'switchFormat', format: 'wal' } },
  'request-setAcks': {
    type: 'request',
    id: 12,
    body: {
      kind: 'setAcks',
      rule: 'any 1 (b, c) durable',
      onUnmet: 'degrade',
      visibility: 'acked',
      ackTimeoutMs: 500,
      acceptLoss: true,
    },
  },
  'request-promote': {
    type: 'request',
    id: 40,
    body: { kind: 'promote', target: 'b', acceptLoss: true, timeoutMs: 5000 },
  },
  'request-promote-itself': {
    type: 'request',
    id: 40,
    body: { kind: 'promote', acceptLoss: false, timeoutMs: 10_000 },
  },
  'request-switchover': {
    type: 'request',
    id: 41,
    body: { kind: 'switchover', target: 'c', timeoutMs: 2000 },
  },
  'request-pauseFailover': { type: 'request', id: 42, body: { kind: 'pauseFailover', paused: true } },
  'request-decisions': { type: 'request', id: 43, body: { kind: 'decisions', limit: 20 } },
  'request-digest-keep': {
    type: 'request',
    id: 9,
    body: { kind: 'digest', at: { epoch: 2, lsn: 1044 }, timeoutMs: 1000, keep: true },
  },
  'request-rows': {
    type: 'request',
    id: 10,
    body: { kind: 'rows', at: { epoch: 2, lsn: 1044 }, table: 'note', offset: 2048 },
  },
  'request-release': { type: 'request', id: 11, body: { kind: 'release', at: { epoch: 2, lsn: 1044 } } },
  'response-json': { type: 'response', id: 1, body: { kind: 'json', text: '{"role":"leader"}' } },
  'response-results': {
    type: 'response',
    id: 2,
    body: {
      kind: 'results',
      results: [
        { columns: [], rows: [], changes: 3 },
        {
          columns: ['id', 'body'],
          rows: [
            [1, 'one'],
            [-0, null],
          ],
          changes: 0,
        },
      ],
      position: { epoch: 2, lsn: 1045 },
    },
  },
  'response-position': {
    type: 'response',
    id: 4,
    body: { kind: 'position', position: { epoch: 2, lsn: 1046 } },
  },
  'response-digest': {
    type: 'response',
    id: 5,
    body: {
      kind: 'digest',
      position: { epoch: 2, lsn: 1046 },
      tables: [{ table: 'note', rows: 2, digest: '00ff'.repeat(8) }],
    },
  },
  'response-rows': {
    type: 'response',
    id: 10,
    body: {
      kind: 'rows',
      key: ['id'],
      columns: ['', 'id', 'body'],
      rows: [
        ['it', 1, Uint8Array.of(111, 110, 101)],
        ['in', 2, null],
      ],
    },
  },
  'response-error': {
    type: 'response',
    id: 6,
    body: { kind: 'error', code: 'NOT_LEADER', message: 'This node follows.' },
  },
}

const golden = existsSync(FIXTURE)
  ? (JSON.parse(readFileSync(FIXTURE, 'utf8')) as Record<string, string>)
  : {}

if (process.env['UPDATE_GOLDEN'] === '1') {
  for (const [name, message] of Object.entries(samples))
    golden[name] ??= Buffer.concat(encodeMessage(message)).toString('hex')
  writeFileSync(FIXTURE, `${JSON.stringify(golden, undefined, 2)}\n`)
}

test.each(Object.keys(samples))('%s', (name) => {
  const message = samples[name]
  if (message === undefined) throw new Error('no sample')
  expect(Buffer.concat(encodeMessage(message)).toString('hex')).toBe(golden[name])
  expect(decodeMessage(Buffer.from(golden[name] ?? '', 'hex'))).toStrictEqual(message)
})

test('no released frame went missing', () => {
  expect(Object.keys(samples).sort()).toEqual(Object.keys(golden).sort())
})
