/**
 * A promotion leaves nodes with records that the new history lacks: the former leader, and a follower that got more. Each keeps
 * what it alone had, undoes it from its own log, and follows on; only what rows cannot undo takes pages.
 */
import { readdirSync } from 'node:fs'
import { stripVTControlCharacters } from 'node:util'
import { expect, test } from 'vitest'
import { runCommandLine } from '@understudy/cli'
import { listLostTails } from '@understudy/failover'
import { statementFormat } from '@understudy/format-statement'
import { rowFormat } from '@understudy/format-row'
import { walFormat } from '@understudy/format-wal'
import { nodeFiles } from '@understudy/log'
import { lostTailDirectory, type UnderstudyNode } from '@understudy/node'
import { parted, put } from './support/parted.ts'
import { caughtUp, type TcpCluster } from './support/tcp-cluster.ts'

function tailsOf(cluster: TcpCluster, name: string) {
  return listLostTails(nodeFiles(), lostTailDirectory(cluster.directory(name)))
}

async function command(...argv: string[]): Promise<string[]> {
  const lines: string[] = []
  const take = (text: string) => void lines.push(...stripVTControlCharacters(text).split('\n'))
  expect(await runCommandLine(argv, { out: take, error: take })).toBe(0)
  return lines
}

const generations = (cluster: TcpCluster, name: string) =>
  readdirSync(cluster.directory(name)).filter((each) => each.startsWith('generation-'))

async function lose(leader: UnderstudyNode): Promise<void> {
  await put(leader, 'lost', 1)
  await leader.write((tx) => {
    tx.exec(`update item set n = 2 where name = 'changed'; delete from item where name = 'deleted'`)
    tx.exec(`insert into auto (body) values ('theirs')`)
  })
  await put(leader, 'lost too', 2)
}

test('030 the former leader and a follower ahead of the new one rejoin without a copy, and their tails are applied once', async () => {
  const { cluster, leader } = await parted(lose)
  const address = leader.address ?? ''
  await leader.write([{ sql: `insert into auto (body) values ('ours')` }])

  // Nobody undoes anything of a leader without being told to.
  await expect(cluster.follower('a', { leader: address })).rejects.toMatchObject({
    code: 'DIRECTORY_OF_LEADER',
  })
  const a = await cluster.follower('a', { leader: address, rejoin: true })
  const c = await cluster.follower('c', { leader: address })
  await cluster.events['c']?.untilState('streaming')
  await caughtUp(leader, a, c)
  await cluster.verify(leader, a, c)
  for (const name of ['a', 'c']) {
    expect(cluster.events[name]?.of('bootstrapped')).toEqual([])
    expect(generations(cluster, name)).toEqual([name === 'a' ? 'generation-1' : expect.any(String)])
    expect(tailsOf(cluster, name)).toHaveLength(1)
    expect(cluster.events[name]?.of('lostTail')).toHaveLength(1)
  }
  // Both go on as followers do, triggers included.
  await put(leader, 'after', 1)
  await caughtUp(leader, a, c)
  await cluster.verify(leader, a, c)

  const [tail] = tailsOf(cluster, 'a')
  const directory = cluster.directory('a')
  const shown = (await command('lost-tail', 'show', directory, tail?.id ?? '')).join('\n')
  expect(shown).toContain('insert item {"name":"lost","n":"1"}')
  expect(shown).toContain('update item {"name":"changed","n":"1"} to {"name":"changed","n":"2"}')
  expect(shown).toContain('delete item {"name":"deleted","n":"1"}')
  expect(shown).toContain('answered, on this node alone')
  expect(JSON.parse((await command('lost-tail', 'list', directory, '--json'))[0] ?? '')).toMatchObject({
    lostTails: [{ id: tail?.id, node: 'a', transactions: 3 }],
  })
  const [diff] = await command('lost-tail', 'diff', directory, tail?.id ?? '', address, '--json')
  expect(JSON.parse(diff ?? '')).toMatchObject({
    // The new history gave its id to nobody else: it began above the ceiling.
    counts: { idTaken: 0, conflict: 0, alreadyThere: 0 },
    transactions: [
      { decision: 'apply' },
      {
        decision: 'skip',
        reason: 'triggers of table auto would run again; what they did is in the tail',
      },
      { decision: 'apply' },
    ],
  })
  const applied = await command('lost-tail', 'apply', directory, tail?.id ?? '', address)
  expect(applied[0]).toMatch(
    /^2 of 3 transactions are in the new history, at \d+\/\d+; 1 were left out: see diff$/,
  )
  const rows = () =>
    leader.read((tx) => tx.all(`select name, n from item order by name`).map((row) => ({ ...row })))
  const after = await rows()
  expect(after).toContainEqual({ name: 'lost too', n: 2 })
  // A second time nothing happens, whatever became of the rows.
  await leader.write([{ sql: `delete from item where name = 'lost too'` }])
  expect((await command('lost-tail', 'apply', directory, tail?.id ?? '', address))[0]).toMatch(
    /^applied before: 2 of 3/,
  )
  expect(await rows()).not.toContainEqual({ name: 'lost too', n: 2 })
  await command('lost-tail', 'discard', directory, tail?.id ?? '')
  expect(await command('lost-tail', 'list', directory)).toEqual(['no lost tails'])
})

