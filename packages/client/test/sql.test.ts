/** Streams, transactions and prepared statements of one connection, against the real server and a node that the tests make. */
import { UnderstudyError } from '@understudy/contracts'
import type { SqlStatement, Value } from '@understudy/protocol'
import type { ClientHandlers, OpenRead, OpenWrite } from '@understudy/server'
import { describe, expect, test } from 'vitest'
import type { Client, ConnectOptions } from '../src/index.ts'
import { Cluster, failureOf, turns } from './harness.ts'

const AT = { epoch: 3, lsn: 10 }

interface Node {
  readonly calls: string[]
  /** Rows of a stream; each is its number. */
  rows: number
  columns: string[]
  parameters: (readonly Value[])[]
  readonly failures: Map<string, Error>
  readonly handlers: Partial<ClientHandlers>
}

function fakeNode(): Node {
  const node: Node = {
    calls: [],
    rows: 10,
    columns: ['n'],
    parameters: [],
    failures: new Map(),
    handlers: {
      describe: (sql) => {
        node.calls.push(`describe ${sql}`)
        return {
          columns: node.columns.map((name) => ({ name, type: '' })),
          parameters: 2,
          readOnly: true,
        }
      },
      read: (statement, { bigints }) => ({ result: run(statement, bigints), position: AT }),
      write: (statements) => ({
        results: statements.map((statement) => run(statement, false)),
        position: AT,
      }),
      openRead: async () => (node.calls.push('openRead'), read()),
      openWrite: async () => (node.calls.push('openWrite'), write()),
    },
  }
  const run = ({ sql, parameters }: SqlStatement, bigints = false) => {
    node.calls.push(`run ${sql}`)
    node.parameters.push(parameters)
    const failure = node.failures.get(sql)
    if (failure !== undefined) throw failure
    return { columns: node.columns, rows: [[bigints ? 1n : 1]], changes: 1 }
  }
  const read = (): OpenRead => ({
    position: AT,
    run: (statement, { bigints }) => run(statement, bigints),
    cursor: () => {
      let at = 0
      return {
        next: ({ rowsMax }) => {
          const rows: number[][] = []
          while (rows.length < rowsMax && at < node.rows) rows.push([at++])
          node.calls.push(`page to ${at}`)
          const failure = node.failures.get(`row ${at}`)
          if (failure !== undefined) throw failure
          return { columns: node.columns, rows, isLast: at >= node.rows }
        },
        close: () => undefined,
      }
    },
    close: () => void node.calls.push('close'),
  })
  const write = (): OpenWrite => ({
    position: AT,
    run: (statement) => run(statement),
    commit: async () => {
      node.calls.push('commit')
      const failure = node.failures.get('commit')
      if (failure !== undefined) throw failure
      return { results: [], position: { epoch: 3, lsn: 11 } }
    },
    rollback: async () => void node.calls.push('rollback'),
  })
  return node
}

async function connected(
  node: Node,
  options: Partial<ConnectOptions> = {},
): Promise<{ readonly client: Client; readonly cluster: Cluster }> {
  const cluster = new Cluster()
  const address = await cluster.start({ handlers: node.handlers })
  return { client: await cluster.connect(address, options), cluster }
}

