/** SQL of clients over one connection to real nodes: lists with conditions, transactions, prepared statements, streams, exact values, roles. */
import type { Client, ClientStep, ClientTransaction } from '@understudy/client'
import { connect } from '@understudy/client'
import type { LogFormat, SqliteConnection } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import { statementFormat } from '@understudy/format-statement'
import { walFormat } from '@understudy/format-wal'
import { grants, verifierOf, type Credential, type Role, type Value } from '@understudy/protocol'
import { tcp } from '@understudy/transport-tcp'
import * as fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { caughtUp, fill, TcpCluster } from './support/tcp-cluster.ts'

const FORMATS: readonly (readonly [string, () => LogFormat<SqliteConnection>])[] = [
  ['row', () => rowFormat()],
  ['statement', () => statementFormat()],
  ['wal', () => walFormat()],
]

const ACCOUNTS = 'create table account (id integer primary key, owner text unique, balance integer not null)'

async function rowsOf(client: Client, sql: string): Promise<readonly (readonly Value[])[]> {
  return (await client.read(sql)).rows
}

async function bank(client: Pick<Client, 'write'>): Promise<void> {
  await client.write([{ sql: ACCOUNTS }, { sql: "insert into account values (1, 'a', 100), (2, 'b', 0)" }])
}

describe.each(FORMATS)('031 in the log format %s', (_, format) => {
  test('a list with conditions does what held, on the follower too', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ format: format() })
    const follower = await cluster.follower('b', { format: format() })
    const client = await cluster.client(leader)
    await bank(client)
    const transfer = (amount: number): ClientStep[] => [
      {
        sql: 'update account set balance = balance - ? where id = 1 and balance >= ?',
        params: [amount, amount],
      },
      {
        sql: 'update account set balance = balance + ? where id = 2',
        params: [amount],
        when: { changed: 0 },
      },
      { sql: "insert into account values (9, 'b', 0)", when: { changed: 1, rows: 1 } },
      { sql: "insert into account values (3, 'of the failure', 0)", when: { error: 2 } },
      { sql: 'delete from account where id = 3', when: { and: [{ ok: 3 }, { not: { error: 0 } }] } },
    ]
    const { results } = await client.batch(transfer(60))
    expect(results.map(({ changes, error, skipped }) => [changes, error?.code, skipped])).toEqual([
      [1, undefined, undefined],
      [1, undefined, undefined],
      [0, 'SQL_FAILED', undefined],
      [1, undefined, undefined],
      [1, undefined, undefined],
    ])
    const nothing = await client.batch(transfer(60))
    expect(nothing.results.map(({ skipped }) => skipped ?? false)).toEqual([false, true, true, true, true])
    await caughtUp(leader, follower)
    for (const node of [leader, follower])
      expect(await rowsOf(await cluster.client(node), 'select * from account order by id')).toEqual([
        [1, 'a', 40],
        [2, 'b', 60],
      ])
  })

  test('what a list requires undoes all of it when it does not hold', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ format: format() })
    const client = await cluster.client(leader)
    await bank(client)
    const before = leader.applied
    const asked = client.write([
      { sql: 'update account set balance = 0' },
      { sql: 'select * from account' },
      { require: { returned: 1, rows: 3 } },
      { sql: 'delete from account' },
    ])
    await expect(asked).rejects.toMatchObject({
      code: 'CONDITION_FAILED',
      message: expect.stringContaining('ran: 0, 1') as string,
    })
    expect(leader.applied).toEqual(before)
    expect(await rowsOf(client, 'select balance from account order by id')).toEqual([[100], [0]])
  })

  test('a transaction is one write, and the follower gets it', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ format: format() })
    const follower = await cluster.follower('b', { format: format() })
    const client = await cluster.client(leader)
    await bank(client)
    const { lsn } = leader.applied
    const { value, receipt } = await client.transaction(async (tx) => {
      const from = await tx.get('select balance from account where id = 1')
      await tx.run('update account set balance = balance - 30 where id = 1')
      await expect(tx.run("insert into account values (4, 'b', 0)")).rejects.toMatchObject({
        code: 'SQL_FAILED',
      })
      const { changes } = await tx.run('update account set balance = balance + 30 where id = 2')
      expect(await rowsOf(client, 'select balance from account order by id')).toEqual([[100], [0]])
      return [from?.['balance'], changes]
    })
    expect(value).toEqual([100, 1])
    expect(receipt).toMatchObject({ position: { lsn: lsn + 1 }, index: 0 })
    await caughtUp(leader, follower)
    const reader = await cluster.client(follower)
    expect(await rowsOf(reader, 'select balance from account order by id')).toEqual([[70], [30]])
  })

  test('a transaction that fails, or takes too long, leaves nothing, and other writes wait no longer', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ format: format(), pipeline: { transactionIdleMs: 50 } })
    const client = await cluster.client(leader)
    await bank(client)
    const { lsn } = leader.applied
    const failing = client.transaction(async (tx) => {
      await tx.run('delete from account')
      throw new Error('mine')
    })
    await expect(failing).rejects.toThrow('mine')
    const idle = client.transaction(async (tx) => {
      await tx.run('delete from account')
      const other = client.write([{ sql: 'update account set balance = balance + 1' }])
      expect(await other).toMatchObject({ results: [{ changes: 2 }] })
      await tx.run('delete from account')
    })
    await expect(idle).rejects.toMatchObject({ code: 'NOT_WRITTEN' })
    expect(await rowsOf(client, 'select balance from account order by id')).toEqual([[101], [1]])
    expect(leader.applied.lsn).toBe(lsn + 1)
  })

  test('a transaction ends with its connection', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ format: format(), pipeline: { transactionIdleMs: 10_000 } })
    const [client, other] = [await cluster.client(leader), await cluster.client(leader)]
    await bank(client)
    const open = client.transaction(async (tx) => {
      await tx.run('delete from account')
      await client.close()
    })
    await expect(open).rejects.toMatchObject({ code: 'CLOSED' })
    await other.write([{ sql: 'update account set balance = balance + 1' }])
    expect(await rowsOf(other, 'select count(*) from account')).toEqual([[2]])
  })
})

