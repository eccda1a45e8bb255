/** Arbitrary messages of every type, within the limits, for properties and fuzzing. */
import * as fc from 'fast-check'
import {
  ERROR_CODES,
  type AckLevel,
  type Condition,
  type EpochEntry,
  type ErrorCode,
  type ReceiptReference,
} from '@understudy/contracts'
import type { Message, ResultSet, SqlRequestBody, SqlStatement, Value } from '../src/index.ts'

const SAFE_MAX = Number.MAX_SAFE_INTEGER

const type = <T extends string>(value: T): fc.Arbitrary<T> => fc.constant(value)

/** Plain objects, as decoding makes them. */
const record = <T>(model: { readonly [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record<T>(model, { noNullPrototype: true })

const u64 = fc.oneof(fc.nat(300), fc.integer({ min: 0, max: SAFE_MAX }), fc.constant(SAFE_MAX))
const u32 = fc.oneof(fc.nat(300), fc.integer({ min: 0, max: 0xffffffff }), fc.constant(0xffffffff))
const text = fc.string({ unit: 'binary', maxLength: 40 })
const name = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((value) => Buffer.byteLength(value) <= 255)
const bytes = fc.uint8Array({ maxLength: 64 })
const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })
const ms = fc.integer({ min: 0, max: 86_400_000 })
const position = record({ epoch: u64, lsn: u64 })
const point = record({ epoch: u64, lsn: u64, crc: u32 })
const code = fc.constantFrom(...(Object.keys(ERROR_CODES) as ErrorCode[]))
const runId = fc
  .tuple(u32, u32)
  .map(([a, b]) => a.toString(16).padStart(8, '0') + b.toString(16).padStart(8, '0'))
const time = fc.double({ noNaN: true, noDefaultInfinity: true })

/** At most 20 epochs, so that a Hello holds all of them. */
const history: fc.Arbitrary<EpochEntry[]> = fc
  .array(record({ step: fc.integer({ min: 1, max: 1e12 }), runId, leader: name, crcBefore: u32 }), {
    maxLength: 20,
  })
  .map((entries) => {
    let at = 0
    return entries.map(({ step, ...entry }) => {
      at += step
      return { number: at, firstLsn: at, ...entry }
    })
  })

/** Values that come back as they went: see values.ts for the others. */
const value: fc.Arbitrary<Value> = fc.oneof(
  fc.constant(null),
  fc.double({ noNaN: true }),
  fc.maxSafeInteger(),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.bigInt({ min: -300n, max: 300n }),
  text,
  bytes,
)
const level = fc.constantFrom<AckLevel>('local', 'received', 'durable', 'applied')
const someRunId = runId.filter((id) => id !== '0'.repeat(16))
const reference: fc.Arbitrary<ReceiptReference> = fc.oneof(
  record({ cluster: name, position, crc: u32 }),
  record({ cluster: name, position, crc: u32, runId: someRunId }),
)
const stamp = record({ number: u64, runId })
const proof = record({ crc: u32, runId })
const receipt = record({
  cluster: name,
  position,
  runId,
  index: u64,
  crc: u32,
  asked: level,
  reached: level,
  members: fc.array(
    fc.oneof(record({ name }), record({ name, durableAt: fc.double({ min: 1, max: 1e15, noNaN: true }) })),
    { maxLength: 4 },
  ),
  degraded: fc.boolean(),
})
const { condition } = fc.letrec<{ condition: Condition }>((tie) => ({
  condition: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    record({ ok: u64 }),
    record({ error: u64 }),
    record({ changed: u64 }),
    record({ changed: u64, rows: u64 }),
    record({ returned: u64, rows: u64 }),
    record({ not: tie('condition') }),
    record({ and: fc.array(tie('condition'), { maxLength: 3 }) }),
    record({ or: fc.array(tie('condition'), { maxLength: 3 }) }),
  ),
}))
const parameters = fc.array(value, { maxLength: 5 })
const statement: fc.Arbitrary<SqlStatement> = fc.oneof(
  record({ sql: text, parameters }),
  record({ sql: text, parameters, when: condition, expect: u64 }),
  record({ sql: fc.constant(''), parameters: fc.constant([]), require: condition }),
  record({
    sql: fc.constant(''),
    parameters,
    prepared: fc.integer({ min: 1, max: 0xffffffff }),
  }),
)
const handle = fc.integer({ min: 1, max: 0xffffffff })
const bigints = fc.constant(true as const)
const rowsMax = fc.integer({ min: 0, max: 1_048_576 })
const bytesMax = fc.integer({ min: 0, max: 16_777_216 })
const sqlRequest: fc.Arbitrary<SqlRequestBody> = fc.oneof(
  record({ kind: type('prepare'), prepared: handle, sql: text }),
  record({ kind: type('unprepare'), prepared: handle }),
  record({
    kind: type('begin'),
    transaction: handle,
    readOnly: fc.boolean(),
    timeoutMs: ms,
    waitMs: ms,
  }),
  record({
    kind: type('begin'),
    transaction: handle,
    readOnly: fc.boolean(),
    timeoutMs: ms,
    waitMs: ms,
    after: position,
    afterProof: proof,
    ack: level,
    of: record({
      kind: fc.constantFrom('any' as const, 'first' as const),
      count: fc.nat(64),
      names: fc.array(name, { maxLength: 5 }),
    }),
    ackTimeoutMs: fc.integer({ min: 1, max: 86_400_000 }),
  }),
  record({ kind: type('run'), transaction: handle, statement }),
  record({ kind: type('run'), transaction: handle, statement, bigints }),
  record({ kind: type('end'), transaction: handle, commit: fc.boolean() }),
  record({
    kind: type('open'),
    stream: handle,
    statement,
    waitMs: ms,
    timeoutMs: ms,
    rowsMax,
    bytesMax,
  }),
  record({
    kind: type('open'),
    stream: handle,
    statement,
    waitMs: ms,
    timeoutMs: ms,
    rowsMax,
    bytesMax,
    after: position,
    afterProof: proof,
    bigints,
    transaction: handle,
  }),
  record({ kind: type('fetch'), stream: handle, rowsMax, bytesMax }),
  record({ kind: type('cancel'), stream: handle }),
)
const result: fc.Arbitrary<ResultSet> = fc.array(text, { maxLength: 4 }).chain((columns) =>
  record({
    columns: fc.constant(columns),
    rows:
      columns.length === 0
        ? fc.constant([])
        : fc.array(fc.array(value, { minLength: columns.length, maxLength: columns.length }), {
            maxLength: 5,
          }),
    changes: u64,
  }),
)

