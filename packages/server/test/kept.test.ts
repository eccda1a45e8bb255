/** What a node keeps for a client: prepared statements, transactions, streams; and that all of it ends. */
import { UnderstudyError } from '@understudy/contracts'
import type { RequestBody, ResponseBody, Role, SqlStatement } from '@understudy/protocol'
import { describe, expect, test } from 'vitest'
import type { ClientHandlers, OpenRead, OpenWrite, RowCursor } from '../src/index.ts'
import { deferred, startSession, turns, type Peer, type SessionSetup } from './harness.ts'

const AT = { epoch: 3, lsn: 10 }
const SQL: SqlStatement = { sql: 'select * from t', parameters: [] }
const SHAPE = { columns: [{ name: 'id', type: 'INTEGER' }], parameters: 1, readOnly: true }

/** A node that writes down what is asked of it, with a result of `rows` rows. */
class FakeNode {
  readonly calls: string[] = []
  rows = 5
  /** Thrown by a statement of this text. */
  failing = 'fail'
  readonly handlers: Partial<ClientHandlers> = {
    describe: (sql) => (this.calls.push(`describe ${sql}`), SHAPE),
    read: ({ sql }) => {
      this.calls.push(`read ${sql}`)
      return { result: { columns: ['x'], rows: [], changes: 0 }, position: AT }
    },
    write: (statements) => {
      this.calls.push(`write ${statements.map(({ sql }) => sql).join(', ')}`)
      return { results: [], position: AT }
    },
    openRead: async ({ waitMs, after }) => {
      this.calls.push(`openRead ${waitMs} ${after?.lsn ?? ''}`)
      return this.#read()
    },
    openWrite: async ({ timeoutMs, waitMs, ack }) => {
      this.calls.push(`openWrite ${timeoutMs} ${waitMs} ${ack ?? ''}`)
      return this.write()
    },
  }

  write(): OpenWrite {
    return {
      position: AT,
      run: (statement) => this.#run(statement),
      commit: async () => (this.calls.push('commit'), { results: [], position: AT }),
      rollback: async () => void this.calls.push('rollback'),
    }
  }

  /** What was asked since the last look. */
  taken(): string[] {
    return this.calls.splice(0)
  }

  #read(): OpenRead {
    return {
      position: AT,
      run: (statement) => this.#run(statement),
      cursor: ({ sql }, { bigints }) => (this.calls.push(`cursor ${sql} ${bigints}`), this.#cursor(sql)),
      close: () => void this.calls.push('close'),
    }
  }

  #run({ sql }: SqlStatement) {
    this.calls.push(`run ${sql}`)
    if (sql === this.failing) throw new UnderstudyError('WRITE_FORBIDDEN', 'no')
    return { columns: ['x'], rows: [[1]], changes: 1 }
  }

  #cursor(sql: string): RowCursor {
    let at = 0
    return {
      next: ({ rowsMax }) => {
        if (sql === this.failing) throw new UnderstudyError('WRITE_FORBIDDEN', 'no')
        const rows: [number][] = []
        while (rows.length < rowsMax && at < this.rows) rows.push([at++])
        this.calls.push(`page of ${rows.length}`)
        return { columns: ['x'], rows, isLast: at >= this.rows }
      },
      close: () => void this.calls.push('cursor closed'),
    }
  }
}

class Talk {
  readonly node = new FakeNode()
  readonly peer: Peer
  #id = 0

  private constructor(peer: Peer, node: FakeNode) {
    this.peer = peer
    this.node = node
  }

  static async begin(setup: SessionSetup = {}, node = new FakeNode()): Promise<Talk> {
    return new Talk(await startSession({ handlers: node.handlers, ...setup }), node)
  }