test('030 the command rejoin brings a stopped node back to the history of the leader, says what it kept, and ends', async () => {
  const { cluster, leader } = await parted(lose)
  const directory = cluster.directory('a')
  const [line] = await command('rejoin', directory, '--leader', leader.address ?? '', '--json')
  const [tail] = tailsOf(cluster, 'a')
  expect(JSON.parse(line ?? '')).toMatchObject({
    ok: true,
    node: 'a',
    cluster: leader.cluster,
    lostTail: { path: tail?.path },
  })
  // It is a follower's directory now, and there is nothing left to keep.
  const again = await command('rejoin', directory, '--leader', leader.address ?? '')
  expect(again).toHaveLength(1)
  expect(again[0]).toMatch(/^a has the history of the leader, position \d+\/\d+$/)
  const a = await cluster.follower('a', { leader: leader.address ?? '' })
  await caughtUp(leader, a)
  await cluster.verify(leader, a)
  expect(tailsOf(cluster, 'a')).toHaveLength(1)
})

test.each([
  ['rows with a changed schema', rowFormat()],
  ['statements', statementFormat()],
  ['pages', walFormat()],
])(
  '030 a tail of %s is kept and undone without a copy, on a former leader and a follower ahead',
  async (_, format) => {
    const options = { format, formats: [rowFormat()] }
    const { cluster, leader } = await parted(async (a) => {
      await lose(a)
      await a.write((tx) => tx.exec('alter table item add column more; create table other (x primary key)'))
      await put(a, 'lost last', 3).catch(() =>
        a.write((tx) => tx.exec(`insert into item values ('lost last', 3, 4)`)),
      )
    }, options)
    const address = leader.address ?? ''
    const a = await cluster.follower('a', { leader: address, rejoin: true, ...options })
    const c = await cluster.follower('c', { leader: address, ...options })
    await cluster.events['c']?.untilState('streaming')
    await caughtUp(leader, a, c)
    await cluster.verify(leader, a, c)
    await put(leader, 'after', 1)
    await leader.write((tx) => tx.exec('alter table item add column less'))
    await caughtUp(leader, a, c)
    await cluster.verify(leader, a, c)
    for (const name of ['a', 'c']) {
      expect(tailsOf(cluster, name)).toHaveLength(1)
      expect(cluster.events[name]?.of('bootstrapped')).toEqual([])
    }
    await a.close()
    const again = await cluster.follower('a', { leader: address, ...options })
    await caughtUp(leader, again)
    await cluster.verify(leader, again)
  },
)

test('030 a tail of statements tells its rows too, and is applied like one of rows', async () => {
  const options = { format: statementFormat(), formats: [rowFormat()] }
  const { cluster, leader } = await parted(async (a) => {
    await lose(a)
    await a.write((tx) => tx.exec('create table other (x primary key); insert into other values (1)'))
    await put(a, 'lost last', 3)
  }, options)
  await leader.write([{ sql: `insert into auto (body) values ('ours')` }])
  const address = leader.address ?? ''
  const a = await cluster.follower('a', { leader: address, rejoin: true, ...options })
  await caughtUp(leader, a)
  await cluster.verify(leader, a)
  const directory = cluster.directory('a')
  const [tail] = tailsOf(cluster, 'a')
  const shown = (await command('lost-tail', 'show', directory, tail?.id ?? '')).join('\n')
  expect(shown).toContain('insert item {"name":"lost","n":"1"}')
  expect(shown).toContain('update item {"name":"changed","n":"1"} to {"name":"changed","n":"2"}')
  expect(shown).toContain('delete item {"name":"deleted","n":"1"}')
  // The statements stand beside them.
  expect(shown).toContain('insert into item (name, n) values (?, ?)')
  const [diff] = await command('lost-tail', 'diff', directory, tail?.id ?? '', address, '--json')
  expect(JSON.parse(diff ?? '')).toMatchObject({
    transactions: [
      { decision: 'apply' },
      // The new leader's ids begin above those of the tail; its triggers would run again.
      {
        decision: 'skip',
        reason: 'triggers of table auto would run again; what they did is in the tail',
      },
      { decision: 'apply' },
      { decision: 'skip' },
      { decision: 'skip' },
    ],
  })
  await command('lost-tail', 'apply', directory, tail?.id ?? '', address)
  expect(await leader.read((tx) => tx.all(`select n from item where name = 'lost too'`))).toEqual([{ n: 2 }])
  await command('lost-tail', 'discard', directory, tail?.id ?? '')
  expect(readdirSync(lostTailDirectory(directory))).toEqual([])
})

test('030 a former leader without writes of its own rejoins, and nothing is kept', async () => {
  const { cluster, leader } = await parted(() => Promise.resolve())
  const a = await cluster.follower('a', { leader: leader.address ?? '', rejoin: true })
  await caughtUp(leader, a)
  await cluster.verify(leader, a)
  expect(tailsOf(cluster, 'a')).toEqual([])
  expect(cluster.events['a']?.of('bootstrapped')).toEqual([])
  await a.close()
  // From now on it is a follower's directory.
  const again = await cluster.follower('a', { leader: leader.address ?? '' })
  await caughtUp(leader, again)
})
