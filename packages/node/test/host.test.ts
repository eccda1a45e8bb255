/** A running node whose role changes: it founds, leads, hands over, follows and rejoins, with its data open all the time. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { LOCAL_SLOT, UnderstudyError, formatPosition } from '@understudy/contracts'
import { listLostTails, readLostTail } from '@understudy/failover'
import { nodeFiles } from '@understudy/log'
import { expect, test } from 'vitest'
import { any, lostTailDirectory, readNodeState, type AckPolicy } from '../src/index.ts'
import { HostCluster, caughtUp, notes, put, refusal, type Hosted } from './host-cluster.ts'

const SEMI_SYNC = { rule: { level: 'durable', of: { kind: 'any', count: 1, names: ['b', 'c'] } } } as const

const turn = () => new Promise((resolve) => void setImmediate(resolve))

const led = (cluster: HostCluster, name: string) => readNodeState(nodeFiles(), cluster.directory(name))?.led

test('one node founds the cluster and waits; promoted it leads, and others follow it', async () => {
  const cluster = new HostCluster()
  const a = await cluster.open('a', { role: 'leader' })
  expect(a.node.status()).toMatchObject({ role: 'follower', state: 'waiting' })
  expect(a.host.report()).toMatchObject({ end: { epoch: 0, lsn: 0 }, state: 'catchup', idsProven: true })
  expect((await refusal(a.node.write((tx) => tx.exec('create table t (a)')))).code).toBe('NOT_LEADER')
  const b = await cluster.open('b')
  expect(b.host.report()).toMatchObject({ state: 'bootstrapping' })
  expect(led(cluster, 'a')).toBe(false)
  const leader = await cluster.promote(a)
  expect(led(cluster, 'a')).toBe(true)
  expect(a.node.status()).toMatchObject({ role: 'leader', state: 'leading', epoch: 1 })
  await a.node.write((tx) => tx.exec('create table note (id integer primary key, body text)'))
  await b.host.follow(leader)
  await b.events.until('state', ({ state }) => state === 'streaming')
  await put(a, 1)
  await caughtUp(a, b)
  expect(await notes(b)).toEqual([1])
  expect(b.fence.admitted).toEqual(['1a'])
  expect(b.fence.heardOf).toContain('a')
  expect(b.host.report()).toMatchObject({
    state: 'streaming',
    receiversStopped: false,
    leaderEnd: { epoch: 1 },
  })
})

test('handed over, the leader follows, and what waited for its turn is told who leads', async () => {
  const cluster = new HostCluster()
  const [a, b, c] = await cluster.begin(['b', 'c'])
  for (let id = 1; id <= 20; id++) await put(a, id)
  const { end } = a.host.report()
  const last = put(a, 21)
  while (a.node.status().log.end === formatPosition(end)) await turn()
  const drained = a.host.drain('b', 5000)
  const held = refusal(put(a, 22))
  await drained
  // What ran already is answered before the log is at rest.
  await last
  expect(a.host.report()).toMatchObject({ state: 'leading', receiversStopped: true })
  expect(b.host.report().end).toEqual(a.host.report().end)
  const leader = await cluster.promote(b)
  await a.host.follow(leader)
  await c.host.follow(leader)
  const error = await held
  expect(error.code).toBe('NOT_WRITTEN')
  expect(error.details).toMatchObject({ reason: 'notLeader', leader: 'memory://b' })
  const refused = await refusal(put(a, 23))
  expect(refused).toMatchObject({ code: 'NOT_LEADER', details: { leader: 'memory://b' } })
  await put(b, 22)
  await caughtUp(b, a, c)
  expect((await notes(a)).length).toBe(22)
  expect(await notes(c)).toEqual(await notes(b))
  expect(a.node.status()).toMatchObject({ role: 'follower', state: 'streaming', epoch: 2 })
  expect(led(cluster, 'a')).toBe(false)
  // And back again, in the same process.
  await b.host.drain('a', 5000)
  const again = await cluster.promote(a)
  await b.host.follow(again)
  await put(a, 24)
  await caughtUp(a, b)
  expect(await notes(b)).toContain(24)
})

test('drained in vain it goes on, and nobody noticed', async () => {
  const cluster = new HostCluster()
  const [a, b] = await cluster.begin(['b'])
  await b.host.freeze()
  await put(a, 1)
  const during = put(a, 2)
  const late = await refusal(a.host.drain('b', 50))
  expect(late.code).toBe('TIMEOUT')
  await during
  await put(a, 3)
  b.host.thaw()
  await caughtUp(a, b)
  expect(await notes(b)).toEqual([1, 2, 3])
})

test('frozen, a follower takes nothing and a leader appends nothing; thawed, both go on', async () => {
  const cluster = new HostCluster()
  const [a, b] = await cluster.begin(['b'])
  await put(a, 1)
  await caughtUp(a, b)
  await b.host.freeze()
  const { end } = b.host.report()
  expect(b.node.status().state).toBe('frozen')
  await put(a, 2)
  expect(b.host.report()).toMatchObject({ end, receiversStopped: true })
  expect(await notes(b)).toEqual([1])
  // Its turn was due already.
  const due = put(a, 3)
  await a.host.freeze()
  const at = a.host.report().end
  const held = put(a, 4)
  await turn()
  await a.node.read(() => 0)
  expect(a.node.status().log.end).toBe(formatPosition(at))
  expect(a.host.report().end).toEqual(at)
  b.host.thaw()
  a.host.thaw()
  await due
  await held
  await caughtUp(a, b)
  expect(await notes(b)).toEqual([1, 2, 3, 4])
})

test('a member of the rule that leads needs nothing of itself, where nobody says which rule holds now', async () => {
  const cluster = new HostCluster()
  const [a, b, c] = await cluster.begin(['b', 'c'], SEMI_SYNC)
  await put(a, 1)
  await caughtUp(a, b, c)
  a.host.stopLeading(new UnderstudyError('NOT_LEADER', 'gone'))
  await cluster.promote(b)
  expect(b.node.status().acks?.rule).toBe('local')
  await put(b, 2)
  expect(await notes(b)).toEqual([1, 2])
})

test('a read that waits for a position goes on through every change', async () => {
  const cluster = new HostCluster()
  const [a, b] = await cluster.begin(['b'])
  await b.host.freeze()
  const { receipt } = (await put(a, 1)) as { receipt: { position: { epoch: number; lsn: number } } }
  const read = b.node.read((tx) => tx.get('select body from note where id = 1'), {
    after: receipt.position,
    timeoutMs: 5000,
  })
  await b.host.fetchTail({ name: 'a', address: 'memory://a' }, 0)
  await a.host.freeze()
  await b.host.fetchTail({ name: 'a', address: 'memory://a' }, receipt.position.lsn)
  await cluster.promote(b)
  expect(await read).toEqual({ body: 'note 1' })
})

test('the end of a log comes from a frozen member, and from no other', async () => {
  const cluster = new HostCluster()
  const [a, b, c] = await cluster.begin(['b', 'c'])
  await put(a, 1)
  await caughtUp(a, b, c)
  await b.host.freeze()
  for (let id = 2; id <= 300; id++) await put(a, id, 'x'.repeat(5000))
  await caughtUp(a, c)
  const { end } = c.host.report()
  expect((await refusal(b.host.fetchTail({ name: 'c', address: 'memory://c' }, end.lsn))).code).toBe(
    'NOT_LEADER',
  )
  await c.host.freeze()
  const slots = c.node.slots().map(({ name }) => name)
  await b.host.fetchTail({ name: 'c', address: 'memory://c' }, end.lsn)
  expect(b.host.report()).toMatchObject({ end, receiversStopped: true })
  expect(c.node.slots().map(({ name }) => name)).toEqual(slots)
  await b.host.apply(end.lsn)
  expect(await notes(b)).toEqual(await notes(a))
})

test('a leader that is gone is replaced in place, with all that was acknowledged', async () => {
  const cluster = new HostCluster()
  const [a, b, c] = await cluster.begin(['b', 'c'], SEMI_SYNC)
  const acked: number[] = []
  const writing = (async () => {
    for (let id = 1; ; id++)
      try {
        await put(a, id)
        acked.push(id)
      } catch {
        return
      }
  })()
  while (acked.length < 50) await turn()
  a.host.stopLeading(new UnderstudyError('NOT_LEADER', 'cut off'))
  await writing
  await b.host.freeze()
  await c.host.freeze()
  const [ahead, behind] = b.host.report().end.lsn >= c.host.report().end.lsn ? [b, c] : [c, b]
  const { rule } = SEMI_SYNC
  const others = ['a', 'b', 'c'].filter((name) => name !== ahead.name)
  const leader = await cluster.promote(ahead, { rule: { ...rule, of: { ...rule.of, names: others } } })
  await behind.host.follow(leader)
  await put(ahead, 1000)
  await caughtUp(ahead, behind)
  expect(await notes(ahead)).toEqual(expect.arrayContaining(acked))
  expect(ahead.node.status().acks).toMatchObject({ rule: `durable ANY 1 (${others.join(', ')})` })
  await a.host.follow(leader)
  await caughtUp(ahead, a)
  expect(await notes(a)).toEqual(await notes(ahead))
})

test('a former leader keeps what it alone had, undoes it in place, and follows', async () => {
  const cluster = new HostCluster()
  const [a, b, c] = await cluster.begin(['b', 'c'])
  await put(a, 1)
  await caughtUp(a, b, c)
  await b.host.freeze()
  await c.host.freeze()
  for (let id = 2; id <= 6; id++) await put(a, id, 'lost')
  const alone = a.node.applied
  const leader = await cluster.promote(b)
  expect(await notes(a)).toHaveLength(6)
  await a.host.follow(leader)
  await c.host.follow(leader)
  await put(b, 7)
  await caughtUp(b, a, c)
  expect(await notes(a)).toEqual([1, 7])
  const tails = listLostTails(nodeFiles(), lostTailDirectory(cluster.directory('a')))
  const kept = tails.map(({ path }) => readLostTail(nodeFiles(), path, [cluster.format]))
  expect(kept.map(({ header }) => header.end)).toMatchObject([{ lsn: alone.lsn, epoch: alone.epoch }])
  expect(kept[0]?.transactions).toHaveLength(5)
  expect(a.node.status()).toMatchObject({ state: 'streaming' })
  expect(led(cluster, 'a')).toBe(false)
  const lost = await refusal(a.node.read(() => 0, { after: alone, timeoutMs: 1000 }))
  expect(lost.code).toBe('POSITION_LOST')
})

test('a former leader that comes back too late for the log keeps what it alone had, and takes a snapshot', async () => {
  const cluster = new HostCluster()
  const [a, b] = await cluster.begin(['b'], undefined, { segmentBytes: 8192, rewindBytesMax: 0 })
  await put(a, 1)
  await caughtUp(a, b)
  await b.host.freeze()
  await put(a, 2, 'lost')
  const leader = await cluster.promote(b)
  for (let id = 3; id <= 20; id++) await put(b, id, 'x'.repeat(2000))
  b.node.dropSlot('a')
  await b.node.checkpoint()
  const bootstrapped = a.events.until('bootstrapped')
  await a.host.follow(leader)
  await bootstrapped
  await caughtUp(b, a)
  expect(await notes(a)).toEqual(await notes(b))
  const [tail] = listLostTails(nodeFiles(), lostTailDirectory(cluster.directory('a')))
  expect(readLostTail(nodeFiles(), tail?.path ?? '', [cluster.format]).transactions).toHaveLength(1)
  expect(a.node.failure).toBeUndefined()
  expect(led(cluster, 'a')).toBe(false)
})

test('a group that waits for acks when the node stops is unknown to its writer, and shown to nobody', async () => {
  const cluster = new HostCluster()
  const [a, b, c] = await cluster.begin(['b', 'c'], SEMI_SYNC)
  await b.host.freeze()
  await c.host.freeze()
  const waiting = refusal(put(a, 1))
  while (a.node.status().acks?.pending === undefined) await turn()
  const queued = refusal(put(a, 2))
  const leader = await cluster.promote(b)
  await a.host.follow(leader)
  expect((await waiting).code).toBe('OUTCOME_UNKNOWN')
  expect((await queued).code).toBe('NOT_WRITTEN')
  await caughtUp(b, a)
  expect(await notes(a)).toEqual([])
})

/** Which question of a group is answered with no: before it is kept, once it is durable, before it is answered. */
for (const [nth, when, code] of [
  [1, 'before it is kept', 'NOT_WRITTEN'],
  [2, 'once it is durable', 'OUTCOME_UNKNOWN'],
  [3, 'before it is answered', 'OUTCOME_UNKNOWN'],
] as const)
  test(`a lease that is over ${when}: nothing is answered, and nothing more is written`, async () => {
    // Two writes of one turn are one group, however slow the machine is.
    const cluster = new HostCluster()
    const [a, b] = await cluster.begin(['b'], undefined, { pipeline: { groupMsMax: 1000 } })
    await put(a, 1)
    await caughtUp(a, b)
    const { end } = a.host.report()
    let asked = 0
    a.fence.onAsk = () => {
      if (++asked === nth) a.fence.leads = false
    }
    const writing = refusal(put(a, 2))
    const next = put(a, 3).catch((error: UnderstudyError) => error.code)
    expect((await writing).code).toBe(code)
    expect(await next).toBe(code)
    expect(a.host.report().end.lsn).toBe(nth === 1 ? end.lsn : end.lsn + 1)
    expect(await notes(a)).toEqual(nth === 3 ? [1, 2, 3] : [1])
    expect(a.node.status()).toMatchObject({ role: 'follower', state: 'waiting', failure: undefined })
    expect(a.host.report()).toMatchObject({ state: 'catchup', receiversStopped: true })
    expect((await refusal(put(a, 4))).code).toBe('LEASE_LOST')
    await a.events.until('stoppedLeading')
    await b.host.freeze()
    const leader = await cluster.promote(b)
    await a.host.follow(leader)
    await put(b, 5)
    await caughtUp(b, a)
    expect(await notes(a)).toEqual(await notes(b))
  })