/** A table of `count` rows of a hundred bytes, ids from 1. */
async function many(client: Client, count: number): Promise<void> {
  await client.write([
    { sql: 'create table many (id integer primary key, body text)' },
    {
      sql: `with recursive n(i) as (select 1 union all select i + 1 from n where i < ?)
        insert into many select i, printf('%0100d', i) from n`,
      params: [count],
    },
  ])
}

describe('031 a large result', () => {
  test('comes whole, in pages that are bounded, and far beyond what one answer may hold', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader()
    const client = await cluster.client(leader)
    await many(client, 200_000)
    await expect(client.read('select * from many')).rejects.toMatchObject({ code: 'RESULT_TOO_LARGE' })
    let rows = 0
    let largest = 0
    for await (const batch of client.iterateArrays('select * from many order by id').batches()) {
      for (const [id] of batch.rows) if (id !== ++rows) expect(id).toBe(rows)
      largest = Math.max(largest, batch.rows.length)
    }
    expect([rows, largest]).toEqual([200_000, 1000])
    // Rows that are large make small pages.
    const wide = client.iterateArrays("select id, printf('%050000d', id) from many where id <= 40", [], {
      batchBytes: 100_000,
    })
    const sizes: number[] = []
    for await (const batch of wide.batches()) sizes.push(batch.rows.length)
    expect(sizes.slice(0, -1).every((size) => size === 2)).toBe(true)
    expect(sizes.reduce((sum, size) => sum + size)).toBe(40)
  })

  test('an endless one holds up nobody and ends where its loop is left', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ heldReaders: 1 })
    const client = await cluster.client(leader)
    const endless = 'with recursive n(i) as (select 1 union all select i + 1 from n) select i from n'
    for (let round = 0; round < 3; round++) {
      let last = 0
      for await (const { i } of client.iterate(endless, [], { batchRows: 100 })) {
        last = Number(i)
        if (last === 1000) break
      }
      expect(last).toBe(1000)
    }
    // There is one such view: the next one waits for nobody, and is told.
    for await (const { i } of client.iterate(endless, [], { batchRows: 10 })) {
      if (i === 5) {
        await expect(client.iterate(endless)[Symbol.asyncIterator]().next()).rejects.toMatchObject({
          code: 'OVERLOADED',
        })
        expect((await client.read('select 1')).rows).toEqual([[1]])
      }
      if (i === 30) break
    }
  })

  test('is one view, whatever is written meanwhile, until its time is over', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader()
    const client = await cluster.client(leader)
    await many(client, 100)
    const seen: Value[] = []
    for await (const { id } of client.iterate('select id from many', [], { batchRows: 10 })) {
      if (id === 15) await client.write([{ sql: 'delete from many' }])
      seen.push(id as Value)
    }
    expect(seen.length).toBe(100)
    const late = async (): Promise<void> => {
      const slow = 'with recursive n(i) as (select 1 union all select i + 1 from n) select i from n'
      for await (const batch of client.iterate(slow, [], { batchRows: 1, timeoutMs: 20 }).batches())
        void batch
    }
    await expect(late()).rejects.toMatchObject({ code: 'TIMEOUT' })
  })

  test('ends with its connection, and lets go of its view', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({ heldReaders: 1 })
    const [client, other] = [await cluster.client(leader), await cluster.client(leader)]
    const endless = 'with recursive n(i) as (select 1 union all select i + 1 from n) select i from n'
    const loop = async (): Promise<void> => {
      for await (const { i } of client.iterate(endless, [], { batchRows: 10 }))
        if (i === 15) void client.close()
    }
    await expect(loop()).rejects.toMatchObject({ code: 'CLOSED' })
    const first = async (): Promise<unknown> => {
      for await (const { i } of other.iterate(endless)) return i
      return undefined
    }
    await expect.poll(() => first().catch(() => 'not yet')).toBe(1)
  })

  test('a follower that moves to other data ends its streams, and does not wait for them', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader()
    const follower = await cluster.follower('b')
    await fill(leader, 10)
    await caughtUp(leader, follower)
    const client = await cluster.client(follower)
    const loop = async (): Promise<void> => {
      for await (const { id } of client.iterate('select id from note', [], { batchRows: 1 }))
        if (id === 3) await follower.close()
    }
    const begun = performance.now()
    await expect(loop()).rejects.toMatchObject({ code: 'CONNECTION_LOST' })
    expect(performance.now() - begun).toBeLessThan(20_000)
  })
})

