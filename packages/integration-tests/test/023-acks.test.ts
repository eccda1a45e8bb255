/** Writes that followers must have: real processes that are stopped, killed and come back. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { isUnderstudyError, type Receipt } from '@understudy/contracts'
import { any, semiSync, sync, type UnderstudyNode } from '@understudy/node'
import { expect, onTestFinished, test } from 'vitest'
import { cuttable } from './support/cuttable.ts'
import { eventually } from './support/live-nodes.ts'
import { TcpCluster, caughtUp, countOf, fill, insertNote, load } from './support/tcp-cluster.ts'

const FLAGS = ['--conditions=@understudy/source', '--disable-warning=ExperimentalWarning']
const TIMES = { settleMs: 300, lagMsMax: 300, ackTimeoutMs: 5000 }

/** A follower in a process of its own, ended with the test. */
function followerProcess(
  cluster: TcpCluster,
  name: string,
  leader: string = cluster.leaderAddress,
): ChildProcess {
  const program = join(import.meta.dirname, 'programs/follow.ts')
  const child = spawn(process.execPath, [...FLAGS, program, name, cluster.directory(name), leader], {
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGCONT')
    child.stdin?.end()
    await ended
  })
  return child
}

function statesOf(leader: UnderstudyNode): Record<string, string> {
  return Object.fromEntries(leader.status().followers?.map(({ name, syncState }) => [name, syncState]) ?? [])
}

function untilStates(leader: UnderstudyNode, wanted: Readonly<Record<string, string>>): Promise<true> {
  return eventually(`the states ${JSON.stringify(wanted)}`, () => {
    const states = statesOf(leader)
    return Object.entries(wanted).every(([name, state]) => states[name] === state) ? true : undefined
  })
}

test(
  'a synchronous follower that is stopped is replaced by another one that has everything, and takes its place back',
  { timeout: 40_000 },
  async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({
      acks: semiSync(['b', 'c'], TIMES),
      link: { heartbeatMs: 200, deadlineMs: 30_000 },
    })
    const b = followerProcess(cluster, 'b')
    const c = await cluster.follower('c')
    await fill(leader, 10)
    await untilStates(leader, { b: 'sync', c: 'potential' })
    b.kill('SIGSTOP')
    const { receipt } = await insertNote(leader, 'while b stands still')
    expect(receipt).toMatchObject({ asked: 'durable', reached: 'durable', degraded: false })
    expect(receipt.members.map(({ name }) => name)).toEqual(['c'])
    await c.read((db) => db.get("select 1 from note where body = 'while b stands still'"), {
      after: receipt.position,
    })
    expect(statesOf(leader)).toMatchObject({ b: 'potential', c: 'sync' })
    b.kill('SIGCONT')
    await untilStates(leader, { b: 'sync', c: 'potential' })
    const back = await insertNote(leader, 'b is back')
    expect(back.receipt.members.map(({ name }) => name)).toContain('b')
  },
)

test(
  'what is not acknowledged is shown by no node, also after a restart of the leader, until the set has it',
  { timeout: 40_000 },
  async () => {
    const cluster = new TcpCluster()
    const acks = sync(['b', 'c'], { ackTimeoutMs: 300 })
    const leader = await cluster.leader({ acks })
    const b = await cluster.follower('b')
    const c = await cluster.follower('c')
    await fill(leader, 5)
    await caughtUp(leader, b, c)
    await c.close()
    const error: unknown = await insertNote(leader, 'tail').catch((reason: unknown) => reason)
    if (!isUnderstudyError(error, 'WRITTEN_NOT_ACKED')) throw error
    expect(leader.status()).toMatchObject({
      state: 'leading',
      acks: {
        rule: 'durable ANY 2 (b, c)',
        effective: 'durable ANY 2 (b, c)',
        pending: `${error.position?.epoch}/${error.position?.lsn}`,
      },
    })
    await eventually('b to have it', () => (b.status().durable === error.position?.lsn ? true : undefined))
    expect([await countOf(leader), await countOf(b)]).toEqual([5, 5])
    const shown = leader.read(() => 'shown', { after: error.position!, timeoutMs: 200 })
    await expect(shown).rejects.toMatchObject({ code: 'TIMEOUT' })
    await leader.close()

    const again = await cluster.leader({ acks })
    expect(again.status()).toMatchObject({ state: 'recovering' })
    await eventually('b to have the new epoch', () =>
      b.status().epoch === 2 && b.status().durable === again.status().durable ? true : undefined,
    )
    expect([await countOf(again), await countOf(b)]).toEqual([5, 5])
    const later = again.read(() => 'shown', { after: error.position! })
    const cAgain = await cluster.follower('c')
    expect(await later).toBe('shown')
    expect(again.status()).toMatchObject({ state: 'leading' })
    await caughtUp(again, b, cAgain)
    expect([await countOf(again), await countOf(b), await countOf(cAgain)]).toEqual([6, 6, 6])
    await insertNote(again, 'goes on')
    await cluster.verify(again, b, cAgain)
  },
)

