/** Changes of role in every log format: what a leader's database has, such as triggers, each leader has; and a former one rejoins. */
import type { LogFormat, SqliteConnection } from '@understudy/contracts'
import { listLostTails } from '@understudy/failover'
import { rowFormat } from '@understudy/format-row'
import { statementFormat } from '@understudy/format-statement'
import { walFormat } from '@understudy/format-wal'
import { nodeFiles } from '@understudy/log'
import { describe, expect, test } from 'vitest'
import { lostTailDirectory, readNodeState } from '../src/index.ts'
import { HostCluster, caughtUp, notes, put, refusal, type Hosted } from './host-cluster.ts'

const FORMATS: Record<string, () => LogFormat<SqliteConnection>> = {
  row: rowFormat,
  statement: statementFormat,
  wal: walFormat,
}

const TRIGGER = `create trigger logged after insert on note begin insert into log values ('note ' || new.id); end`

async function logged(of: Hosted): Promise<number> {
  return Number((await of.node.read((tx) => tx.get('select count(*) as n from log')))?.['n'])
}

for (const [name, format] of Object.entries(FORMATS))
  describe(`format ${name}`, () => {
    test('leading goes round, with triggers, and every node has the same in the end', async () => {
      const cluster = new HostCluster(format())
      const [a, b, c] = await cluster.begin(['b', 'c'])
      await a.node.write((tx) => tx.exec(TRIGGER))
      let id = 0
      let leader: Hosted = a
      for (const next of [b, c, a, b]) {
        for (let end = id + 5; id < end;) await put(leader, ++id)
        await leader.host.drain(next.name, 5000)
        const place = await cluster.promote(next)
        for (const other of [a, b, c]) if (other !== next) await other.host.follow(place)
        await put(next, ++id)
        leader = next
      }
      await caughtUp(leader, a, b, c)
      for (const node of [a, b, c]) {
        expect(await notes(node)).toHaveLength(id)
        expect(await logged(node)).toBe(id)
        expect(node.node.failure).toBeUndefined()
      }
    })

    test('a former leader with commits of its own keeps them in a file, and has what the others have', async () => {
      const cluster = new HostCluster(format())
      const [a, b, c] = await cluster.begin(['b', 'c'])
      await a.node.write((tx) => tx.exec(TRIGGER))
      await put(a, 1)
      await caughtUp(a, b, c)
      await b.host.freeze()
      await c.host.freeze()
      for (let id = 2; id <= 6; id++) await put(a, id, 'lost')
      const leader = await cluster.promote(b)
      await c.host.follow(leader)
      await put(b, 7)
      // What it alone has can be read until it hears what they have in common.
      expect(await notes(a)).toHaveLength(6)
      await a.host.follow(leader)
      await a.events.until('state', ({ state }) => state === 'streaming')
      await caughtUp(b, a, c)
      expect(await notes(a)).toEqual([1, 7])
      expect(await logged(a)).toBe(2)
      const tails = listLostTails(nodeFiles(), lostTailDirectory(cluster.directory('a')))
      expect(tails).toHaveLength(1)
      await b.host.drain('a', 5000)
      await cluster.promote(a)
      await put(a, 8)
      expect(await logged(a)).toBe(3)
    })

    test('once it may not lead, a leader answers nothing that is in its log already, and rejoins', async () => {
      const cluster = new HostCluster(format())
      const [a, b] = await cluster.begin(['b'])
      await put(a, 1)
      await caughtUp(a, b)
      await b.host.freeze()
      let asked = 0
      a.fence.onAsk = () => {
        if (++asked === 2) a.fence.leads = false
      }
      expect((await refusal(put(a, 2))).code).toBe('OUTCOME_UNKNOWN')
      const leader = await cluster.promote(b)
      await put(b, 3)
      await a.host.follow(leader)
      await a.events.until('state', ({ state }) => state === 'streaming')
      await caughtUp(b, a)
      expect(await notes(a)).toEqual([1, 3])
    })

    test('a last group that may lack acks is hidden until the set of the new leader has it', async () => {
      const of = (names: string[]) =>
        ({ rule: { level: 'durable', of: { kind: 'any', count: 1, names } } }) as const
      const cluster = new HostCluster(format())
      const [a, b, c] = await cluster.begin(['b', 'c'], of(['b', 'c']))
      await put(a, 1)
      await caughtUp(a, b, c)
      await c.host.freeze()
      // It has the record, and its ack does not arrive.
      b.fence.acks = false
      const waiting = put(a, 2).catch(() => {})
      const { lsn } = a.host.report().end
      while (b.host.report().end.lsn <= lsn) await new Promise((resolve) => void setImmediate(resolve))
      await a.host.freeze()
      b.fence.acks = true
      const leader = await cluster.promote(b, of(['a', 'c']))
      expect(b.node.status().state).toBe('recovering')
      expect(await notes(b)).toEqual([1])
      await c.host.follow(leader)
      await put(b, 3)
      expect(await notes(b)).toEqual([1, 2, 3])
      await a.host.follow(leader)
      await waiting
      await caughtUp(b, a, c)
      expect(await notes(a)).toEqual([1, 2, 3])
    })
  })

test('a node whose log was replaced by a snapshot vouches for nothing before it has all that its leader has', async () => {
  const cluster = new HostCluster(statementFormat())
  const [a, b] = await cluster.begin(['b'], undefined, { segmentBytes: 8192, rewindBytesMax: 0 })
  await b.host.freeze()
  for (let id = 1; id <= 20; id++) await put(a, id, 'x'.repeat(2000))
  a.node.dropSlot('b')
  await a.node.checkpoint()
  expect(a.node.status().log.first).toBeGreaterThan(10)
  expect(b.host.report().logDamaged).toBe(false)
  const before = b.events.all.length
  const bootstrapped = b.events.until('bootstrapped', (event) => b.events.all.indexOf(event) >= before)
  b.host.thaw()
  await bootstrapped
  await b.host.freeze()
  expect(b.host.report()).toMatchObject({ logDamaged: true, receiversStopped: true })
  expect(readNodeState(nodeFiles(), cluster.directory('b'))?.owes).toBe(true)
  await b.node.close()
  const again = await cluster.open('b')
  expect(again.host.report()).toMatchObject({ logDamaged: true, end: { epoch: 1 } })
  const [{ number: epoch, runId } = { number: 0, runId: '' }] = a.host.report().history
  await again.host.follow(cluster.place(a, { epoch, runId }))
  await again.events.until('state', ({ state }) => state === 'streaming')
  expect(again.host.report().logDamaged).toBe(false)
  expect(readNodeState(nodeFiles(), cluster.directory('b'))?.owes).toBeUndefined()
})