test('a leader whose lease is over proves nothing new to readers, before it notices by itself', async () => {
  const cluster = new HostCluster()
  const [a] = await cluster.begin(['b'])
  await put(a, 1)
  expect(a.node.leadership()).toMatchObject({ takesWrites: true, stalenessMs: 0 })
  a.fence.leads = false
  const said = a.node.leadership()
  expect(said.takesWrites).toBe(false)
  expect(said.stalenessMs).toBeUndefined()
})

test('an epoch that begins when the lease is over shows nothing, and the node goes on as a follower', async () => {
  const cluster = new HostCluster()
  const [a, b, c] = await cluster.begin(['b', 'c'])
  await put(a, 1)
  await caughtUp(a, b, c)
  await b.host.freeze()
  b.fence.onAsk = () => (b.fence.leads = false)
  const error = await refusal(b.host.beginEpoch(cluster.promotion(b)))
  expect(error.code).toBe('LEASE_LOST')
  expect(b.node.status()).toMatchObject({ role: 'follower', state: 'frozen', epoch: 2 })
  expect(led(cluster, 'b')).toBe(true)
  // Another one leads in a higher epoch: what was begun goes.
  await c.host.freeze()
  const leader = await cluster.promote(c)
  await a.host.follow(leader)
  await b.host.follow(leader)
  await put(c, 2)
  await caughtUp(c, a, b)
  expect(await notes(b)).toEqual([1, 2])
  expect(b.node.status().epoch).toBe(3)
  expect(led(cluster, 'b')).toBe(false)
})

