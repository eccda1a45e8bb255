/** What nodes say of commits with less protection than asked, over real files. */
import type { Exposure, Receipt } from '@understudy/contracts'
import { expect, test } from 'vitest'
import { semiSync, type AckPolicy, type UnderstudyNode } from '../src/index.ts'
import { Cluster } from './helpers.ts'

const POLICY: AckPolicy = semiSync(['b'], { onUnmet: 'degrade', ackTimeoutMs: 700, settleMs: 20 })

async function insert(node: UnderstudyNode): Promise<{ readonly receipt: Receipt }> {
  return node.write((tx) => tx.run("insert into note (body) values ('x')"))
}

/** What is the same on every node that has the log: not who has what now. */
function log({ ranges, knownFrom }: Exposure): unknown {
  return { knownFrom, ranges: ranges.map((range) => ({ ...range, state: '', holders: [] })) }
}

test('degraded, raised, restarted: every node lists exactly what was exposed, and that it is covered', async () => {
  const cluster = new Cluster()
  const first = await cluster.leader(0, { acks: POLICY })
  const degraded = []
  for (let n = 0; n < 3; n++) degraded.push((await insert(first)).receipt)
  expect(degraded.every((receipt) => receipt.degraded)).toBe(true)
  const before = await first.exposure()
  expect(before.ranges).toMatchObject([
    // The table and an empty write came before; the table was the one that waited.
    {
      why: 'lowered',
      commits: 4,
      to: degraded.at(-1)?.position,
      isOpen: true,
      state: 'exposed',
      holders: [],
    },
  ])
  const b = await cluster.start('b', 'follower')
  await cluster.events['a']!.until('acks', ({ degraded: isLowered }) => !isLowered)
  const strict = await insert(first)
  expect(strict.receipt.degraded).toBe(false)
  const after = await first.exposure()
  expect(after.ranges).toMatchObject([
    { commits: 4, to: degraded.at(-1)?.position, isOpen: false, state: 'covered', holders: ['b'] },
  ])
  expect(after.ranges[0]?.covered?.rule).toBe('durable FIRST 1 (b)')
  await b.read(() => undefined, { after: strict.receipt.position })
  await first.close()
  const again = await cluster.start('a', 'leader', { acks: POLICY })
  expect(log(await again.exposure())).toEqual(log(after))
  // The follower began with a snapshot: its own log says from where on it knows.
  const theirs = await b.exposure()
  expect(theirs.knownFrom ?? Infinity).toBeGreaterThan(1)
})

test('a follower that was there all along lists the same as its leader', async () => {
  const cluster = new Cluster()
  const a = await cluster.leader(1, { acks: semiSync(['x'], { onUnmet: 'degrade', ackTimeoutMs: 200 }) })
  expect((await a.exposure({ byChoice: true })).ranges).toHaveLength(1)
  const b = await cluster.start('b', 'follower')
  const { receipt } = await insert(a)
  await b.read(() => undefined, { after: receipt.position })
  await a.close()
  const again = await cluster.start('a', 'leader', {
    acks: semiSync(['x'], { onUnmet: 'degrade', ackTimeoutMs: 30 }),
  })
  const last = await insert(again)
  // The record that lowers the rule comes after the commit.
  await b.read(() => undefined, { after: again.applied })
  const [own] = (await again.exposure({ after: receipt.position })).ranges
  const [theirs] = (await b.exposure({ after: receipt.position })).ranges
  expect(own).toMatchObject({ state: 'exposed', commits: 1, from: last.receipt.position })
  expect(theirs).toEqual({ ...own, state: 'unknown' })
})

test('an asynchronous leader lists nothing; a closed node says that it is closed', async () => {
  const cluster = new Cluster()
  const a = await cluster.leader(3)
  expect(await a.exposure({ byChoice: true })).toMatchObject({ knownFrom: 1, ranges: [], forgotten: 0 })
  await a.close()
  await expect(a.exposure()).rejects.toMatchObject({ code: 'CLOSED' })
})