describe('031 a client of a cluster', () => {
  test('begins transactions on the leader, streams from a follower, and sees what it wrote', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader()
    const follower = await cluster.follower('b')
    const client = await connect(follower.address ?? '', { transports: [tcp()], prefer: 'follower' })
    onTestFinished(() => client.close())
    await bank(client)
    const { value, node, token } = await client.transaction(async (tx) => {
      await tx.run('update account set balance = 70 where id = 1')
      return tx.get('select sum(balance) as sum from account')
    })
    expect([value, node, token === client.token]).toEqual([{ sum: 70 }, 'a', true])
    // Each waits for what this session wrote a moment ago, on a node that gets it from another one.
    const balances: Value[] = []
    for await (const { balance } of client.iterate('select balance from account order by id'))
      balances.push(balance as Value)
    expect(balances).toEqual([70, 0])
    const seen = await client.transaction((tx) => tx.get('select balance from account'), { readOnly: true })
    expect([seen.value, seen.node]).toEqual([{ balance: 70 }, 'b'])
    await using statement = await client.prepare(
      'update account set balance = ? where id = 2 returning balance',
    )
    expect((await statement.run([5])).results).toMatchObject([{ rows: [[5]], changes: 1 }])
    const { results } = await client.batch([
      { sql: 'delete from account where id = 9' },
      { sql: 'delete from account', when: { changed: 0 } },
    ])
    expect(results[1]).toMatchObject({ skipped: true })
    // What has begun is not begun anew: its callback runs once, whatever it meets.
    let runs = 0
    const refused = client.transaction(async () => {
      runs++
      const direct = await cluster.client(follower)
      await direct.write([{ sql: 'delete from account' }])
    })
    await expect(refused).rejects.toMatchObject({ code: 'NOT_LEADER' })
    expect(runs).toBe(1)
    expect(await rowsOf(await cluster.client(leader), 'select count(*) from account')).toEqual([[2]])
  })
})