test('a leader is told by a follower of a higher epoch that it was replaced', async () => {
  const cluster = new HostCluster()
  const [a, b] = await cluster.begin(['b'])
  const place = { name: 'a', epoch: 1, runId: '1'.padStart(16, '0'), address: 'memory://a' }
  await b.host.freeze()
  await cluster.promote(b)
  b.host.stopLeading(new UnderstudyError('NOT_LEADER', 'a mistake'))
  await b.host.follow(place)
  await a.events.until('stoppedLeading', ({ error }) => error.code === 'EPOCH_STALE')
  expect(a.fence.epochs).toEqual([2])
  expect(a.node.failure).toBeUndefined()
})

test('nobody is followed, and nothing acknowledged, when the member says no', async () => {
  const cluster = new HostCluster()
  const [a, b] = await cluster.begin(['b'])
  await put(a, 1)
  await caughtUp(a, b)
  const slot = () => a.node.status().followers?.find(({ name }) => name === 'b')
  b.fence.acks = false
  const durable = slot()?.durable as number
  await put(a, 2)
  await caughtUp(a, b)
  expect(slot()?.durable).toBe(durable)
  await b.host.freeze()
  b.fence.admits = false
  b.host.thaw()
  await b.events.until('state', ({ error }) => error?.code === 'EPOCH_STALE')
  await put(a, 3)
  expect(await notes(b)).toEqual([1, 2])
})