test(
  'connections that are cut, also silently, under load: every write has a member of the set, or is not acknowledged',
  { timeout: 60_000 },
  async () => {
    const cluster = new TcpCluster()
    const leader = await cluster.leader({
      acks: semiSync(['b', 'c'], { ...TIMES, ackTimeoutMs: 30_000 }),
      link: { heartbeatMs: 100, deadlineMs: 1000 },
    })
    const [toB, toC] = [await cuttable(cluster.leaderAddress), await cuttable(cluster.leaderAddress)]
    followerProcess(cluster, 'b', toB.address)
    followerProcess(cluster, 'c', toC.address)
    await fill(leader, 10)
    await untilStates(leader, { b: 'sync', c: 'potential' })
    const receipts: Receipt[] = []
    const running = load(8, async (n) => {
      const { receipt } = await insertNote(leader, `under cuts ${n}`)
      receipts.push(receipt)
    })
    for (let cuts = 0; cuts < 5; cuts++) {
      const before = toB.made
      toB.cut()
      await eventually('b to come again', () => (toB.made > before ? true : undefined))
      await running.more(20)
      toC.cut()
      await running.more(20)
    }
    await untilStates(leader, { b: 'sync', c: 'potential' })
    toB.silence()
    // The first write that b leaves unanswered waits until c is taken for it.
    await running.more(50)
    expect(receipts.at(-1)?.members.map(({ name }) => name)).toStrictEqual(['c'])
    toC.silence()
    await eventually('the leader to give up both', () =>
      leader.status().followers?.length === 0 ? true : undefined,
    )
    expect(leader.status().acks).toMatchObject({ degraded: false, effective: 'durable FIRST 1 (b, c)' })
    const answered = receipts.length
    const waitedMs = leader.status().acks?.pendingMs ?? 0
    await eventually('writes to wait on', () =>
      (leader.status().acks?.pendingMs ?? 0) > waitedMs + 200 ? true : undefined,
    )
    expect(receipts.length).toBe(answered)
    toC.restore()
    toB.restore()
    await running.more(20)
    await running.stop()
    await untilStates(leader, { b: 'sync', c: 'potential' })
    for (const { reached, degraded, members } of receipts) {
      expect({ reached, degraded }).toStrictEqual({ reached: 'durable', degraded: false })
      expect(members.some(({ durableAt }) => durableAt !== undefined)).toBe(true)
    }
    expect(await countOf(leader)).toBe(10 + receipts.length)
    await eventually('both to have all of it', () =>
      leader.status().followers?.every(({ durable }) => durable === leader.status().durable) === true
        ? true
        : undefined,
    )
  },
)

test('a write asks for more than its cluster', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  const b = await cluster.follower('b')
  await fill(leader, 5)
  await caughtUp(leader, b)
  const statement = [{ sql: "insert into note (body) values ('strict')" }]
  const { receipt } = await leader.write(statement, { ack: 'applied', of: any(1, ['b', 'x']) })
  expect(receipt).toMatchObject({
    asked: 'applied',
    reached: 'applied',
    members: [{ name: 'b', durableAt: expect.any(Number) as number }],
  })
  expect(b.applied.lsn).toBeGreaterThanOrEqual(receipt.position.lsn)
  await expect(leader.write(statement, { of: any(1, ['x']), ackTimeoutMs: 100 })).rejects.toMatchObject({
    code: 'WRITTEN_NOT_ACKED',
  })
})