describe('031 values', () => {
  const value: fc.Arbitrary<Value> = fc.oneof(
    fc.constant(null),
    fc.double({ noNaN: true }),
    fc.maxSafeInteger(),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc.bigInt({ min: -5n, max: 5n }),
    fc.string({ unit: 'grapheme', maxLength: 20 }),
    fc.uint8Array({ maxLength: 50 }),
  )

  test('come back as they went, by every way, with bigints on either side', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader()
    const client = await cluster.client(leader)
    await using statement = await client.prepare('select ?, typeof(?)')
    const typeOf = (given: Value): string => {
      if (given === null) return 'null'
      if (typeof given === 'number') return 'real'
      if (typeof given === 'bigint') return 'integer'
      return typeof given === 'string' ? 'text' : 'blob'
    }
    await fc.assert(
      fc.asyncProperty(value, async (given) => {
        const expected = [given, typeOf(given)]
        const params = [given, given]
        const bigint = 'bigint'
        expect((await statement.table(params, { bigint })).rows).toEqual([expected])
        const { value: inside } = await client.transaction(
          async (tx) => Object.values((await tx.get(statement, params)) ?? {}),
          { readOnly: true, bigint },
        )
        expect(inside).toEqual(expected)
        for await (const row of client.iterateArrays('select ?, typeof(?)', params, { bigint }))
          expect(row).toEqual(expected)
        const { results } = await client.write([{ sql: 'select ?, typeof(?)', params }], { bigint })
        expect(results[0]?.rows).toEqual([expected])
      }),
      { numRuns: 60 },
    )
  })

  test('are stored as they were given: INTEGER and REAL, -0, NaN, infinities', async () => {
    const cluster = new TcpCluster()
    const client = await cluster.client(await cluster.leader())
    await client.write([{ sql: 'create table v (id integer primary key, x, r real, i integer)' }])
    const put = (x: Value): Promise<unknown> =>
      client.write([{ sql: 'insert into v (x, r, i) values (?, ?, ?)', params: [x, x, x] }])
    for (const x of [3, 3n, -0, Number.NaN, Number.POSITIVE_INFINITY, 2n ** 62n, 0.1]) await put(x)
    const { rows } = await client.read('select x, r, i, typeof(x) from v order by id', [], {
      bigint: 'bigint',
    })
    expect(rows).toEqual([
      [3, 3, 3n, 'real'],
      [3n, 3, 3n, 'integer'],
      // A column without a type keeps the sign of a zero; one of REAL or INTEGER does not: that is SQLite's.
      [-0, 0, 0n, 'real'],
      [null, null, null, 'null'],
      [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 'real'],
      [2n ** 62n, 2 ** 62, 2n ** 62n, 'integer'],
      [0.1, 0.1, 0.1, 'real'],
    ])
    await expect(client.read('select x from v', [], { bigint: 'number' })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
  })
})