test('a crash after an epoch began, before it took writes: the node starts as a follower, and follows whoever leads', async () => {
  const cluster = new HostCluster()
  const [a, b] = await cluster.begin(['b'])
  await put(a, 1)
  await caughtUp(a, b)
  await b.host.freeze()
  const promotion = cluster.promotion(b)
  await b.host.beginEpoch(promotion)
  // As a crash leaves it: another process copies, so that no lock of this one is touched.
  execFileSync('cp', ['-r', cluster.directory('b'), cluster.directory('copy')])
  await b.node.close()
  execFileSync('rm', ['-rf', cluster.directory('b')])
  execFileSync('mv', [cluster.directory('copy'), cluster.directory('b')])
  const again = await cluster.open('b')
  expect(again.node.status()).toMatchObject({ role: 'follower', state: 'waiting', epoch: 2 })
  expect(await notes(again)).toEqual([1])
  expect(again.host.report()).toMatchObject({ end: { epoch: 2 }, keptReceived: false })
  const leader = await cluster.promote(again)
  await put(again, 2)
  await a.host.follow(leader)
  await caughtUp(again, a)
  expect(await notes(a)).toEqual([1, 2])
  expect(join(cluster.folder, 'b')).toBe(cluster.directory('b'))
})

test('a member knows the rule by its log, also after checkpoints, and whether it may be lowered', async () => {
  const cluster = new HostCluster()
  const acks: AckPolicy = { level: 'durable', of: any(1, ['a', 'b', 'c']), onUnmet: 'degrade' }
  const a = await cluster.open('a', { role: 'leader', acks })
  expect(a.host.report().rules).toEqual({ rule: { level: 'durable', of: acks.of }, mayBeLowered: true })
  const of = any(1, ['b', 'c'])
  const leader = await cluster.promote(a, { rule: { level: 'durable', of } })
  const b = await cluster.open('b', { acks, rewindBytesMax: 0 })
  await b.host.follow(leader)
  await b.events.until('state', ({ state }) => state === 'streaming')
  await a.node.write((tx) => tx.exec('create table note (id integer primary key, body text)'))
  await caughtUp(a, b)
  const known = { rule: { level: 'durable', of }, mayBeLowered: true }
  expect(a.host.report().rules).toEqual(known)
  // A snapshot came after the record; it is said again when the leader lets go of its log, as for a snapshot.
  await put(a, 1)
  await caughtUp(a, b)
  expect(b.host.report().rules).toEqual(known)
  for (let id = 2; id <= 20; id++) await put(a, id)
  await caughtUp(a, b)
  await b.node.checkpoint()
  const slot = b.node.slots().find(({ name }) => name === LOCAL_SLOT)?.lsn ?? 0
  expect(slot).toBeLessThan(b.host.report().end.lsn - 10)
  expect(b.host.report().rules).toEqual(known)
  await a.node.setAcks({ onUnmet: 'block' })
  await put(a, 21)
  await caughtUp(a, b)
  expect(a.node.status().acks).toMatchObject({ onUnmet: 'block', change: undefined })
  expect(b.host.report().rules).toEqual({ ...known, mayBeLowered: false })
})

