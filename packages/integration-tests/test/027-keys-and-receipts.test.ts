/** Writes that are done once, and receipts that any node can be asked about. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { join } from 'node:path'
import { connect, type Client } from '@understudy/client'
import { parsePosition, type LogFormat, type RunResult, type SqliteConnection } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import { statementFormat } from '@understudy/format-statement'
import { walFormat } from '@understudy/format-wal'
import type { WriteResult } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'
import { describe, expect, onTestFinished, test } from 'vitest'
import { eventually } from './support/live-nodes.ts'
import { TcpCluster, caughtUp, countOf, fill, insertNote } from './support/tcp-cluster.ts'

type Format = LogFormat<SqliteConnection>
const row = rowFormat()
const FORMATS: readonly Format[] = [row, statementFormat({ unsafe: 'row', row }), walFormat()]
const plain = (receipt: object): unknown => JSON.parse(JSON.stringify(receipt))

async function carries(format: Format): Promise<void> {
  const cluster = new TcpCluster()
  const options = { format, formats: [format, ...FORMATS.filter(({ id }) => id !== format.id)] }
  let leader = await cluster.leader(options)
  await fill(leader, 3)
  let follower = await cluster.follower('b', options)
  const once = (n: number): Promise<WriteResult<RunResult>> =>
    leader.write((tx) => tx.run('insert into note (body) values (?)', [`once ${n}`]), {
      key: `k${n}`,
      fingerprint: String(n),
    })
  // Of a group several, one of which throws, and a statement that is undone alone.
  const refused = leader.write(
    (tx) => {
      tx.run('insert into note (body) values (?)', ['never'])
      throw new Error('mine')
    },
    { key: 'refused' },
  )
  const firsts = await Promise.all([once(0), once(1), refused.catch(() => undefined), once(2), once(1)])
  await insertNote(leader, 'between')
  const late = await once(3)
  await leader.write([{ sql: 'insert into note (body) values (?)', params: ['listed'] }], { key: 'list' })
  const receipts = [firsts[0], firsts[1], firsts[3], late].map((answer) => answer.receipt)
  await caughtUp(leader, follower)
  await cluster.verify(leader, follower)
  for (let life = 0; life < 2; life++) {
    for (const [n, receipt] of receipts.entries()) {
      const again = await once(n)
      expect([again.replayed, plain(again.receipt)]).toEqual([true, plain(receipt)])
      expect(again.value).toMatchObject({ changes: 1 })
      for (const node of [leader, follower]) expect(node.verdict(receipt).verdict).toBe('committed')
    }
    await expect(leader.write([{ sql: 'delete from note' }], { key: 'list' })).rejects.toMatchObject({
      code: 'KEY_REUSED',
    })
    await insertNote(leader, `life ${life}`)
    await leader.close()
    await follower.close()
    leader = await cluster.leader(options)
    follower = await cluster.follower('b', options)
    await caughtUp(leader, follower)
  }
  expect(await countOf(follower)).toBe(3 + 4 + 1 + 1 + 2)
  await cluster.verify(leader, follower)
}

describe('027 keys and receipts', () => {
  test.for(FORMATS)(
    '$name carries keys, in groups, over restarts and to followers',
    { timeout: 40_000 },
    (format) => carries(format),
  )

  test('so do rows with a payload for each write', { timeout: 40_000 }, () =>
    carries(rowFormat({ boundaries: 'write' })),
  )

  test('a database that a follower has can be asked by readers, and its keys be changed by nobody', async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader()
    await fill(leader, 1)
    await leader.write((tx) => tx.run("insert into note (body) values ('x')"), { key: 'k' })
    for (const sql of ['delete from _understudykeys', "update _understudykeys set key = 'x'"]) {
      const refused = leader.write((tx) => tx.exec(sql))
      await expect(refused).rejects.toMatchObject({ code: 'WRITE_FORBIDDEN' })
    }
    const receipt = (await insertNote(leader, 'y')).receipt
    const foreign = { ...receipt, cluster: 'f'.repeat(16) }
    expect(() => leader.verdict(foreign)).toThrow('belongs to')
  })

  test(
    'a leader is killed between a write and its answer: the retry is answered with the first receipt',
    { timeout: 60_000 },
    async () => {
      const cluster = new TcpCluster()
      const first = await leaderProcess(cluster, 'tcp://127.0.0.1:0')
      const started = await cluster.follower('b', { leader: first.address })
      const setup = await first.client()
      await setup.write([{ sql: 'create table note (id integer primary key, body text)' }])
      const insert = [{ sql: 'insert into note (body) values (?)', params: ['once'] }]
      // Nobody acknowledges: what is written waits, and its answer does not come.
      const end = (await setup.write([{ sql: "insert into note (body) values ('before')" }])).receipt
      await started.close()
      const write = setup.write(insert, { key: 'order-17', timeoutMs: 30_000 })
      const outcome = write.catch((error: unknown) => error)
      await eventually('the write to be in the log', async () => {
        const { log } = (await setup.status()) as { log: { end: string } }
        return (parsePosition(log.end)?.lsn ?? 0) > end!.position.lsn ? true : undefined
      })
      first.child.kill('SIGKILL')
      await once(first.child, 'exit')
      expect(await outcome).toMatchObject({ code: 'OUTCOME_UNKNOWN' })

      const second = await leaderProcess(cluster, first.address)
      const client = await second.client()
      const retried = client.write(insert, { key: 'order-17', timeoutMs: 30_000 })
      const b = await cluster.follower('b', { leader: first.address })
      const { receipt, replayed, results } = await retried
      expect([replayed, results]).toEqual([true, [{ columns: [], rows: [], changes: 1 }]])
      expect(receipt).toMatchObject({
        position: { epoch: 1, lsn: end!.position.lsn + 1 },
        reached: 'durable',
      })
      const again = await client.write(insert, { key: 'order-17' })
      expect(again.receipt).toEqual(receipt)
      const { rows } = await client.read("select count(*) from note where body = 'once'")
      expect(rows).toEqual([[1]])
      // What a former epoch left is proved to a follower by the first commit of the next one.
      await client.write([{ sql: "insert into note (body) values ('after')" }])
      await eventually('b to know of it', () =>
        b.verdict(receipt!).verdict === 'committed' ? true : undefined,
      )
      expect((await client.verdict(receipt!)).verdict).toBe('committed')
      expect((await client.reach(receipt!, 'durable', 1)).members.map(({ name }) => name)).toEqual(['b'])
    },
  )
})

interface LeaderProcess {
  readonly child: ChildProcess
  readonly address: string
  readonly client: () => Promise<Client>
}

/** A leader in a process of its own that wants `b` to acknowledge, ended with the test. */
async function leaderProcess(cluster: TcpCluster, listen: string): Promise<LeaderProcess> {
  const flags = ['--conditions=@understudy/source', '--disable-warning=ExperimentalWarning']
  const program = join(import.meta.dirname, 'programs/lead.ts')
  const child = spawn(process.execPath, [...flags, program, cluster.directory('a'), listen, 'any 1 (b)'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const clients: Client[] = []
  onTestFinished(async () => {
    for (const client of clients) await client.close()
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.stdin.end()
    await ended
  })
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  const client = async (): Promise<Client> => {
    const made = await connect({ transport: tcp(), address: line })
    clients.push(made)
    return made
  }
  return { child, address: line, client }
}
