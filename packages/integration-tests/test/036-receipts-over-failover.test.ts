/** Keys, receipts and their verdicts while leaders change. */
import type { LogFormat, Receipt, ReceiptReference, RunResult, SqliteConnection } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import { statementFormat } from '@understudy/format-statement'
import { walFormat } from '@understudy/format-wal'
import { async, type UnderstudyNode, type WriteResult } from '@understudy/node'
import { describe, expect, test } from 'vitest'
import { FailoverNodes } from './support/failover-nodes.ts'
import { MuffledCluster } from './support/muffled.ts'

type Format = () => LogFormat<SqliteConnection>
const FORMATS: Readonly<Record<string, Format>> = {
  row: rowFormat,
  statement: () => statementFormat({ unsafe: 'row', row: rowFormat() }),
  wal: walFormat,
}

const once = (node: UnderstudyNode, key: string): Promise<WriteResult<RunResult>> =>
  node.write((tx) => tx.run('insert into t (v) values (?)', [key]), { key, fingerprint: key })

const schema = (cluster: FailoverNodes): Promise<void> =>
  cluster.write((tx) => tx.exec('create table t (id integer primary key autoincrement, v text)'))

/** What stays the same of a receipt, whoever tells it. */
const named = ({ cluster, position, runId, index, crc, asked }: Receipt): object => ({
  cluster,
  position,
  runId,
  index,
  crc,
  asked,
})

async function timesIn(cluster: FailoverNodes, key: string): Promise<number[]> {
  const after = (cluster.leader as UnderstudyNode).applied
  return Promise.all(
    cluster.nodes.map(async (node) => {
      const row = await node.read((tx) => tx.get('select count(*) as n from t where v = ?', [key]), { after })
      return Number(row?.['n'])
    }),
  )
}

/** Each verdict of each node, from now on: asked at each event of any node. */
function watchVerdicts(cluster: FailoverNodes, receipts: Readonly<Record<string, ReceiptReference>>) {
  const said = new Map<string, string[]>()
  const look = (): void => {
    for (const node of cluster.nodes)
      for (const [what, receipt] of Object.entries(receipts)) {
        const { verdict, epoch } = node.verdict(receipt)
        const text = epoch === undefined ? verdict : `${verdict} in epoch ${epoch}`
        const all = said.get(`${what} on ${node.name}`) ?? []
        if (all.at(-1) !== text) all.push(text)
        said.set(`${what} on ${node.name}`, all)
      }
  }
  cluster.onLook = look
  return {
    said,
    last: (what: string) => {
      look()
      return cluster.nodes.map(({ name }) => said.get(`${what} on ${name}`)?.at(-1))
    },
  }
}

const everywhere = (cluster: FailoverNodes, verdict: string): string[] => cluster.nodes.map(() => verdict)