describe('a stream of rows', () => {
  test('gives every row once, in order, whatever a page holds', async () => {
    for (const batchRows of [1, 3, 10, 11, 1000]) {
      const node = fakeNode()
      const { client } = await connected(node)
      const rows: Value[] = []
      for await (const row of client.iterate('select', [], { batchRows })) rows.push(row['n'] as Value)
      expect(rows).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
      expect(node.calls.filter((call) => call === 'close').length).toBe(1)
    }
  })

  test('asks for one page ahead of the one in hand, and no more', async () => {
    const node = fakeNode()
    node.rows = 1000
    const { client } = await connected(node)
    const stream = client.iterateArrays('select', [], { batchRows: 10 })
    expect(node.calls).toEqual([])
    let taken = 0
    for await (const [n] of stream) {
      expect(n).toBe(taken++)
      await turns(3)
      const page = Math.floor((taken - 1) / 10) + 1
      expect(node.calls.at(-1)).toBe(`page to ${(page + 1) * 10}`)
      if (taken === 35) break
    }
    await turns()
    expect(node.calls.slice(-2)).toEqual(['page to 50', 'close'])
    expect(stream.position).toEqual(AT)
  })

  test.each(['break', 'throw'])('ends at the node when its loop ends by %s', async (how) => {
    const node = fakeNode()
    const { client } = await connected(node)
    const loop = async (): Promise<void> => {
      for await (const { n } of client.iterate('select', [], { batchRows: 2 })) {
        if (n === 2 && how === 'break') break
        if (n === 2) throw new Error('mine')
      }
    }
    if (how === 'break') await loop()
    else await expect(loop()).rejects.toThrow('mine')
    await turns()
    expect(node.calls.at(-1)).toBe('close')
  })

  test('an error of a later page reaches the loop, after the rows before it', async () => {
    const node = fakeNode()
    node.failures.set('row 6', new UnderstudyError('TIMEOUT', 'too long'))
    const { client } = await connected(node)
    const rows: Value[] = []
    const loop = async (): Promise<void> => {
      for await (const { n } of client.iterate('select', [], { batchRows: 2 })) rows.push(n as Value)
    }
    await expect(loop()).rejects.toMatchObject({ code: 'TIMEOUT' })
    expect(rows).toEqual([0, 1, 2, 3])
  })

  test('the end of the connection ends the loop', async () => {
    const node = fakeNode()
    const { client, cluster } = await connected(node)
    const loop = async (): Promise<void> => {
      for await (const { n } of client.iterate('select', [], { batchRows: 2 }))
        if (n === 3) await cluster.sessions[0]?.close()
    }
    await expect(loop()).rejects.toMatchObject({ code: 'CONNECTION_LOST' })
    expect(node.calls.at(-1)).toBe('close')
  })

  test('a signal ends it', async () => {
    const { client } = await connected(fakeNode())
    const controller = new AbortController()
    const loop = async (): Promise<void> => {
      for await (const { n } of client.iterate('select', [], { batchRows: 2, signal: controller.signal }))
        if (n === 3) controller.abort()
    }
    await expect(loop()).rejects.toMatchObject({ code: 'ABORTED' })
  })

  test('is read once', async () => {
    const { client } = await connected(fakeNode())
    const stream = client.iterate('select')
    for await (const batch of stream.batches()) expect(batch.rows.length).toBe(10)
    await expect(stream[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test.each([{ batchRows: 0 }, { batchBytes: 2 ** 30 }, { timeoutMs: 0.5 }, { bigint: 'no' as 'auto' }])(
    '%j is refused',
    async (options) => {
      const { client } = await connected(fakeNode())
      expect(() => client.iterate('select', [], options)).toThrow(
        expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
      )
    },
  )
})

describe('a transaction', () => {
  test('runs its statements in order and commits', async () => {
    const node = fakeNode()
    const { client } = await connected(node)
    const reply = await client.transaction(async (tx) => {
      expect(tx.position).toEqual(AT)
      expect(await tx.get('a', [1n])).toEqual({ n: 1 })
      expect(await tx.all('b')).toEqual([{ n: 1 }])
      return (await tx.run('c')).changes
    })
    expect(reply).toEqual({ value: 1, position: { epoch: 3, lsn: 11 }, receipt: undefined })
    expect(node.calls).toEqual(['openWrite', 'run a', 'run b', 'run c', 'commit'])
    expect(node.parameters[0]).toEqual([1n])
  })

  test('a callback that fails rolls back; the transaction is dead after it', async () => {
    const node = fakeNode()
    const { client } = await connected(node)
    let dead: unknown
    const failing = client.transaction(async (tx) => {
      dead = tx
      await tx.run('a')
      throw new Error('mine')
    })
    await expect(failing).rejects.toThrow('mine')
    expect(node.calls).toEqual(['openWrite', 'run a', 'rollback'])
    await expect((dead as { run(sql: string): Promise<unknown> }).run('b')).rejects.toMatchObject({
      code: 'CLOSED',
    })
  })

  test('a commit that is not answered is OUTCOME_UNKNOWN, a statement that is not is a TIMEOUT', async () => {
    const node = fakeNode()
    const never = (): Promise<never> => new Promise(() => {})
    const cluster = new Cluster()
    const write: OpenWrite = {
      position: AT,
      run: () => ({ columns: [], rows: [], changes: 0 }),
      commit: never,
      rollback: async () => undefined,
    }
    const address = await cluster.start({ handlers: { ...node.handlers, openWrite: async () => write } })
    const client = await cluster.connect(address, { timeoutMs: 500 })
    const outcome = failureOf(client.transaction((tx) => tx.run('a')))
    await turns()
    await cluster.clock.advance(500)
    expect(await outcome).toMatchObject({ code: 'OUTCOME_UNKNOWN' })
  })

  test('what the node says of its commit is what the caller learns', async () => {
    const node = fakeNode()
    node.failures.set('commit', new UnderstudyError('NOT_WRITTEN', 'too long'))
    const { client } = await connected(node)
    await expect(client.transaction((tx) => tx.run('a'))).rejects.toMatchObject({ code: 'NOT_WRITTEN' })
  })

  test('one that waits too long for its turn is given up at the node, too', async () => {
    const cluster = new Cluster()
    let signal: AbortSignal | undefined
    const address = await cluster.start({
      handlers: { openWrite: (request) => ((signal = request.signal), new Promise(() => {})) },
    })
    const client = await cluster.connect(address)
    const outcome = failureOf(client.transaction(() => undefined, { waitMs: 300 }))
    await turns()
    await cluster.clock.advance(550)
    expect(await outcome).toMatchObject({ code: 'TIMEOUT' })
    await turns()
    expect(signal?.aborted).toBe(true)
  })

  test('one that was aborted is not committed, whatever its callback makes of it', async () => {
    const node = fakeNode()
    const { client } = await connected(node)
    const controller = new AbortController()
    const aborted = client.transaction(
      async (tx) => {
        await tx.run('a')
        controller.abort()
      },
      { signal: controller.signal },
    )
    await expect(aborted).rejects.toMatchObject({ code: 'ABORTED' })
    expect(node.calls).not.toContain('commit')
  })

  test('one that only reads streams, and is told where it reads', async () => {
    const node = fakeNode()
    const { client } = await connected(node)
    const { value, position } = await client.transaction(
      async (tx) => {
        await tx.get('a')
        let sum = 0
        for await (const { n } of tx.iterate('b', [], { batchRows: 3 })) sum += Number(n)
        return sum
      },
      { readOnly: true },
    )
    expect([value, position]).toEqual([45, AT])
    expect(node.calls.filter((call) => call === 'openRead' || call === 'close')).toEqual([
      'openRead',
      'close',
    ])
  })
})

describe('a prepared statement', () => {
  test('says what it is, and runs without its text', async () => {
    const node = fakeNode()
    const { client } = await connected(node)
    await using statement = await client.prepare('select ?, ?')
    expect(statement).toMatchObject({
      sql: 'select ?, ?',
      columns: [{ name: 'n', type: '' }],
      parameters: 2,
      readOnly: true,
    })
    expect(await statement.get([1, 2])).toEqual({ n: 1 })
    expect(await statement.all([3n])).toEqual([{ n: 1 }])
    expect(await statement.table()).toMatchObject({ columns: ['n'], rows: [[1]], position: AT })
    expect((await statement.run([5])).results).toMatchObject([{ changes: 1 }])
    await client.transaction((tx) => tx.run(statement, [6]))
    let rows = 0
    for await (const { n } of statement.iterate([7])) expect(n).toBe(rows++)
    expect(rows).toBe(10)
    expect(node.calls.filter((call) => call.startsWith('run'))).toEqual(Array(5).fill('run select ?, ?'))
    expect(node.parameters).toEqual([[1, 2], [3n], [], [5], [6]])
  })

  test('is prepared anew where the node forgot it, and runs once', async () => {
    const node = fakeNode()
    const { client } = await connected(node)
    const statements = await Promise.all(
      Array.from({ length: 257 }, (_, at) => client.prepare(`select ${at}`)),
    )
    node.calls.length = 0
    expect(await statements[0]?.get()).toEqual({ n: 1 })
    expect(node.calls).toEqual(['describe select 0', 'run select 0'])
    node.calls.length = 0
    await Promise.all([statements[1]?.get(), statements[1]?.get()])
    expect(node.calls.sort()).toEqual(['describe select 1', 'run select 1', 'run select 1'])
  })

  test('knows its columns again after the schema changed', async () => {
    const node = fakeNode()
    const { client } = await connected(node)
    const statement = await client.prepare('select *')
    node.columns = ['m']
    expect(await statement.get()).toEqual({ m: 1 })
    expect(statement.columns).toEqual([{ name: 'm', type: '' }])
  })

  test('of another client runs by its text: its number means nothing there', async () => {
    const [mine, other] = [fakeNode(), fakeNode()]
    const [{ client }, { client: elsewhere }] = [await connected(mine), await connected(other)]
    const statement = await client.prepare('mine')
    await elsewhere.prepare('theirs')
    await elsewhere.transaction((tx) => tx.run(statement))
    expect(other.calls).toContain('run mine')
    expect(other.calls).not.toContain('run theirs')
  })

  test('is over when it was closed', async () => {
    const { client } = await connected(fakeNode())
    const statement = await client.prepare('select')
    await statement.close()
    await statement.close()
    await expect(statement.get()).rejects.toMatchObject({ code: 'CLOSED' })
  })
})

describe('integers', () => {
  test('come as they were asked for', async () => {
    const node = fakeNode()
    const { client } = await connected(node)
    expect((await client.read('a', [], { bigint: 'bigint' })).rows).toEqual([[1n]])
    expect((await client.read('a', [], { bigint: 'number' })).rows).toEqual([[1]])
    expect((await client.read('a')).rows).toEqual([[1]])
    const { value } = await client.transaction((tx) => tx.get('a'), { readOnly: true, bigint: 'bigint' })
    expect(value).toEqual({ n: 1n })
  })

  test('that no number holds are an error where numbers were asked for', async () => {
    const cluster = new Cluster()
    const result = { columns: ['a', 'big'], rows: [[1, 2n ** 60n]], changes: 0 }
    const address = await cluster.start({ handlers: { read: () => ({ result, position: AT }) } })
    const client = await cluster.connect(address)
    expect((await client.read('a')).rows).toEqual([[1, 2n ** 60n]])
    await expect(client.read('a', [], { bigint: 'number' })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { column: 'big' },
    })
  })
})
