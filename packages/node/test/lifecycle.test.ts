/** Starting and stopping in every phase: nothing stays open, nobody is left waiting, nothing is left behind. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { nodeFiles } from '@understudy/log'
import { lockDirectory } from '@understudy/sqlite'
import { describe, expect, test } from 'vitest'
import { createNode, readNodeState, type NodeState } from '../src/index.ts'
import { writeNodeState } from '../src/state-file.ts'
import { Cluster, Events, countNotes } from './helpers.ts'

/** Throws unless the directory is free. */
function expectFree(directory: string): void {
  lockDirectory(directory).release()
}

describe('a start that fails', () => {
  test('in listening gives everything back, so that a second try works', async () => {
    const cluster = new Cluster()
    const taken = await cluster.transport.listen('memory://a', () => {})
    await expect(cluster.start('a', 'leader')).rejects.toThrow(/is taken already/)
    expectFree(join(cluster.folder, 'a'))
    expect(readdirSync(join(cluster.folder, 'a'))).toEqual(['lock'])
    await taken.close()
    const leader = await cluster.leader(2)
    expect(await countNotes(leader)).toBe(2)
  })

  test('in a later start of a leader keeps its data', async () => {
    const cluster = new Cluster()
    const first = await cluster.leader(3)
    const { cluster: id } = first
    await first.close()
    const taken = await cluster.transport.listen('memory://a', () => {})
    await expect(cluster.start('a', 'leader')).rejects.toThrow(/is taken already/)
    await taken.close()
    const again = await cluster.start('a', 'leader')
    expect(again.cluster).toBe(id)
    expect(await countNotes(again)).toBe(3)
  })

  test('because another node has the directory touches nothing', async () => {
    const cluster = new Cluster()
    const leader = await cluster.leader(1)
    await expect(createNode(cluster.options('a', 'leader', { listen: 'memory://x' }))).rejects.toMatchObject({
      code: 'DIRECTORY_LOCKED',
    })
    expect(await countNotes(leader)).toBe(1)
  })

  test('because the state file is damaged, or gone, touches nothing', async () => {
    const cluster = new Cluster()
    await (await cluster.leader(1)).close()
    const directory = join(cluster.folder, 'a')
    const path = join(directory, 'node.state')
    for (const role of ['leader', 'follower'] as const) {
      writeFileSync(path, 'rubbish')
      await expect(cluster.start('a', role)).rejects.toMatchObject({ code: 'STATE_CORRUPT' })
      nodeFiles().remove(path)
      await expect(cluster.start('a', role)).rejects.toMatchObject({ code: 'STATE_CORRUPT' })
      expect(existsSync(join(directory, 'generation-1/database.sqlite'))).toBe(true)
    }
    expectFree(directory)
  })

  test('because the directory is of another node, or of another role', async () => {
    const cluster = new Cluster()
    const leader = await cluster.leader(1)
    const follower = await cluster.start('b', 'follower')
    await follower.close()
    const b = join(cluster.folder, 'b')
    await expect(cluster.start('c', 'follower', { directory: b })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('belongs to node b') as string,
    })
    await expect(cluster.start('b', 'leader')).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('would part it from its cluster') as string,
    })
    await leader.close()
    await expect(cluster.start('a', 'follower', { leader: 'memory://z' })).rejects.toMatchObject({
      code: 'DIRECTORY_OF_LEADER',
    })
    expectFree(join(cluster.folder, 'a'))
  })
})

