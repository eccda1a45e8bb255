/** A database that another, unmodified process writes, replicated from outside. */
import { closeSync, openSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { walFormat } from '@understudy/format-wal'
import type { UnderstudyNode } from '@understudy/node'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { ForeignProgram } from './support/foreign-program.ts'
import { TcpCluster, countOf } from './support/tcp-cluster.ts'

const format = walFormat()
const ALL = 'select count(*) as n, sum(length(body)) as bytes, sum(id) as ids, max(body) as last from note'

class Beside {
  readonly cluster = new TcpCluster()
  readonly path: string = join(this.cluster.folder, 'app.db')
  readonly program = new ForeignProgram(this.path)

  async prepared(): Promise<this> {
    await this.program.sql(
      'pragma journal_mode = wal; create table note (id integer primary key, body text)',
      'insert into note (body) select hex(randomblob(200)) from (with recursive n(i) as (select 1 union all select i + 1 from n where i < 500) select i from n)',
    )
    return this
  }

  leader(sidecarPollMs?: number): Promise<UnderstudyNode> {
    const { path: sidecar } = this
    return this.cluster.leader({ format, sidecar, ...(sidecarPollMs !== undefined && { sidecarPollMs }) })
  }

  follower(): Promise<UnderstudyNode> {
    return this.cluster.follower('b', { format })
  }

  rebased(): number {
    return this.cluster.events['a']?.of('rebased').length ?? 0
  }

  /** A marker comes after everything that was committed before it was asked for; then both must show the same. */
  async equal(leader: UnderstudyNode, follower: UnderstudyNode): Promise<void> {
    const after = await leader.mark()
    const theirs = await follower.read((tx) => tx.get(ALL), { after, timeoutMs: 30_000 })
    expect(theirs).toEqual(await leader.read((tx) => tx.get(ALL)))
    await this.cluster.verify(leader, follower)
  }

  async reach(count: number): Promise<void> {
    while (Number(await this.program.ask('count')) < count);
  }
}

describe('017 sidecar', () => {
  test('rows of a program that goes on writing arrive, through VACUUM, checkpoints, a restart of the program', async () => {
    const beside = await new Beside().prepared()
    const { program } = beside
    const leader = await beside.leader()
    const first = beside.rebased()
    await program.ask('run')
    const follower = await beside.follower()
    // Nobody asks: what the program commits is found by looking.
    const seen = await countOf(follower)
    while ((await countOf(follower)) < seen + 50) await nextTurn()
    // At one position, while the program writes.
    await beside.cluster.verify(leader, follower)
    await program.sql('delete from note where id % 3 = 0; vacuum')
    await program.sql('pragma wal_checkpoint(passive)', 'create index by_body on note (body)')
    expect(await program.ask('reopen')).toBe('done')
    await beside.reach(150)
    await beside.cluster.verify(leader, follower)
    const written = Number(await program.ask('rest'))
    expect(written).toBeGreaterThan(150)
    // With the program at rest as well: nothing that a checkpoint of it takes away is lost.
    await program.sql('pragma busy_timeout = 0; pragma wal_checkpoint(truncate); pragma busy_timeout = 5000')
    await program.sql("insert into note (body) values ('zzz last')")
    await program.sql('pragma busy_timeout = 0; pragma wal_checkpoint(truncate); pragma busy_timeout = 5000')
    await beside.equal(leader, follower)
    expect(await follower.read((tx) => tx.get('select max(body) as last from note'))).toEqual({
      last: 'zzz last',
    })
    // All of it page by page: no base after that of the start, one snapshot.
    expect(beside.rebased()).toBe(first)
    expect(beside.cluster.events['b']?.of('bootstrapped')).toHaveLength(1)
    await program.close()
    await follower.close()
    await leader.close()
    const file = readFileSync(join(beside.cluster.directory('b'), 'generation-1', 'database.sqlite'))
    expect(file.equals(readFileSync(beside.path))).toBe(true)
  }, 60_000)

  test('what was written while the sidecar was away, and its log emptied, comes with a base', async () => {
    const beside = await new Beside().prepared()
    const { program } = beside
    let leader = await beside.leader()
    const follower = await beside.follower()
    await program.sql("insert into note (body) values ('before')")
    await beside.equal(leader, follower)
    await leader.close()
    await program.sql(
      "insert into note (body) values ('away')",
      'pragma wal_checkpoint(truncate)',
      'delete from note where id % 2 = 0; vacuum',
      'pragma wal_checkpoint(truncate)',
      "insert into note (body) values ('zzz away')",
    )
    leader = await beside.leader()
    expect(beside.rebased()).toBe(1)
    await program.sql("insert into note (body) values ('after')")
    await beside.equal(leader, follower)
    expect(await countOf(follower)).toBe(253)
    const again = beside.cluster.events['b']?.of('bootstrapped')
    expect(again).toHaveLength(2)
    await program.close()
    await follower.close()
    await leader.close()
  }, 60_000)

  test('a checkpoint that took frames away while the sidecar runs is noticed: a base, not a gap', async () => {
    const beside = await new Beside().prepared()
    const { program } = beside
    // It looks when it is asked for a marker, not meanwhile.
    const leader = await beside.leader(3_600_000)
    const follower = await beside.follower()
    await program.sql("insert into note (body) values ('before')")
    await beside.equal(leader, follower)
    const before = beside.rebased()
    // Drops every lock of this process, the pin among them.
    closeSync(openSync(`${beside.path}-shm`, 'r'))
    await program.sql(
      "begin immediate; insert into note (body) values ('one'); commit; pragma wal_checkpoint(truncate); insert into note (body) values ('two'); insert into note (body) values ('zzz three')",
    )
    await beside.equal(leader, follower)
    expect(beside.rebased()).toBe(before + 1)
    expect(await countOf(follower)).toBe(504)
    await program.sql("insert into note (body) values ('zzzz on')")
    await beside.equal(leader, follower)
    await program.close()
  }, 60_000)

  test('the other program holding its lock delays what it committed, and nothing else', async () => {
    const beside = await new Beside().prepared()
    const { program } = beside
    const leader = await beside.leader()
    const follower = await beside.follower()
    await program.sql(
      "insert into note (body) values ('committed')",
      'begin immediate',
      "insert into note (body) values ('open')",
    )
    const marked = leader.mark()
    // Some turns on, the marker has been refused the lock at least once. Reads of the leader go on.
    for (let turn = 0; turn < 5; turn++) await nextTurn()
    expect(await countOf(leader)).toBe(501)
    await program.sql('commit')
    expect(leader.failure).toBeUndefined()
    await follower.read(() => 0, { after: await marked, timeoutMs: 30_000 })
    await beside.equal(leader, follower)
    expect(await countOf(follower)).toBe(502)
    await program.close()
  }, 60_000)

  test('writes and logical formats are refused; another node beside the same database too', async () => {
    const beside = await new Beside().prepared()
    const leader = await beside.leader()
    await expect(leader.write((tx) => tx.run('delete from note'))).rejects.toMatchObject({
      code: 'WRITE_FORBIDDEN',
    })
    await expect(leader.switchFormat('row')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await expect(
      beside.cluster.start('c', { role: 'leader', format, sidecar: beside.path }),
    ).rejects.toMatchObject({ code: 'DIRECTORY_LOCKED' })
    expect(await countOf(leader)).toBe(500)
    await leader.close()
    await expect(beside.cluster.leader({ format })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    await beside.program.close()
  })

  test('a replaced database stops the node', async () => {
    const beside = await new Beside().prepared()
    const leader = await beside.leader()
    await beside.program.close()
    const other = new ForeignProgram(join(beside.cluster.folder, 'other.db'))
    await other.sql('create table note (id integer primary key, body text)')
    await other.close()
    renameSync(join(beside.cluster.folder, 'other.db'), beside.path)
    const { error } = await beside.cluster.events['a']!.until('failed')
    expect(error.code).toBe('STORAGE_FAILED')
    expect(leader.failure).toBe(error)
  })
})
