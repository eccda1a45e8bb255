import { UnderstudyError } from '@understudy/contracts'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import type { ReadAnswer, ReadRequest } from '../src/index.ts'
import { deferred, HELLO, IDENTITY, startSession, turns } from './harness.ts'

const STATEMENT = { sql: 'select 1', parameters: [] }
const POSITION = { epoch: 3, lsn: 10 }
const READ = { kind: 'read', statement: STATEMENT, timeoutMs: 500 } as const
const WRITE = { kind: 'write', statements: [STATEMENT] } as const
const rows = (count: number, value: string): ReadAnswer => ({
  result: { columns: ['x'], rows: Array.from({ length: count }, () => [value]), changes: 0 },
  position: POSITION,
})

describe('the greeting', () => {
  test('a client is welcomed with the identity of the node and without heartbeats', async () => {
    const peer = await startSession()
    await turns()
    expect(peer.received).toEqual([
      {
        type: 'welcome',
        version: 1,
        ...IDENTITY,
        verdict: { kind: 'continue', from: 1 },
        heartbeatMs: 0,
        deadlineMs: 0,
      },
    ])
  })

  test.each([
    ['PROTOCOL_VERSION', { versionMin: 100, versionMax: 200 }],
    ['FOREIGN_CLUSTER', { cluster: 'c2' }],
    ['PROTOCOL_VIOLATION', { purpose: 'replicate' }],
  ] as const)('a hello that cannot be served is refused with %s, on both sides', async (code, hello) => {
    const peer = await startSession({ hello: { ...HELLO, ...hello } })
    expect((await peer.closed)?.code).toBe(code)
    expect((await peer.session.ended)?.code).toBe(code)
    expect(peer.received).toEqual([])
  })

  test('a client of this very cluster is welcome', async () => {
    const peer = await startSession({ hello: { cluster: 'c1' } })
    await turns()
    expect(peer.received.map((message) => message.type)).toEqual(['welcome'])
  })

  test('limits out of range are refused before anything is sent', async () => {
    await expect(startSession({ limits: { rowsMax: 0 } })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(startSession({ limits: { resultBytesMax: 2 ** 40 } })).rejects.toThrow('resultBytesMax')
  })
})

describe('answers', () => {
  test('each kind of request reaches its handler and comes back as its kind of answer', async () => {
    const calls: unknown[] = []
    const peer = await startSession({
      handlers: {
        status: () => ({ role: 'leader', bytes: 12n }),
        write: (statements) => {
          calls.push(['write', statements])
          return { results: [{ columns: [], rows: [], changes: 2 }], position: POSITION }
        },
        read: async (statement, { after, timeoutMs, rowsMax }: ReadRequest) => {
          calls.push(['read', statement, after, timeoutMs, rowsMax])
          return rows(1, 'y')
        },
        mark: () => POSITION,
        digest: (at, { timeoutMs }) => {
          calls.push(['digest', at, timeoutMs])
          return { position: at, tables: [{ table: 't', rows: 3, digest: 'ab' }] }
        },
        slots: () => [{ name: 'b', lsn: 4 }],
        exposure: ({ after, byChoice, timeoutMs }) => {
          calls.push(['exposure', after, byChoice, timeoutMs])
          return { knownFrom: 1, upTo: POSITION, ranges: [], forgotten: 0 }
        },
        dropSlot: (name) => void calls.push(['dropSlot', name]),
        forget: (name) => void calls.push(['forget', name]),
      },
    })
    peer.ask(1, { kind: 'status' })
    peer.ask(2, WRITE)
    peer.ask(3, { ...READ, after: POSITION })
    peer.ask(4, { kind: 'mark' })
    peer.ask(5, { kind: 'digest', at: POSITION, timeoutMs: 9_999_999 })
    peer.ask(6, { kind: 'slots' })
    peer.ask(7, { kind: 'dropSlot', name: 'b' })
    peer.ask(8, { kind: 'forget', name: 'c' })
    peer.ask(9, { kind: 'exposure', after: POSITION, byChoice: true, timeoutMs: 9_999_999 })
    expect(await Promise.all([1, 2, 3, 4, 5, 6, 7, 8, 9].map((id) => peer.response(id)))).toEqual([
      { kind: 'json', text: '{"role":"leader","bytes":"12"}' },
      { kind: 'results', results: [{ columns: [], rows: [], changes: 2 }], position: POSITION },
      { kind: 'results', results: [{ columns: ['x'], rows: [['y']], changes: 0 }], position: POSITION },
      { kind: 'position', position: POSITION },
      { kind: 'digest', position: POSITION, tables: [{ table: 't', rows: 3, digest: 'ab' }] },
      { kind: 'json', text: '[{"name":"b","lsn":4}]' },
      { kind: 'json', text: 'null' },
      { kind: 'json', text: 'null' },
      { kind: 'json', text: JSON.stringify({ knownFrom: 1, upTo: POSITION, ranges: [], forgotten: 0 }) },
    ])
    expect(calls).toEqual([
      ['write', [STATEMENT]],
      ['read', STATEMENT, POSITION, 500, 100_000],
      ['digest', POSITION, 600_000],
      ['dropSlot', 'b'],
      ['forget', 'c'],
      ['exposure', POSITION, true, 600_000],
    ])
  })

  test('wishes about who leads reach their handlers, with waits cut to the limit', async () => {
    const calls: unknown[] = []
    const changed = { leader: 'b', epoch: 4, tookMs: 80 }
    const peer = await startSession({
      handlers: {
        promote: (request) => {
          calls.push(['promote', request])
          return changed
        },
        switchover: (request) => {
          calls.push(['switchover', request])
          return changed
        },
        pauseFailover: (paused) => void calls.push(['pauseFailover', paused]),
        decisions: (request) => {
          calls.push(['decisions', request])
          return ['{"at":1}', '{"at":2}']
        },
      },
    })
    peer.ask(1, { kind: 'promote', acceptLoss: false, timeoutMs: 9_999_999 })
    peer.ask(2, { kind: 'promote', target: 'b', acceptLoss: true, timeoutMs: 70 })
    peer.ask(3, { kind: 'switchover', target: 'c', timeoutMs: 9_999_999 })
    peer.ask(4, { kind: 'pauseFailover', paused: true })
    peer.ask(5, { kind: 'decisions', limit: 2 })
    const texts = await Promise.all([1, 2, 3, 4, 5].map((id) => peer.response(id)))
    const text = JSON.stringify(changed)
    expect(texts).toEqual(
      [text, text, text, '{"paused":true}', '["{\\"at\\":1}","{\\"at\\":2}"]'].map((each) => ({
        kind: 'json',
        text: each,
      })),
    )
    expect(calls).toEqual([
      ['promote', { timeoutMs: 600_000, acceptLoss: false }],
      ['promote', { target: 'b', timeoutMs: 70, acceptLoss: true }],
      ['switchover', { target: 'c', timeoutMs: 600_000 }],
      ['pauseFailover', true],
      ['decisions', { limit: 2, bytesMax: 1024 * 1024 }],
    ])
  })

  test('answers go out as they are done, each under its own id', async () => {
    const first = deferred<ReadAnswer>()
    const peer = await startSession({
      handlers: { read: ({ sql }) => (sql === 'slow' ? first.promise : rows(1, sql)) },
    })
    peer.ask(1, { ...READ, statement: { sql: 'slow', parameters: [] } })
    peer.ask(2, { ...READ, statement: { sql: 'fast', parameters: [] } })
    expect(await peer.response(2)).toMatchObject({ results: [{ rows: [['fast']] }] })
    expect(peer.session.requests).toBe(1)
    first.resolve(rows(1, 'slow'))
    expect(await peer.response(1)).toMatchObject({ results: [{ rows: [['slow']] }] })
    expect(peer.received.filter((message) => message.type === 'response')).toHaveLength(2)
  })
})

describe('failures', () => {
  const fail = (error: unknown) => (): never => {
    throw error
  }

  test('an error with a code passes with code and message, and nothing else', async () => {
    const error = new UnderstudyError('OVERLOADED', 'Too many.', { leader: 'secret' })
    const peer = await startSession({ handlers: { write: fail(error) } })
    peer.ask(1, WRITE)
    expect(await peer.response(1)).toEqual({ kind: 'error', code: 'OVERLOADED', message: 'Too many.' })
  })

  test('a node that does not lead says where the leader is', async () => {
    const error = (leader: unknown) => new UnderstudyError('NOT_LEADER', 'Node a follows b.', { leader })
    const errors = [error('tcp://b:1'), error(undefined), error('x'.repeat(2000))]
    const peer = await startSession({ handlers: { write: () => fail(errors.shift())() } })
    for (const id of [1, 2, 3]) peer.ask(id, WRITE)
    const refusal = { kind: 'error', code: 'NOT_LEADER', message: 'Node a follows b.' }
    expect(await peer.response(1)).toEqual({ ...refusal, leader: 'tcp://b:1' })
    expect(await peer.response(2)).toEqual(refusal)
    expect(await peer.response(3)).toEqual(refusal)
  })

  test("SQLite's own message reaches the user, also for a value that cannot be returned", async () => {
    const database = new DatabaseSync(':memory:')
    const peer = await startSession({
      handlers: {
        read: ({ sql }) => {
          database.prepare(sql).all()
          throw new Error('not reached')
        },
      },
    })
    peer.ask(1, { ...READ, statement: { sql: 'select * from nowhere', parameters: [] } })
    peer.ask(2, { ...READ, statement: { sql: 'select 9007199254740993', parameters: [] } })
    expect(await peer.response(1)).toEqual({
      kind: 'error',
      code: 'SQL_FAILED',
      message: 'no such table: nowhere',
    })
    expect(await peer.response(2)).toMatchObject({
      code: 'SQL_FAILED',
      message: expect.stringContaining('too large'),
    })
    database.close()
  })

  test('an unforeseen error stays on the node; a write that met one has an unknown outcome', async () => {
    const defect = new TypeError('x is undefined at /secret/path')
    const seen: unknown[] = []
    const peer = await startSession({
      handlers: { write: fail(defect), read: () => Promise.reject(defect) },
      onUnexpectedError: (error) => seen.push(error),
    })
    peer.ask(1, WRITE)
    peer.ask(2, READ)
    const answers = [await peer.response(1), await peer.response(2)]
    expect(answers).toMatchObject([{ code: 'OUTCOME_UNKNOWN' }, { code: 'REQUEST_FAILED' }])
    expect(JSON.stringify(answers)).not.toContain('secret')
    expect(seen).toEqual([defect, defect])
  })

  test('an error of an unknown code, from another release, is unforeseen', async () => {
    const strange = Object.assign(new UnderstudyError('CLOSED', 'x'), { code: 'FROM_THE_FUTURE' })
    const peer = await startSession({ handlers: { status: fail(strange) } })
    peer.ask(1, { kind: 'status' })
    expect(await peer.response(1)).toMatchObject({ code: 'REQUEST_FAILED' })
  })
})

describe('limits', () => {
  test('a result over the limit of rows or bytes is refused, at the limit it is answered', async () => {
    const results = [rows(3, 'y'), rows(4, 'y'), rows(3, 'y'.repeat(40)), rows(1, 'é'.repeat(60))]
    const peer = await startSession({
      limits: { rowsMax: 3, resultBytesMax: 100 },
      handlers: { read: ({ parameters }) => results[Number(parameters[0])] as ReadAnswer },
    })
    for (const id of [0, 1, 2, 3]) peer.ask(id + 1, { ...READ, statement: { sql: '', parameters: [id] } })
    expect(await Promise.all([1, 2, 3, 4].map((id) => peer.response(id)))).toMatchObject([
      { kind: 'results' },
      { code: 'RESULT_TOO_LARGE', message: expect.stringContaining('more than 3 rows') },
      { code: 'RESULT_TOO_LARGE', message: expect.stringContaining('more than 100 bytes') },
      { code: 'RESULT_TOO_LARGE', message: expect.stringContaining('more than 100 bytes') },
    ])
  })

  test('a write whose result is too large is said to be done, and where', async () => {
    const { result } = rows(4, 'y')
    const peer = await startSession({
      limits: { rowsMax: 3 },
      handlers: { write: () => ({ results: [result], position: POSITION }) },
    })
    peer.ask(1, WRITE)
    expect(await peer.response(1)).toMatchObject({
      code: 'RESULT_TOO_LARGE',
      message: expect.stringMatching(/^The write was done at 3\/10, .*Do not repeat it/),
    })
  })

  test('a result that no answer may have is an error of that request alone', async () => {
    const peer = await startSession({
      handlers: {
        read: () => ({ result: { columns: ['x'], rows: [[1, 2]], changes: 0 }, position: undefined }),
        status: () => ({ ok: true }),
      },
    })
    peer.ask(1, READ)
    peer.ask(2, { kind: 'status' })
    expect(await peer.response(1)).toMatchObject({ code: 'RESULT_TOO_LARGE' })
    expect(await peer.response(2)).toEqual({ kind: 'json', text: '{"ok":true}' })
  })

  test('no more requests are worked on at once than the limit, and every one is answered', async () => {
    const waiting: ((answer: ReadAnswer) => void)[] = []
    let most = 0
    const peer = await startSession({
      limits: { requestsMax: 3 },
      handlers: {
        read: () => {
          const answer = deferred<ReadAnswer>()
          waiting.push((value) => answer.resolve(value))
          most = Math.max(most, waiting.length)
          return answer.promise
        },
      },
    })
    for (let id = 1; id <= 10; id++) peer.ask(id, READ)
    await turns()
    expect(waiting).toHaveLength(3)
    const answers = Promise.all(Array.from({ length: 10 }, (_, index) => peer.response(index + 1)))
    for (let answered = 0; answered < 10; answered++) {
      waiting.shift()?.(rows(1, 'y'))
      await turns()
    }
    await answers
    expect(most).toBe(3)
    expect(peer.session.requests).toBe(0)
  })

  test('while a client does not take its answers, its further requests are not begun', async () => {
    let begun = 0
    const peer = await startSession({
      handlers: {
        read: () => {
          begun += 1
          return rows(4, 'y'.repeat(250_000))
        },
      },
    })
    peer.connection.pause()
    for (let id = 1; id <= 50; id++) {
      peer.ask(id, READ)
      await turns(4)
    }
    expect(begun).toBeGreaterThan(0)
    expect(begun).toBeLessThan(10)
    peer.connection.resume()
    await Promise.all(Array.from({ length: 50 }, (_, index) => peer.response(index + 1)))
    expect(begun).toBe(50)
  })

  test('an idle client is disconnected, one that waits for an answer is not', async () => {
    const slow = deferred<ReadAnswer>()
    const peer = await startSession({ limits: { idleMs: 1000 }, handlers: { read: () => slow.promise } })
    await peer.clock.advance(900)
    peer.ask(1, READ)
    await turns()
    await peer.clock.advance(5000)
    expect(peer.connection.isClosed).toBe(false)
    slow.resolve(rows(1, 'y'))
    await peer.response(1)
    await peer.clock.advance(999)
    await turns()
    expect(peer.connection.isClosed).toBe(false)
    await peer.clock.advance(1)
    expect((await peer.closed)?.code).toBe('PEER_SILENT')
    expect((await peer.session.ended)?.code).toBe('PEER_SILENT')
    expect(peer.clock.pending).toBe(0)
  })
})

describe('the end', () => {
  test('anything but a request is a violation', async () => {
    const peer = await startSession()
    peer.connection.send({ ...HELLO })
    expect((await peer.session.ended)?.code).toBe('PROTOCOL_VIOLATION')
    expect((await peer.closed)?.code).toBe('PROTOCOL_VIOLATION')
  })

  test('waits of a client that is gone are aborted, its write goes on', async () => {
    const signals: AbortSignal[] = []
    const write = deferred<void>()
    let written = false
    const peer = await startSession({
      handlers: {
        read: (_, { signal }) => {
          signals.push(signal)
          return deferred<ReadAnswer>().promise
        },
        write: async () => {
          await write.promise
          written = true
          return { results: [], position: POSITION }
        },
      },
    })
    peer.ask(1, READ)
    peer.ask(2, WRITE)
    await turns()
    expect(signals.map((signal) => signal.aborted)).toEqual([false])
    peer.connection.close()
    await peer.session.ended
    expect(signals.map((signal) => signal.aborted)).toEqual([true])
    write.resolve()
    await turns()
    expect(written).toBe(true)
    expect(peer.session.requests).toBe(1)
  })

  test('close waits for answers that were begun, and takes no further request', async () => {
    const slow = deferred<ReadAnswer>()
    let begun = 0
    const peer = await startSession({
      handlers: {
        read: () => {
          begun += 1
          return slow.promise
        },
      },
    })
    peer.ask(1, READ)
    await turns()
    const closing = peer.session.close()
    peer.ask(2, READ)
    await turns()
    slow.resolve(rows(1, 'y'))
    await closing
    await peer.closed
    expect(begun).toBe(1)
    expect(
      peer.received.filter((message) => message.type === 'response').map((message) => message.id),
    ).toEqual([1])
  })

  test('close gives up on an answer that takes longer than the grace', async () => {
    const peer = await startSession({ handlers: { read: () => deferred<ReadAnswer>().promise } })
    peer.ask(1, READ)
    await turns()
    const closing = peer.session.close(500)
    await peer.clock.advance(500)
    await closing
    expect(await peer.session.ended).toBeUndefined()
    expect(await peer.closed).toBeUndefined()
  })

  test('close of an idle session leaves no timer behind', async () => {
    const peer = await startSession()
    await turns()
    await peer.session.close()
    expect(peer.clock.pending).toBe(0)
  })
})