const member = record({ name, address: name })
const unproven = {
  kind: fc.constant('leadership' as const),
  node: name,
  cluster: name,
  role: fc.constantFrom('leader' as const, 'follower' as const),
  takesWrites: fc.boolean(),
  forwardsWrites: fc.boolean(),
  applied: point,
  members: fc.array(member, { maxLength: 4 }),
}
const leadership = fc.oneof(
  record(unproven),
  record({ ...unproven, epoch: stamp, stalenessMs: ms, leader: member }),
)

type Messages = { readonly [T in Message['type']]: fc.Arbitrary<Message & { type: T }> }

/** With an epoch, and without. */
function stamped<T>(model: { readonly [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.oneof(
    record(model),
    fc.tuple(record(model), stamp).map(([message, epoch]) => ({ ...message, epoch })),
  )
}

/** An arbitrary for each type of message. */
export const messages: Messages = {
  authBegin: record({
    type: type('authBegin'),
    version: fc.integer({ min: 1, max: 0xffffffff }),
    mechanism: fc.constantFrom('secret' as const, 'certificate' as const),
    name,
    nonce: bytes32,
    compression: fc.boolean(),
  }),
  authChallenge: record({ type: type('authChallenge'), nonce: bytes32 }),
  authProof: record({ type: type('authProof'), proof: bytes32 }),
  authDone: record({
    type: type('authDone'),
    signature: fc.oneof(bytes32, fc.constant(new Uint8Array())),
    compression: fc.boolean(),
  }),
  hello: record({
    type: type('hello'),
    versions: fc.tuple(fc.integer({ min: 1, max: 0xffffffff }), fc.integer({ min: 1, max: 0xffffffff })),
    purpose: fc.constantFrom('replicate' as const, 'snapshot' as const, 'client' as const),
    cluster: name,
    node: name,
    history,
    end: point,
    formats: fc.array(record({ id: u32, version: u32 }), { maxLength: 5 }),
  }).map(({ versions: [a, b], ...hello }) => ({
    ...hello,
    versionMin: Math.min(a, b),
    versionMax: Math.max(a, b),
  })),
  welcome: record({
    type: type('welcome'),
    version: fc.integer({ min: 1, max: 0xffffffff }),
    cluster: name,
    node: name,
    history,
    end: point,
    verdict: fc.oneof(
      record({ kind: type('continue'), from: u64 }),
      record({ kind: type('truncate'), after: u64 }),
      record({ kind: type('snapshot'), reason: text }),
    ),
    heartbeatMs: ms,
    deadlineMs: ms,
  }),
  refuse: record({ type: type('refuse'), code, message: text }),
  records: record({ type: type('records'), highWatermark: u64, bytes }),
  ack: record({ type: type('ack'), epoch: u64, received: u64, durable: u64, applied: u64 }),
  heartbeat: record({
    type: type('heartbeat'),
    epoch: u64,
    lsn: u64,
    highWatermark: u64,
    sentAtMs: time,
    echoMs: time,
    slots: fc.array(record({ name, lsn: u64 }), { maxLength: 5 }),
  }),
  snapshotRequest: record({
    type: type('snapshotRequest'),
    resumeId: name,
    resumeOffset: u64,
    heldBytes: u64,
    bytesPerSecondMax: u64,
  }),
  snapshotStart: record({
    type: type('snapshotStart'),
    id: name,
    point,
    history,
    pageBytes: u32,
    totalBytes: u64,
    chunkBytes: fc.integer({ min: 1, max: 16_777_216 }),
    mode: fc.constantFrom('stream' as const, 'hashes' as const),
    offset: u64,
    windowBytes: u64,
  }),
  snapshotHashes: record({
    type: type('snapshotHashes'),
    firstChunk: u64,
    hashes: fc.nat(4).chain((count) => fc.uint8Array({ minLength: count * 16, maxLength: count * 16 })),
    last: fc.boolean(),
  }),
  snapshotChunk: record({ type: type('snapshotChunk'), offset: u64, crc: u32, bytes }),
  snapshotAck: record({ type: type('snapshotAck'), offset: u64 }),
  snapshotEnd: record({
    type: type('snapshotEnd'),
    digest: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  }),
  memberWord: record({ type: type('memberWord'), bytes: fc.uint8Array({ minLength: 1, maxLength: 64 }) }),
  request: stamped({
    type: type('request'),
    id: u64,
    body: fc.oneof(
      { arbitrary: sqlRequest, weight: 10 },
      record({ kind: type('status') }),
      record({ kind: type('write'), statements: fc.array(statement, { maxLength: 4 }), bigints }),
      record({ kind: type('read'), statement, timeoutMs: ms, bigints }),
      record({ kind: type('write'), statements: fc.array(statement, { maxLength: 4 }) }),
      record({
        kind: type('write'),
        statements: fc.array(statement, { maxLength: 2 }),
        ack: level,
        of: record({
          kind: fc.constantFrom('any' as const, 'first' as const),
          count: fc.nat(64),
          names: fc.array(name, { maxLength: 5 }),
        }),
        ackTimeoutMs: fc.integer({ min: 1, max: 86_400_000 }),
        key: name.filter((key) => key !== ''),
      }),
      record({ kind: type('read'), statement, timeoutMs: ms }),
      record({ kind: type('read'), statement, after: position, timeoutMs: ms }),
      record({
        kind: type('read'),
        statement,
        after: position,
        afterProof: proof,
        stalenessMsMax: fc.integer({ min: 1, max: 86_400_000 }),
        timeoutMs: ms,
      }),
      record({
        kind: type('write'),
        statements: fc.array(statement, { maxLength: 2 }),
        forwarded: record({ by: name, author: name }),
      }),
      record({ kind: type('whoLeads'), waitMs: ms }),
      record({ kind: type('whoLeads'), unlessEpoch: stamp, waitMs: ms }),
      record({ kind: type('mark') }),
      record({ kind: type('digest'), at: position, timeoutMs: ms }),
      record({ kind: type('digest'), at: position, timeoutMs: ms, keep: fc.constant(true) }),
      record({ kind: type('rows'), at: position, table: text, offset: u64 }),
      record({ kind: type('release'), at: position }),
      record({ kind: type('slots') }),
      record({ kind: type('dropSlot'), name }),
      record({ kind: type('forget'), name }),
      record({ kind: type('switchFormat'), format: name }),
      record({ kind: type('setAcks'), rule: text, acceptLoss: fc.boolean() }),
      record({
        kind: type('setAcks'),
        rule: text,
        onUnmet: fc.constantFrom('block', 'degrade'),
        visibility: fc.constantFrom('acked', 'local'),
        ackTimeoutMs: fc.integer({ min: 1, max: 86_400_000 }),
        acceptLoss: fc.boolean(),
      }),
      record({ kind: type('promote'), acceptLoss: fc.boolean(), timeoutMs: ms }),
      record({
        kind: type('promote'),
        target: name.filter((target) => target !== ''),
        acceptLoss: fc.boolean(),
        timeoutMs: ms,
      }),
      record({ kind: type('switchover'), timeoutMs: ms }),
      record({ kind: type('switchover'), target: name.filter((target) => target !== ''), timeoutMs: ms }),
      record({ kind: type('pauseFailover'), paused: fc.boolean() }),
      record({ kind: type('decisions'), limit: u32 }),
      record({ kind: type('verdict'), receipt: reference }),
      record({ kind: type('reach'), receipt: reference, level, count: u32, timeoutMs: ms }),
    ),
  }),
  response: stamped({
    type: type('response'),
    id: u64,
    body: fc.oneof(
      record({ kind: type('json'), text }),
      record({ kind: type('results'), results: fc.array(result, { maxLength: 3 }) }),
      record({ kind: type('results'), results: fc.array(result, { maxLength: 3 }), position }),
      record({
        kind: type('results'),
        results: fc.array(result, { maxLength: 1 }),
        position,
        receipt,
        replayed: fc.constant(true as const),
        valueKept: fc.boolean(),
      }),
      record({ kind: type('position'), position }),
      record({
        kind: type('digest'),
        position,
        tables: fc.array(
          record({ table: text, rows: u64, digest: fc.constantFrom('', '00ff', 'a'.repeat(64)) }),
          { maxLength: 4 },
        ),
      }),
      record({ kind: type('error'), code, message: text }),
      record({ kind: type('error'), code, message: text, point }),
      record({ kind: type('error'), code, message: text, leader: name.filter((address) => address !== '') }),
      record({ kind: type('results'), results: fc.array(result, { maxLength: 1 }), position, proof }),
      leadership,
      record({
        kind: type('results'),
        results: fc.array(
          fc.oneof(
            record({
              columns: fc.constant([]),
              rows: fc.constant([]),
              changes: fc.constant(0),
              skipped: fc.constant(true as const),
            }),
            record({
              columns: fc.constant([]),
              rows: fc.constant([]),
              changes: fc.constant(0),
              error: record({ code, message: text }),
            }),
          ),
          { maxLength: 3 },
        ),
      }),
      record({
        kind: type('prepared'),
        columns: fc.array(record({ name: text, type: text }), { maxLength: 4 }),
        parameters: fc.nat(32_766),
        readOnly: fc.boolean(),
      }),
      fc
        .tuple(result, fc.boolean())
        .map(([{ columns, rows }, isLast]) => ({ kind: 'page' as const, columns, rows, isLast })),
      fc.tuple(result, position, proof).map(([{ columns, rows }, at, proof]) => ({
        kind: 'page' as const,
        columns,
        rows,
        isLast: false,
        position: at,
        proof,
      })),
      result.map(({ columns, rows }) => ({ kind: 'rows' as const, key: columns.slice(0, 1), columns, rows })),
    ),
  }),
}

export const anyMessage: fc.Arbitrary<Message> = fc.oneof(...Object.values(messages))

export function messagesOf(type: Message['type']): fc.Arbitrary<Message> {
  return messages[type]
}