test('a node that starts again does not lead, whatever it was', async () => {
  const cluster = new HostCluster()
  const [a, b] = await cluster.begin(['b'])
  await put(a, 1)
  await caughtUp(a, b)
  await a.node.close()
  const again = await cluster.open('a', { role: 'leader' })
  expect(again.node.status()).toMatchObject({ role: 'follower', state: 'waiting' })
  expect(await notes(again)).toEqual([1])
  const leader = await cluster.promote(again)
  await b.host.follow(leader)
  await put(again, 2)
  await caughtUp(again, b)
  expect(await notes(b)).toEqual([1, 2])
})

test('a follower that is getting its snapshot can be frozen, and follow another leader', async () => {
  const cluster = new HostCluster()
  const [a, b] = await cluster.begin(['b'])
  for (let id = 1; id <= 50; id++) await put(a, id)
  await caughtUp(a, b)
  const c: Hosted = await cluster.open('c', { snapshotBytesPerSecondMax: 0 })
  await c.host.freeze()
  c.host.thaw()
  await b.host.freeze()
  const leader = await cluster.promote(b)
  await c.host.follow(leader)
  await a.host.follow(leader)
  await c.events.until('state', ({ state }) => state === 'streaming')
  await caughtUp(b, c)
  expect(await notes(c)).toHaveLength(50)
})