describe('the signal of a start', () => {
  test('that is aborted already starts nothing', async () => {
    const cluster = new Cluster()
    await expect(cluster.start('a', 'leader', { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORTED',
    })
    expect(existsSync(join(cluster.folder, 'a'))).toBe(false)
  })

  test('ends a follower that waits for its leader, and the next start goes on', async () => {
    const cluster = new Cluster()
    const abort = new AbortController()
    const start = cluster.start('b', 'follower', { signal: abort.signal })
    start.catch(() => {})
    await cluster.events['b']?.until('snapshotRetry')
    abort.abort()
    await expect(start).rejects.toMatchObject({ code: 'ABORTED' })
    expectFree(join(cluster.folder, 'b'))
    await cluster.leader(2)
    expect(await countNotes(await cluster.start('b', 'follower'))).toBe(2)
  })

  test('ends the redo of a leader, which keeps everything', async () => {
    const cluster = new Cluster()
    await crashedLeader(cluster.folder, 100)
    const abort = new AbortController()
    const options = cluster.options('a', 'leader', { signal: abort.signal })
    const events = new Events()
    const start = createNode({
      ...options,
      onEvent: (event) => {
        events.listen(event)
        if (event.kind === 'redo') abort.abort()
      },
    })
    await expect(start).rejects.toMatchObject({ code: 'ABORTED' })
    expect(events.all.map(({ kind }) => kind)).toEqual(['redo', 'closed'])
    expectFree(options.directory)
    expect(await countNotes(await cluster.start('a', 'leader'))).toBe(100)
  })

  test('is without effect after the start', async () => {
    const cluster = new Cluster()
    const abort = new AbortController()
    const leader = await cluster.leader(1, { signal: abort.signal })
    abort.abort()
    await leader.write((tx) => tx.run("insert into note values (2, 'x')"))
    expect(await countNotes(leader)).toBe(2)
  })
})

/** Leaves the directory of a leader whose database lacks what its log has: the commits were lost with the machine. */
async function crashedLeader(folder: string, rows: number): Promise<void> {
  const program = join(import.meta.dirname, 'programs/crash.ts')
  const child = spawn(
    process.execPath,
    [
      '--conditions=@understudy/source',
      '--disable-warning=ExperimentalWarning',
      program,
      join(folder, 'a'),
      String(rows),
    ],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  )
  expect((await once(child, 'exit'))[1]).toBe('SIGKILL')
}

describe('closing', () => {
  test('a leader answers the writes that wait, and takes no more', async () => {
    const cluster = new Cluster()
    const leader = await cluster.leader()
    const writes = Array.from({ length: 20 }, (_, i) =>
      leader.write((tx) => tx.run('insert into note values (?, ?)', [i, 'x'])),
    )
    const closing = leader.close()
    const refused = [
      leader.write((tx) => tx.exec('delete from note')),
      leader.mark(),
      leader.read(() => 1),
      leader.digest({ epoch: 1, lsn: 1 }),
    ]
    for (const each of await Promise.allSettled(refused))
      expect(each).toMatchObject({ status: 'rejected', reason: { code: 'CLOSED' } })
    const receipts = await Promise.all(writes)
    await closing
    expect(leader.applied.lsn).toBe(receipts.at(-1)?.receipt.position.lsn)
    expect(leader.status()).toMatchObject({ state: 'closed', uncheckpointedBytes: undefined })
    expect(() => leader.dropSlot('b')).toThrow(expect.objectContaining({ code: 'SLOT_UNKNOWN' }) as Error)
    expect(leader.slots()).toEqual([])
    await leader.checkpoint()
    expect(await countNotes(await cluster.start('a', 'leader'))).toBe(20)
  })

  test('a leader waits for a read in progress', async () => {
    const cluster = new Cluster()
    const leader = await cluster.leader(5)
    const gate = Promise.withResolvers<void>()
    const read = leader.read(async (tx) => {
      await gate.promise
      return tx.get('select count(*) as n from note')?.['n']
    })
    const closing = leader.close()
    gate.resolve()
    expect(await read).toBe(5)
    await closing
    expectFree(join(cluster.folder, 'a'))
  })

  test('a follower ends its waits for positions and for data', async () => {
    const cluster = new Cluster()
    await cluster.leader(1)
    const follower = await cluster.start('b', 'follower')
    const waits = [
      follower.read(() => 1, { after: { epoch: 1, lsn: 1000 } }),
      follower.digest({ epoch: 1, lsn: 1000 }),
    ]
    const closing = follower.close()
    for (const each of await Promise.allSettled(waits))
      expect(each).toMatchObject({ status: 'rejected', reason: { code: 'CLOSED' } })
    await closing
    // Not only while it closes: nobody waits for a node that is gone.
    await expect(follower.read(() => 1)).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(follower.write(() => 1)).rejects.toMatchObject({ code: 'CLOSED' })
  })

  test('a follower in redo does not finish it first', async () => {
    const cluster = new Cluster()
    // A follower's directory behind its own log: that of a crashed leader, said to follow.
    await crashedLeader(cluster.folder, 100)
    const directory = join(cluster.folder, 'a')
    const state = readNodeState(nodeFiles(), directory)
    writeNodeState(nodeFiles(), directory, { ...(state as NodeState), led: false })
    const abort = new AbortController()
    const events = new Events()
    const options = cluster.options('a', 'follower', { leader: 'memory://z', signal: abort.signal })
    const start = createNode({
      ...options,
      onEvent: (event) => {
        events.listen(event)
        if (event.kind === 'redo') abort.abort()
      },
    })
    await expect(start).rejects.toMatchObject({ code: 'ABORTED' })
    const last = events.all.findLast((event) => event.kind === 'redo')
    expect(last?.applied.lsn).toBeLessThan(last?.upTo ?? 0)
    expectFree(directory)
    const follower = await cluster.start('a', 'follower', { leader: 'memory://z' })
    expect(await countNotes(follower)).toBe(100)
  })

  test('twice is once, and what fails on the way does not keep the rest open', async () => {
    const cluster = new Cluster()
    const { transport } = cluster
    const leader = await createNode({
      ...cluster.options('a', 'leader'),
      transport: {
        schemes: transport.schemes,
        connect: (address, options) => transport.connect(address, options),
        async listen(address, accept) {
          const listener = await transport.listen(address, accept)
          return {
            address: listener.address,
            async close() {
              await listener.close()
              throw new Error('the listener broke')
            },
            [Symbol.asyncDispose]: () => listener.close(),
          }
        },
      },
    })
    const closing = leader.close()
    expect(leader.close()).toBe(closing)
    await expect(closing).rejects.toThrow('the listener broke')
    expectFree(join(cluster.folder, 'a'))
  })
})

describe('importing', () => {
  const source = (folder: string, sql: string): { path: string; database: DatabaseSync } => {
    const path = join(folder, 'existing.db')
    const database = new DatabaseSync(path)
    database.exec(sql)
    return { path, database }
  }

  test('a database in WAL mode that is open and written to elsewhere', async () => {
    const cluster = new Cluster()
    const { path, database } = source(
      cluster.folder,
      "pragma journal_mode = wal; create table note (id integer primary key, body text); insert into note values (1, 'in the wal')",
    )
    database.exec("begin immediate; insert into note values (2, 'not committed')")
    const leader = await cluster.start('a', 'leader', { importFrom: path })
    database.exec('commit')
    expect(await countNotes(leader)).toBe(1)
    await leader.write((tx) => tx.run("insert into note values (3, 'ours')"))
    expect(database.prepare('select count(*) as n from note').get()).toEqual({ n: 2 })
    database.close()
    expect(await countNotes(await cluster.start('b', 'follower'))).toBe(2)
    await leader.close()
    await expect(cluster.start('a', 'leader', { importFrom: path })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
    expect(await countNotes(await cluster.start('a', 'leader'))).toBe(2)
  })

  test('a database that needs functions gets those of setup', async () => {
    const cluster = new Cluster()
    const setup = (connection: DatabaseSync): void => {
      connection.function('twice', { deterministic: true }, (value) => Number(value) * 2)
    }
    const path = join(cluster.folder, 'existing.db')
    const database = new DatabaseSync(path)
    setup(database)
    database.exec(
      'create table note (id integer primary key, body check (twice(body) > 0)); create index i on note (twice(body)); insert into note values (1, 4)',
    )
    database.close()
    const leader = await cluster.start('a', 'leader', { importFrom: path, setup })
    expect(await leader.read((tx) => tx.all('select id from note where twice(body) = 8'))).toEqual([
      { id: 1 },
    ])
  })

  test("a follower's file has its triggers again", async () => {
    const cluster = new Cluster()
    const leader = await cluster.start('a', 'leader')
    await leader.write((tx) =>
      tx.exec(`create table note (id integer primary key, body text); create table seen (id integer primary key);
        create trigger see after insert on note begin insert into seen values (new.id); end`),
    )
    const follower = await cluster.start('b', 'follower')
    const { directory } = cluster.options('b', 'follower')
    await follower.close()
    await leader.close()
    const importFrom = join(directory, 'generation-1', 'database.sqlite')
    const next = await cluster.start('c', 'leader', { importFrom })
    await next.write((tx) => tx.run("insert into note values (1, 'seen')"))
    expect(await next.read((tx) => tx.all('select id from seen'))).toEqual([{ id: 1 }])
  })

  for (const [what, sql] of [
    ['a table without PRIMARY KEY', 'create table plain (body text)'],
    ['damage', ''],
  ] as const) {
    test(`a database with ${what} is refused, and a second try with a good one works`, async () => {
      const cluster = new Cluster()
      const good = 'create table note (id integer primary key, body text);'
      const { path, database } = source(cluster.folder, good + sql)
      database.close()
      if (sql === '') writeFileSync(path, 'this is not a database')
      const before = nodeFiles().size(path)
      await expect(cluster.start('a', 'leader', { importFrom: path })).rejects.toMatchObject({
        code: 'DATABASE_UNSUITABLE',
      })
      expect(readdirSync(join(cluster.folder, 'a'))).toEqual(['lock'])
      expect(nodeFiles().size(path)).toBe(before)
      nodeFiles().remove(path)
      source(cluster.folder, good).database.close()
      expect(await countNotes(await cluster.start('a', 'leader', { importFrom: path }))).toBe(0)
    })
  }

  test('a database that is not there', async () => {
    const cluster = new Cluster()
    await expect(
      cluster.start('a', 'leader', { importFrom: join(cluster.folder, 'none.db') }),
    ).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(readdirSync(join(cluster.folder, 'a'))).toEqual(['lock'])
  })
})