describe('036 keys', () => {
  test.each(Object.keys(FORMATS))(
    '%s: a key that was answered is answered the same by whoever leads after a failover and a switchover',
    { timeout: 120_000 },
    async (format) => {
      const cluster = new FailoverNodes({ format: FORMATS[format] as Format })
      const first = await cluster.startAll()
      await schema(cluster)
      const written = await once(first, 'one')
      await cluster.close('a')
      await cluster.until('another leads', () => cluster.leader !== undefined)
      const again = await once(cluster.leader as UnderstudyNode, 'one')
      expect(again).toMatchObject({ replayed: true, value: written.value })
      expect(named(again.receipt)).toEqual(named(written.receipt))
      await cluster.start('a')
      await cluster.untilAllStream()
      await cluster.node('b').switchover({ target: 'a' })
      await cluster.untilAllStream()
      expect(cluster.leader?.name).toBe('a')
      const third = await once(cluster.node('a'), 'one')
      expect(third).toMatchObject({ replayed: true, value: written.value })
      expect(named(third.receipt)).toEqual(named(written.receipt))
      await expect(
        cluster
          .node('a')
          .write((tx) => tx.run("delete from t where v = 'one'"), { key: 'one', fingerprint: 'other' }),
      ).rejects.toMatchObject({ code: 'KEY_REUSED' })
      expect(await timesIn(cluster, 'one')).toEqual([1, 1, 1])
    },
  )

  test(
    'the answer is lost with the leader cut off: the promoted one answers the retry with the first receipt',
    { timeout: 60_000 },
    async () => {
      const cut = new MuffledCluster({ manual: true })
      const { cluster } = cut
      const a = await cluster.startAll()
      await schema(cluster)
      const before = (await once(a, 'before')).receipt
      // What it writes arrives; no acknowledgement of it does.
      cut.of('a').isDeaf = true
      const outcome = once(a, 'one').catch((error: unknown) => error)
      await cluster.until('b and c have it', () =>
        ['b', 'c'].every((name) => cluster.node(name).status().durable > before.position.lsn),
      )
      cut.of('a').isMute = true
      await cluster.node('b').promote()
      const again = await once(cluster.node('b'), 'one')
      expect(again).toMatchObject({
        replayed: true,
        value: { changes: 1 },
        receipt: { index: 0, asked: 'durable' },
      })
      expect(again.receipt.position).toEqual({ epoch: 1, lsn: before.position.lsn + 1 })
      expect(again.receipt.runId).toBe(before.runId)
      // Whoever asked the old leader learns that nobody knows, or that it is acknowledged after all; never that it is not there.
      Object.assign(cut.of('a'), { isDeaf: false, isMute: false })
      expect(await outcome).toMatchObject({ code: 'OUTCOME_UNKNOWN', position: again.receipt.position })
      await cluster.untilAllStream()
      expect(cluster.leader?.name).toBe('b')
      expect(await timesIn(cluster, 'one')).toEqual([1, 1, 1])
      const verdicts = watchVerdicts(cluster, { one: again.receipt })
      await cluster.until('all know', () => verdicts.last('one').every((each) => each === 'committed'))
    },
  )

  test(
    'a key lost with the tail of an asynchronous leader is done anew, and is once on the old leader that follows',
    { timeout: 60_000 },
    async () => {
      const cut = new MuffledCluster({ node: { acks: async() }, failover: { allowAsyncFailover: true } })
      const { cluster } = cut
      const a = await cluster.startAll()
      await schema(cluster)
      const kept = (await once(a, 'kept')).receipt
      await cluster.until('all have it', () =>
        cluster.nodes.every((node) => node.status().durable >= kept.position.lsn),
      )
      cut.of('a').isMute = true
      const lost = await once(a, 'one')
      expect(a.verdict(lost.receipt).verdict).toBe('committed')
      await cluster.close('a')
      await cluster.until('another leads', () => cluster.leader !== undefined)
      const leader = cluster.leader as UnderstudyNode
      expect(leader.verdict(lost.receipt)).toMatchObject({ verdict: 'lost', epoch: 2 })
      const anew = await once(leader, 'one')
      expect(anew.replayed).toBeUndefined()
      expect(anew.receipt.position.epoch).toBe(2)
      cut.of('a').isMute = false
      await cluster.start('a')
      await cluster.untilAllStream()
      expect(await timesIn(cluster, 'one')).toEqual([1, 1, 1])
      const again = await once(leader, 'one')
      expect([again.replayed, named(again.receipt)]).toEqual([true, named(anew.receipt)])
      const verdicts = watchVerdicts(cluster, { kept, lost: lost.receipt, anew: anew.receipt })
      expect(verdicts.last('lost')).toEqual(everywhere(cluster, 'lost in epoch 2'))
      await cluster.until('all know', () =>
        ['kept', 'anew'].every((what) => verdicts.last(what).every((each) => each === 'committed')),
      )
      // And where the old leader leads again.
      await cluster.node('a').switchover({ target: 'a' })
      expect(named((await once(cluster.node('a'), 'one')).receipt)).toEqual(named(anew.receipt))
      expect(verdicts.last('lost')).toEqual(everywhere(cluster, 'lost in epoch 2'))
    },
  )
})

describe('036 verdicts', () => {
  test(
    'of what was acknowledged, of what was not, of what comes later: before, during and after a change of leader',
    { timeout: 60_000 },
    async () => {
      const cut = new MuffledCluster({})
      const { cluster } = cut
      const a = await cluster.startAll()
      await schema(cluster)
      const acked = (await once(a, 'acked')).receipt
      cut.of('a').isMute = true
      const unacked = await a
        .write((tx) => tx.run("insert into t (v) values ('unacked')"), { ackTimeoutMs: 1 })
        .catch((error: { code: string; position: Receipt['position']; details: { crc: number } }) => error)
      expect(unacked).toMatchObject({ code: 'WRITTEN_NOT_ACKED' })
      const { position, details } = unacked as { position: Receipt['position']; details: { crc: number } }
      const tail: ReceiptReference = {
        cluster: acked.cluster,
        position,
        crc: details.crc,
        runId: acked.runId,
      }
      const verdicts = watchVerdicts(cluster, { acked, tail })
      expect(verdicts.last('tail')).toEqual(everywhere(cluster, 'unknown'))
      expect(verdicts.last('acked')[0]).toBe('committed')
      // Of three one is left, which waits for the second.
      await cluster.close('c')
      await cluster.close('a')
      cut.of('a').isMute = false
      for (const state of ['disconnected', 'waiting']) {
        await cluster.until(`b is ${state}`, () => cluster.node('b').status().state === state)
        expect(verdicts.last('tail')).toEqual(['unknown'])
        expect(verdicts.last('acked')[0]).not.toMatch('lost')
        if (state === 'waiting') break
        await cluster.close('b')
        await cluster.start('b')
      }
      await cluster.start('c')
      await cluster.until('one leads', () => cluster.leader !== undefined)
      const later = (await once(cluster.leader as UnderstudyNode, 'later')).receipt
      const laters = watchVerdicts(cluster, { acked, tail, later })
      // The old one, before it hears of anybody: it has what nobody acknowledged.
      await cluster.start('a')
      await cluster.untilAllStream()
      await cluster.until('all know', () =>
        ['acked', 'later'].every((what) => laters.last(what).every((each) => each === 'committed')),
      )
      expect(laters.last('tail')).toEqual(everywhere(cluster, `lost in epoch ${later.position.epoch}`))
      expect(laters.last('acked')).toEqual(everywhere(cluster, 'committed'))
      for (const said of [verdicts.said, laters.said])
        for (const [what, all] of said) {
          const from = all.indexOf('committed')
          expect(
            from >= 0 && all.slice(from).some((each) => each.startsWith('lost')),
            `${what}: ${all.join(', ')}`,
          ).toBe(false)
        }
    },
  )
})