describe('031 prepared statements', () => {
  test('know their columns and parameters before they run, also of writes, and after the schema changed', async () => {
    const cluster = new TcpCluster()
    const client = await cluster.client(await cluster.leader())
    await bank(client)
    const select = await client.prepare('select *, balance + ? as more from account where id = ?')
    expect(select).toMatchObject({ parameters: 2, readOnly: true })
    expect(select.columns).toEqual([
      { name: 'id', type: 'INTEGER' },
      { name: 'owner', type: 'TEXT' },
      { name: 'balance', type: 'INTEGER' },
      { name: 'more', type: '' },
    ])
    const insert = await client.prepare('insert into account values (?1, ?3, ?2) returning id')
    expect([insert.parameters, insert.readOnly, insert.columns]).toEqual([
      3,
      false,
      [{ name: 'id', type: 'INTEGER' }],
    ])
    expect((await client.read('select count(*) from account')).rows).toEqual([[2]])
    expect((await insert.run([7, 5, 'seven'])).results).toMatchObject([{ rows: [[7]], changes: 1 }])
    expect(await select.get([1, 7])).toEqual({ id: 7, owner: 'seven', balance: 5, more: 6 })
    await client.write([{ sql: 'alter table account add column note text' }])
    expect(await select.get([1, 7])).toMatchObject({ note: null })
    expect(select.columns.map(({ name }) => name)).toEqual(['id', 'owner', 'balance', 'note', 'more'])
    const none = await client.prepare('delete from account')
    expect([none.parameters, none.columns, none.readOnly]).toEqual([0, [], false])
    await expect(client.prepare('selec')).rejects.toMatchObject({ code: 'SQL_FAILED' })
    await expect(client.prepare('select 1; select 2')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})

describe('031 roles', () => {
  const credentials = new Map<string, Credential & { readonly secret: Uint8Array }>()
  for (const name of ['reader', 'writer', 'both', 'operator'])
    credentials.set(name, { name, secret: crypto.getRandomValues(new Uint8Array(32)) })
  const ROLES_OF: Readonly<Record<string, readonly Role[]>> = {
    reader: ['read'],
    writer: ['write'],
    both: ['read', 'write'],
    operator: ['admin'],
  }

  async function clientAs(
    name: string,
  ): Promise<{ readonly client: Client; readonly count: () => Promise<unknown> }> {
    const cluster = new TcpCluster()
    const list = grants(
      [...credentials.values()].map((each) => ({
        name: each.name,
        roles: ROLES_OF[each.name] ?? [],
        verifier: verifierOf(each.secret),
      })),
    )
    const leader = await cluster.leader({ credentials: list })
    await fill(leader, 3)
    const credential = credentials.get(name) as Credential
    const client = await connect({ transport: tcp(), address: leader.address ?? '', credential })
    onTestFinished(() => client.close())
    const count = async (): Promise<unknown> =>
      (await leader.read((tx) => tx.get('select count(*) as n from note')))?.['n']
    return { client, count }
  }

  const SMUGGLED = [
    "insert into note (body) values ('smuggled')",
    'delete from note',
    "with x(b) as (values ('smuggled')) insert into note (body) select b from x returning id",
    'update note set body = 1 returning body',
    'create table smuggled (x)',
    'pragma user_version = 7',
    'pragma query_only = off',
    'pragma journal_mode = delete',
    "attach ':memory:' as other",
    'begin immediate',
    'vacuum',
    'drop table note',
    'analyze',
  ]

  test('a client that may only read smuggles in no write, whichever way', async () => {
    const { client, count } = await clientAs('reader')
    for (const sql of SMUGGLED) await smuggle(client, count, sql)
  })

  async function smuggle(client: Client, count: () => Promise<unknown>, sql: string): Promise<void> {
    const version = 'select user_version from pragma_user_version'
    const before = (await client.read(version)).rows
    const inTransaction = (use: (tx: ClientTransaction) => Promise<unknown>): Promise<unknown> =>
      client.transaction(use, { readOnly: true })
    const attempts: (() => Promise<unknown>)[] = [
      () => client.write([{ sql }]),
      () => client.transaction((tx) => tx.run(sql)),
      () => client.read(sql),
      () => inTransaction((tx) => tx.run(sql)),
      () => client.iterate(sql)[Symbol.asyncIterator]().next(),
      () => inTransaction((tx) => tx.iterate(sql)[Symbol.asyncIterator]().next()),
      async () => (await client.prepare(sql)).run(),
      async () => (await client.prepare(sql)).all(),
      async () => (await client.prepare(sql)).iterate()[Symbol.asyncIterator]().next(),
    ]
    for (const [at, attempt] of attempts.entries()) {
      const error: unknown = await attempt().then(
        () => undefined,
        (reason: unknown) => reason,
      )
      expect([sql, at, (error as { code?: string } | undefined)?.code]).toEqual([
        sql,
        at,
        expect.stringMatching(/^(FORBIDDEN|WRITE_FORBIDDEN|SQL_FAILED)$/),
      ])
    }
    expect([await count(), (await client.read(version)).rows]).toEqual([3, before])
  }

  test('a client that may only write sees no row in its transaction, and opens no view', async () => {
    const { client, count } = await clientAs('writer')
    const { value } = await client.transaction(async (tx) => {
      await tx.run("insert into note (body) values ('written')")
      return tx.all('select * from note')
    })
    expect([value, await count()]).toEqual([[], 4])
    const { columns, parameters } = await client.prepare('select * from note where id = ?')
    expect([columns, parameters]).toEqual([[], 1])
    const forbidden = { code: 'FORBIDDEN' }
    await expect(client.transaction(() => undefined, { readOnly: true })).rejects.toMatchObject(forbidden)
    await expect(client.iterate('select 1')[Symbol.asyncIterator]().next()).rejects.toMatchObject(forbidden)
  })

  test('an operator runs no SQL at all', async () => {
    const { client } = await clientAs('operator')
    for (const attempt of [
      client.read('select 1'),
      client.write([{ sql: 'delete from note' }]),
      client.prepare('select 1'),
      client.transaction(() => undefined),
      client.transaction(() => undefined, { readOnly: true }),
      client.iterate('select 1')[Symbol.asyncIterator]().next(),
    ])
      await expect(attempt).rejects.toMatchObject({ code: 'FORBIDDEN' })
  })

  test('SQL of clients in a transaction has the limits of any: no ATTACH, no settings, no COMMIT of its own', async () => {
    const { client, count } = await clientAs('both')
    const refused = [
      "attach ':memory:' as o",
      'pragma journal_mode = delete',
      'commit',
      'savepoint x',
      'vacuum',
    ]
    await client.transaction(async (tx) => {
      for (const sql of refused) await expect(tx.run(sql)).rejects.toMatchObject({ code: 'WRITE_FORBIDDEN' })
      await tx.run('delete from note where id = 1')
    })
    expect(await count()).toBe(2)
  })
})
