import { UnderstudyError } from '@understudy/contracts'
import { Connection, type Message, type ResponseBody } from '@understudy/protocol'
import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { Cluster, failureOf, turns } from './harness.ts'

const POSITION = { epoch: 3, lsn: 10 }
const never = <T>(): Promise<T> => new Promise<T>(() => {})

describe('connecting', () => {
  test('a client knows the name and the cluster of its node, and says its own', async () => {
    const cluster = new Cluster()
    const address = await cluster.start({ name: 'a', cluster: 'c1' })
    const client = await cluster.connect(address, { name: 'shell', cluster: 'c1' })
    expect([client.address, client.node, client.cluster]).toEqual([address, 'a', 'c1'])
    expect(cluster.hellos).toMatchObject([{ purpose: 'client', node: 'shell', cluster: 'c1', history: [] }])
    expect(cluster.clock.pending).toBe(1)
  })

  test('a node of another cluster refuses the client', async () => {
    const cluster = new Cluster()
    const address = await cluster.start({ cluster: 'c1' })
    await expect(cluster.connect(address, { cluster: 'c2' })).rejects.toMatchObject({
      code: 'FOREIGN_CLUSTER',
    })
  })

  test('nobody there is CONNECT_FAILED', async () => {
    await expect(new Cluster().connect('memory://nobody')).rejects.toMatchObject({ code: 'CONNECT_FAILED' })
  })

  test('a node that accepts and is silent is PEER_SILENT after the timeout', async () => {
    const cluster = new Cluster()
    const address = await cluster.listen('mute', (channel) => new Connection(channel, cluster.clock))
    const connecting = cluster.connect(address, { timeoutMs: 700 })
    const outcome = failureOf(connecting)
    await turns()
    await cluster.clock.advance(700)
    expect(await outcome).toMatchObject({ code: 'PEER_SILENT' })
    expect(cluster.clock.pending).toBe(0)
  })

  test('connecting can be aborted', async () => {
    const cluster = new Cluster()
    const address = await cluster.listen('mute', (channel) => new Connection(channel, cluster.clock))
    const controller = new AbortController()
    const outcome = failureOf(cluster.connect(address, { signal: controller.signal }))
    await turns()
    controller.abort()
    expect(await outcome).toMatchObject({
      code: 'ABORTED',
    })
  })

  test.each([
    ['PROTOCOL_VIOLATION', { type: 'response', id: 1, body: { kind: 'json', text: '{}' } }],
    [
      'PROTOCOL_VERSION',
      {
        type: 'welcome',
        version: 99,
        cluster: 'c',
        node: 'a',
        history: [],
        end: { epoch: 0, lsn: 0, crc: 0 },
        verdict: { kind: 'continue', from: 1 },
        heartbeatMs: 0,
        deadlineMs: 0,
      },
    ],
  ] as const)('a greeting answered wrongly is %s', async (code, message: Message) => {
    const cluster = new Cluster()
    const address = await cluster.listen('odd', (channel) => {
      new Connection(channel, cluster.clock).send(message)
    })
    await expect(cluster.connect(address)).rejects.toMatchObject({ code })
  })

  test.each([-1, 1.5, Number.NaN, 1e12])('a timeout of %d is refused', async (timeoutMs) => {
    const cluster = new Cluster()
    await expect(cluster.connect('memory://a', { timeoutMs })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
  })
})

describe('calls', () => {
  test('each call reaches the node and comes back in its own shape', async () => {
    const cluster = new Cluster()
    const seen: unknown[] = []
    const address = await cluster.start({
      handlers: {
        status: () => ({ role: 'leader' }),
        write: (statements) => {
          seen.push(statements)
          return { results: [{ columns: [], rows: [], changes: 1 }], position: POSITION }
        },
        read: (statement, { after, timeoutMs }) => {
          seen.push([statement, after, timeoutMs])
          return {
            result: { columns: ['id', 'body'], rows: [[1n << 60n, new Uint8Array([1, 2])]], changes: 0 },
            position: POSITION,
          }
        },
        mark: () => POSITION,
        digest: (at) => ({ position: at, tables: [{ table: 't', rows: 1, digest: 'ab' }] }),
        rows: (at, table, offset) => ({ key: [table], columns: ['', 'id'], rows: [['i', at.lsn + offset]] }),
        release: () => void seen.push('release'),
        slots: () => [{ name: 'b', lsn: 1, state: 'reserved', heldBytes: 5, safeBytes: 6 }],
        exposure: ({ after, sinceMs, byChoice }) => {
          seen.push([after, sinceMs, byChoice])
          return { knownFrom: 1, upTo: POSITION, ranges: [], forgotten: 0 }
        },
        dropSlot: (name) => void seen.push(name),
        forget: (name) => void seen.push(`forget ${name}`),
        switchFormat: (format) => (seen.push(format), { epoch: 3, lsn: 9 }),
        setAcks: ({ rule, onUnmet, ackTimeoutMs, acceptLoss }) => {
          seen.push([rule, onUnmet, ackTimeoutMs, acceptLoss])
          return POSITION
        },
      },
    })
    const client = await cluster.connect(address)
    expect(await client.status()).toEqual({ role: 'leader' })
    expect(await client.write([{ sql: 'a' }, { sql: 'b', params: [1, null] }])).toEqual({
      results: [{ columns: [], rows: [], changes: 1 }],
      position: POSITION,
      receipt: undefined,
      replayed: false,
      valueKept: true,
    })
    expect(await client.read('c', ['x'], { after: POSITION, timeoutMs: 5 })).toEqual({
      columns: ['id', 'body'],
      rows: [[1n << 60n, new Uint8Array([1, 2])]],
      changes: 0,
      position: POSITION,
    })
    expect(await client.mark()).toEqual(POSITION)
    expect(await client.digest(POSITION)).toEqual({
      position: POSITION,
      tables: [{ table: 't', rows: 1, digest: 'ab' }],
    })
    expect(await client.slots()).toEqual([
      { name: 'b', lsn: 1, state: 'reserved', heldBytes: 5, safeBytes: 6 },
    ])
    const exposure = { knownFrom: 1, upTo: POSITION, ranges: [], forgotten: 0 }
    expect(await client.exposure({ after: POSITION, sinceMs: 7.9, byChoice: true })).toEqual(exposure)
    expect(seen.pop()).toEqual([POSITION, 7, true])
    expect(await client.dropSlot('b')).toBeUndefined()
    expect(await client.forget('c')).toBeUndefined()
    expect(await client.switchFormat('wal')).toEqual({ epoch: 3, lsn: 9 })
    expect(await client.setAcks('sync:b', { onUnmet: 'fail', ackTimeoutMs: 5 })).toEqual(POSITION)
    const page = { key: ['t'], columns: ['', 'id'], rows: [['i', POSITION.lsn + 7]] }
    expect(await client.rows(POSITION, 't', 7)).toEqual(page)
    expect(await client.release(POSITION)).toBeUndefined()
    expect(seen).toEqual([
      [
        { sql: 'a', parameters: [] },
        { sql: 'b', parameters: [1, null] },
      ],
      [{ sql: 'c', parameters: ['x'] }, POSITION, 5],
      'b',
      'forget c',
      'wal',
      ['sync:b', 'fail', 5, false],
      'release',
    ])
  })

  test('calls overlap, and each gets its own answer', async () => {
    const cluster = new Cluster()
    const answers: (() => void)[] = []
    const address = await cluster.start({
      handlers: {
        read: async ({ sql }) => {
          await new Promise<void>((resolve) => answers.push(resolve))
          return { result: { columns: ['sql'], rows: [[sql]], changes: 0 }, position: undefined }
        },
      },
    })
    const client = await cluster.connect(address)
    const reads = ['one', 'two', 'three'].map((sql) => client.read(sql))
    await turns()
    for (const answer of answers.toReversed()) answer()
    expect((await Promise.all(reads)).map((reply) => reply.rows)).toEqual([[['one']], [['two']], [['three']]])
  })

  test("the node's error arrives with its code and message", async () => {
    const cluster = new Cluster()
    const address = await cluster.start({
      handlers: {
        write: () => {
          throw new UnderstudyError('NOT_LEADER', 'b leads.')
        },
      },
    })
    const client = await cluster.connect(address)
    await expect(client.write([{ sql: 'x' }])).rejects.toMatchObject({
      code: 'NOT_LEADER',
      message: 'b leads.',
      details: { node: 'a', fromPeer: true },
    })
  })

  test('what cannot be sent is refused, and the connection goes on', async () => {
    const cluster = new Cluster()
    const client = await cluster.connect(await cluster.start({ handlers: { mark: () => POSITION } }))
    await expect(client.dropSlot('x'.repeat(300))).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(client.read('x', [], { timeoutMs: -1 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(await client.mark()).toEqual(POSITION)
  })

  test('more calls than may wait are OVERLOADED, and those that wait are answered', async () => {
    const cluster = new Cluster()
    const open = Promise.withResolvers<void>()
    const address = await cluster.start({
      handlers: { mark: () => open.promise.then(() => POSITION) },
    })
    const client = await cluster.connect(address)
    const waiting = Array.from({ length: 4096 }, () => client.mark())
    await expect(client.mark()).rejects.toMatchObject({ code: 'OVERLOADED' })
    open.resolve()
    expect(await Promise.all(waiting)).toHaveLength(4096)
    expect(await client.mark()).toEqual(POSITION)
  })
})

describe('when no answer comes', () => {
  const silent = { status: never, write: never, read: never, mark: never, digest: never } as const

  test('in time: a write has an unknown outcome, everything else a timeout', async () => {
    const cluster = new Cluster()
    const client = await cluster.connect(await cluster.start({ handlers: silent }), { timeoutMs: 1000 })
    const outcomes = Promise.allSettled([
      client.write([{ sql: 'x' }]),
      client.mark(),
      client.read('x'),
      client.digest(POSITION),
    ])
    await cluster.clock.advance(1000)
    await cluster.clock.advance(250)
    expect(await outcomes).toMatchObject([
      { reason: { code: 'OUTCOME_UNKNOWN' } },
      { reason: { code: 'TIMEOUT' } },
      { reason: { code: 'TIMEOUT' } },
      { reason: { code: 'TIMEOUT' } },
    ])
  })

  test("a node's own answer to a wait that took too long comes before the client gives up", async () => {
    const cluster = new Cluster()
    const address = await cluster.start({
      handlers: {
        read: (_, { timeoutMs }) =>
          new Promise((_resolve, reject) =>
            cluster.clock.schedule(timeoutMs, () =>
              reject(new UnderstudyError('TIMEOUT', 'This node is at 3/7.')),
            ),
          ),
      },
    })
    const client = await cluster.connect(address)
    const outcome = failureOf(client.read('x', [], { after: POSITION, timeoutMs: 400 }))
    await turns()
    await cluster.clock.advance(400)
    expect(await outcome).toMatchObject({
      code: 'TIMEOUT',
      message: 'This node is at 3/7.',
    })
  })

  test('an answer that comes too late is dropped, and the connection goes on', async () => {
    const cluster = new Cluster()
    const late = Promise.withResolvers<object>()
    const address = await cluster.start({
      handlers: { status: () => late.promise, mark: () => POSITION },
    })
    const client = await cluster.connect(address)
    const outcome = failureOf(client.status({ timeoutMs: 10 }))
    await turns()
    await cluster.clock.advance(10)
    expect(await outcome).toMatchObject({ code: 'TIMEOUT' })
    late.resolve({})
    await turns()
    expect(await client.mark()).toEqual(POSITION)
  })

  test('the caller may give up; an aborted write says that it may be done', async () => {
    const cluster = new Cluster()
    const client = await cluster.connect(await cluster.start({ handlers: silent }))
    const controller = new AbortController()
    const { signal } = controller
    const outcomes = Promise.allSettled([
      client.write([{ sql: 'x' }], { signal }),
      client.read('x', [], { signal }),
    ])
    await turns()
    controller.abort()
    expect(await outcomes).toMatchObject([
      { reason: { code: 'ABORTED', message: expect.stringContaining('may be done') } },
      { reason: { code: 'ABORTED' } },
    ])
    await expect(client.write([{ sql: 'x' }], { signal })).rejects.toMatchObject({
      code: 'ABORTED',
      message: expect.stringContaining('before it was sent'),
    })
  })

  test('a signal shared by many calls keeps no listener of those that are done', async () => {
    const cluster = new Cluster()
    const client = await cluster.connect(await cluster.start({ handlers: { mark: () => POSITION } }))
    const { signal } = new AbortController()
    for (let call = 0; call < 20; call++) await client.mark({ signal })
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  test('the connection ends: a write in flight has an unknown outcome, everything else lost its connection', async () => {
    const cluster = new Cluster()
    const client = await cluster.connect(await cluster.start({ handlers: silent }))
    const outcomes = Promise.allSettled([client.write([{ sql: 'x' }]), client.read('x'), client.mark()])
    await turns()
    void cluster.sessions[0]?.close(0)
    await cluster.clock.advance(0)
    expect(await outcomes).toMatchObject([
      { reason: { code: 'OUTCOME_UNKNOWN', cause: { code: 'CONNECTION_LOST' } } },
      { reason: { code: 'CONNECTION_LOST' } },
      { reason: { code: 'CONNECTION_LOST' } },
    ])
    await expect(client.write([{ sql: 'x' }])).rejects.toMatchObject({
      code: 'CONNECTION_LOST',
      message: expect.stringContaining('was not sent'),
    })
  })

  test('close fails what waits, once, and leaves no timer behind', async () => {
    const cluster = new Cluster()
    const client = await cluster.connect(await cluster.start({ handlers: silent }))
    const outcomes = Promise.allSettled([client.write([{ sql: 'x' }]), client.read('x')])
    await turns()
    await Promise.all([client.close(), client.close()])
    expect(await outcomes).toMatchObject([
      { reason: { code: 'OUTCOME_UNKNOWN' } },
      { reason: { code: 'CLOSED' } },
    ])
    await expect(client.status()).rejects.toMatchObject({ code: 'CLOSED' })
    await turns()
    expect(cluster.clock.pending).toBe(0)
  })
})

describe('a node that answers wrongly', () => {
  async function against(body: ResponseBody, id = 1): ReturnType<Cluster['connect']> {
    const cluster = new Cluster()
    const address = await cluster.listen('odd', async (channel) => {
      const connection = new Connection(channel, cluster.clock)
      await connection.next({ timeoutMs: 1000 })
      const end = { epoch: 0, lsn: 0, crc: 0 }
      const times = { heartbeatMs: 0, deadlineMs: 0 }
      const verdict = { kind: 'continue', from: 1 } as const
      connection.send({
        type: 'welcome',
        version: 1,
        cluster: 'c',
        node: 'odd',
        history: [],
        end,
        verdict,
        ...times,
      })
      connection.start({
        message: () => void connection.send({ type: 'response', id, body }),
        drained: () => {},
        closed: () => {},
      })
    })
    return cluster.connect(address)
  }

  test.each([
    ['another kind of answer', { kind: 'position', position: POSITION }],
    ['text that is no JSON', { kind: 'json', text: '{' }],
    ['a number', { kind: 'json', text: '3' }],
  ] as const)('%s to a status is a violation that ends the connection', async (_, body) => {
    const client = await against(body)
    await expect(client.status()).rejects.toMatchObject({ code: 'PROTOCOL_VIOLATION' })
    await turns()
    await expect(client.status()).rejects.toMatchObject({ code: 'PROTOCOL_VIOLATION' })
  })

  test('two results for one statement, and slots that are no list, are violations', async () => {
    const set = { columns: [], rows: [], changes: 0 }
    const client = await against({ kind: 'results', results: [set, set] })
    await expect(client.read('x')).rejects.toMatchObject({ code: 'PROTOCOL_VIOLATION' })
    const other = await against({ kind: 'json', text: '{}' })
    await expect(other.slots()).rejects.toMatchObject({ code: 'PROTOCOL_VIOLATION' })
    const third = await against({ kind: 'json', text: '{}' })
    await expect(third.exposure()).rejects.toMatchObject({ code: 'PROTOCOL_VIOLATION' })
  })

  test('an answer to what was never asked is a violation; a write that waits has an unknown outcome', async () => {
    const client = await against({ kind: 'json', text: '{}' }, 77)
    await expect(client.write([{ sql: 'x' }])).rejects.toMatchObject({
      code: 'OUTCOME_UNKNOWN',
      cause: { code: 'PROTOCOL_VIOLATION' },
    })
  })
})