  ask(body: RequestBody): Promise<ResponseBody> {
    const id = (this.#id += 1)
    this.peer.ask(id, body)
    return this.peer.response(id)
  }

  async codeOf(body: RequestBody): Promise<string> {
    const answer = await this.ask(body)
    return answer.kind === 'error' ? answer.code : answer.kind
  }

  prepare(prepared: number, sql: string): Promise<ResponseBody> {
    return this.ask({ kind: 'prepare', prepared, sql })
  }

  read(prepared: number): Promise<string> {
    return this.codeOf({
      kind: 'read',
      statement: { sql: '', parameters: [], prepared },
      timeoutMs: 1,
    })
  }

  begin(transaction: number, readOnly: boolean): Promise<ResponseBody> {
    return this.ask({ kind: 'begin', transaction, readOnly, timeoutMs: 5000, waitMs: 300 })
  }

  run(transaction: number, sql = 'x'): Promise<string> {
    return this.codeOf({ kind: 'run', transaction, statement: { sql, parameters: [] } })
  }

  end(transaction: number, commit: boolean): Promise<string> {
    return this.codeOf({ kind: 'end', transaction, commit })
  }

  open(stream: number, more: Partial<Extract<RequestBody, { kind: 'open' }>> = {}): Promise<ResponseBody> {
    return this.ask({
      kind: 'open',
      stream,
      statement: SQL,
      waitMs: 300,
      timeoutMs: 5000,
      rowsMax: 2,
      bytesMax: 0,
      ...more,
    })
  }

  fetch(stream: number, rowsMax = 2): Promise<ResponseBody> {
    return this.ask({ kind: 'fetch', stream, rowsMax, bytesMax: 0 })
  }

  async fetchCode(stream: number): Promise<string> {
    const answer = await this.fetch(stream)
    return answer.kind === 'error' ? answer.code : answer.kind
  }
}

describe('prepared statements', () => {
  test('run by their number, wherever a statement may stand', async () => {
    const talk = await Talk.begin()
    expect(await talk.prepare(7, 'select ?')).toEqual({ kind: 'prepared', ...SHAPE })
    const statement: SqlStatement = { sql: '', parameters: [1], prepared: 7 }
    await talk.ask({ kind: 'read', statement, timeoutMs: 1 })
    await talk.ask({ kind: 'write', statements: [statement, SQL] })
    await talk.begin(1, false)
    await talk.ask({ kind: 'run', transaction: 1, statement })
    await talk.open(1, { statement })
    expect(talk.node.taken()).toEqual([
      'describe select ?',
      'read select ?',
      'write select ?, select * from t',
      'openWrite 5000 300 ',
      'run select ?',
      'openRead 300 ',
      'cursor select ? false',
      'page of 2',
    ])
  })

  test('one that is not known, or not any more, runs nothing', async () => {
    const talk = await Talk.begin()
    expect(await talk.read(1)).toBe('HANDLE_UNKNOWN')
    await talk.prepare(1, 'one')
    expect(await talk.read(1)).toBe('results')
    await talk.ask({ kind: 'unprepare', prepared: 1 })
    expect(await talk.read(1)).toBe('HANDLE_UNKNOWN')
    expect(talk.node.taken()).toEqual(['describe one', 'read one'])
  })

  test('the one used longest ago makes room, and a number may be given again', async () => {
    const talk = await Talk.begin({ limits: { preparedMax: 2 } })
    await talk.prepare(1, 'one')
    await talk.prepare(2, 'two')
    await talk.read(1)
    await talk.prepare(3, 'three')
    expect([await talk.read(1), await talk.read(2), await talk.read(3)]).toEqual([
      'results',
      'HANDLE_UNKNOWN',
      'results',
    ])
    await talk.prepare(3, 'another')
    talk.node.taken()
    await talk.read(3)
    expect(talk.node.taken()).toEqual(['read another'])
  })

  test('long texts make room too, and one that is longer than all of it is refused', async () => {
    const talk = await Talk.begin()
    const mib = 1024 * 1024
    for (const prepared of [1, 2, 3]) await talk.prepare(prepared, `${prepared}`.padEnd(1.5 * mib))
    expect([await talk.read(1), await talk.read(2), await talk.read(3)]).toEqual([
      'HANDLE_UNKNOWN',
      'results',
      'results',
    ])
    expect(await talk.prepare(4, ''.padEnd(4 * mib + 1))).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test('a client that may not read learns how many values one takes, and none of its columns', async () => {
    const talk = await Talk.begin({ roles: new Set<Role>(['write']) })
    expect(await talk.prepare(1, 'x')).toEqual({ kind: 'prepared', ...SHAPE, columns: [] })
  })
})

describe('transactions', () => {
  test('begin, run and commit', async () => {
    const talk = await Talk.begin()
    const begin = { kind: 'begin', transaction: 4, readOnly: false, timeoutMs: 50, waitMs: 60 } as const
    expect(await talk.ask({ ...begin, ack: 'durable' })).toEqual({
      kind: 'results',
      results: [],
      position: AT,
    })
    expect(await talk.ask({ kind: 'run', transaction: 4, statement: SQL })).toMatchObject({
      results: [{ rows: [[1]], changes: 1 }],
    })
    expect(await talk.ask({ kind: 'end', transaction: 4, commit: true })).toEqual({
      kind: 'results',
      results: [],
      position: AT,
    })
    expect(talk.node.taken()).toEqual(['openWrite 50 60 durable', 'run select * from t', 'commit'])
    expect([await talk.run(4), await talk.end(4, true)]).toEqual(['HANDLE_UNKNOWN', 'HANDLE_UNKNOWN'])
  })

  test('a statement that fails leaves it open; rolling back is answered when nothing is left', async () => {
    const talk = await Talk.begin()
    await talk.begin(1, false)
    expect([await talk.run(1, 'fail'), await talk.run(1)]).toEqual(['WRITE_FORBIDDEN', 'results'])
    expect(await talk.end(1, false)).toBe('results')
    expect(talk.node.taken().at(-1)).toBe('rollback')
    expect(await talk.run(1)).toBe('HANDLE_UNKNOWN')
    // What is over is rolled back without a word.
    expect(await talk.end(1, false)).toBe('results')
  })

  test('the end of the connection rolls back what writes and closes what reads', async () => {
    const talk = await Talk.begin()
    await talk.begin(1, false)
    await talk.begin(2, true)
    await talk.open(3)
    await talk.open(4, { transaction: 2 })
    talk.node.taken()
    talk.peer.connection.close()
    await talk.peer.session.ended
    await turns()
    expect(talk.node.taken().sort()).toEqual(['close', 'close', 'cursor closed', 'cursor closed', 'rollback'])
    expect(talk.peer.clock.pending).toBe(0)
  })

  test('one that waits for its turn can be given up, and so it is when the client goes', async () => {
    const node = new FakeNode()
    const waiting: AbortSignal[] = []
    const late = deferred<OpenWrite>()
    const setup: SessionSetup = {
      handlers: {
        openWrite: ({ signal }) => (waiting.push(signal), late.promise),
      },
    }
    const talk = await Talk.begin(setup, node)
    void talk.begin(1, false)
    void talk.begin(2, false)
    await turns()
    void talk.end(1, false)
    await turns()
    expect(waiting.map(({ aborted }) => aborted)).toEqual([true, false])
    talk.peer.connection.close()
    await talk.peer.session.ended
    expect(waiting.map(({ aborted }) => aborted)).toEqual([true, true])
    // Its turn comes all the same: nobody is there to end it.
    late.resolve(node.write())
    await turns()
    const ends = node.taken()
    expect(ends.length).toBeGreaterThanOrEqual(2)
    expect(new Set(ends)).toEqual(new Set(['rollback']))
  })

  test('a transaction that reads has its time, and says once that it is over', async () => {
    const talk = await Talk.begin({ limits: { heldIdleMs: 1000 } })
    await talk.begin(1, true)
    await talk.begin(2, true)
    for (let step = 0; step < 5; step++) {
      await talk.peer.clock.advance(900)
      expect(await talk.run(1)).toBe('results')
    }
    talk.node.taken()
    expect([await talk.run(2), await talk.run(2)]).toEqual(['TIMEOUT', 'HANDLE_UNKNOWN'])
    // Used all the time, it ends by its own limit of 5 s.
    await talk.peer.clock.advance(500)
    expect([await talk.end(1, true), await talk.end(1, true)]).toEqual(['TIMEOUT', 'HANDLE_UNKNOWN'])
    expect(talk.node.taken()).toEqual(['close'])
  })

  test('a number that is in use is not given twice, and only so many are open', async () => {
    const talk = await Talk.begin({ limits: { heldMax: 3 } })
    await talk.begin(1, true)
    await talk.open(1)
    expect(await talk.begin(1, true)).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(await talk.open(1)).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(await talk.begin(0, true)).toMatchObject({ code: 'INVALID_ARGUMENT' })
    await talk.begin(2, false)
    expect(await talk.begin(3, true)).toMatchObject({ code: 'OVERLOADED' })
    expect(await talk.open(3)).toMatchObject({ code: 'OVERLOADED' })
    await talk.end(2, false)
    expect(await talk.open(3)).toMatchObject({ kind: 'page' })
  })

  test('a writer that may not read runs statements and sees no row of them', async () => {
    const talk = await Talk.begin({ roles: new Set<Role>(['write']) })
    await talk.begin(1, false)
    expect(await talk.ask({ kind: 'run', transaction: 1, statement: SQL })).toMatchObject({
      results: [{ columns: [], rows: [], changes: 1 }],
    })
  })
})

describe('streams', () => {
  test('a page for each credit, in order, until the last one, which ends it', async () => {
    const talk = await Talk.begin()
    expect(await talk.open(1, { bigints: true, after: { epoch: 3, lsn: 4 } })).toEqual({
      kind: 'page',
      columns: ['x'],
      rows: [[0], [1]],
      isLast: false,
      position: AT,
    })
    await turns()
    expect(talk.node.taken()).toEqual(['openRead 300 4', 'cursor select * from t true', 'page of 2'])
    const pages = await Promise.all([talk.fetch(1), talk.fetch(1), talk.fetchCode(1)])
    expect(pages).toMatchObject([
      { rows: [[2], [3]], isLast: false },
      { rows: [[4]], isLast: true },
      // Credit that came after the last page.
      'HANDLE_UNKNOWN',
    ])
    await turns()
    expect(talk.node.taken()).toEqual(['page of 2', 'page of 1', 'cursor closed', 'close'])
    expect(await talk.fetchCode(1)).toBe('HANDLE_UNKNOWN')
    expect(talk.peer.clock.pending).toBe(1)
  })

  test('its client can leave it, and the number is free again', async () => {
    const talk = await Talk.begin()
    await talk.open(1)
    await talk.ask({ kind: 'cancel', stream: 1 })
    await turns()
    expect(talk.node.taken().slice(-2)).toEqual(['cursor closed', 'close'])
    expect(await talk.open(1)).toMatchObject({ kind: 'page' })
  })

  test('one that nobody reads is closed, and so is one that takes too long', async () => {
    const talk = await Talk.begin({ limits: { heldIdleMs: 1000 } })
    await talk.open(1)
    await talk.open(2, { timeoutMs: 1500 })
    await talk.peer.clock.advance(900)
    await talk.fetch(2)
    await talk.peer.clock.advance(599)
    talk.node.taken()
    expect([await talk.fetchCode(1), await talk.fetchCode(1)]).toEqual(['TIMEOUT', 'HANDLE_UNKNOWN'])
    await talk.peer.clock.advance(1)
    expect(await talk.fetchCode(2)).toBe('TIMEOUT')
    expect(talk.node.taken()).toEqual(['cursor closed', 'close'])
  })

  test('a statement that fails ends its stream and its view', async () => {
    const talk = await Talk.begin()
    const failing = await talk.open(1, { statement: { sql: 'fail', parameters: [] } })
    expect(failing).toMatchObject({ code: 'WRITE_FORBIDDEN' })
    await turns()
    expect(talk.node.taken().slice(-2)).toEqual(['cursor closed', 'close'])
    expect(await talk.fetchCode(1)).toBe('HANDLE_UNKNOWN')
  })

  test('in a transaction that reads it leaves the view to the transaction; one that writes has none', async () => {
    const talk = await Talk.begin()
    await talk.begin(1, true)
    await talk.begin(2, false)
    talk.node.taken()
    await talk.open(1, { transaction: 1, rowsMax: 100 })
    await turns()
    expect(talk.node.taken()).toEqual(['cursor select * from t false', 'page of 5', 'cursor closed'])
    expect(await talk.run(1)).toBe('results')
    expect(await talk.open(2, { transaction: 2 })).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(await talk.open(2, { transaction: 9 })).toMatchObject({ code: 'HANDLE_UNKNOWN' })
  })

  test('a page is never larger than the limits of the node', async () => {
    const node = new FakeNode()
    node.rows = 1000
    const talk = await Talk.begin({ handlers: node.handlers, limits: { rowsMax: 10 } }, node)
    await talk.open(1, { rowsMax: 1_000_000 })
    expect(node.taken().at(-1)).toBe('page of 10')
  })
})
