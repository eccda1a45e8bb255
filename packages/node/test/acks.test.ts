/** Another ack policy for a leader that runs: by value or text, from the command of a client, through a restart. */
import { LOCAL_SLOT } from '@understudy/contracts'
import { any, type UnderstudyNode } from '../src/index.ts'
import { expect, test } from 'vitest'
import { Cluster } from './helpers.ts'

async function streaming(cluster: Cluster, leader: UnderstudyNode, name: string): Promise<UnderstudyNode> {
  const follower = await cluster.start(name, 'follower')
  await cluster.events['a']?.until(
    'followerChanged',
    (event) => event.name === name && event.state === 'streaming',
  )
  await follower.read(() => 0, { after: leader.applied })
  return follower
}

test('what is not given stays as it is; the next start goes on with it', async () => {
  const cluster = new Cluster()
  const leader = await cluster.leader()
  await streaming(cluster, leader, 'b')
  await leader.setAcks('any 1 (b) durable', { onUnmet: 'fail', ackTimeoutMs: 3000 })
  expect(leader.status().acks).toMatchObject({ effective: 'durable ANY 1 (b)', onUnmet: 'fail' })
  await leader.setAcks({ level: 'applied', of: any(1, ['b']) })
  expect(leader.status().acks).toMatchObject({ effective: 'applied ANY 1 (b)', onUnmet: 'fail' })
  await leader.setAcks({ onUnmet: 'degrade' })
  expect(leader.status().acks).toMatchObject({ effective: 'applied ANY 1 (b)', onUnmet: 'degrade' })
  await expect(leader.setAcks('sync:b')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  const { receipt } = await leader.write((tx) => tx.run("insert into note values (1, 'acked')"))
  expect(receipt).toMatchObject({ asked: 'applied', reached: 'applied' })
  await leader.close()
  const again = await cluster.start('a', 'leader')
  expect(again.status().acks).toMatchObject({ rule: 'applied ANY 1 (b)', change: undefined })
})

test('a follower refuses it', async () => {
  const cluster = new Cluster()
  const leader = await cluster.leader()
  const follower = await streaming(cluster, leader, 'b')
  await expect(follower.setAcks('async')).rejects.toMatchObject({ code: 'NOT_LEADER' })
})

test('checkpoints let go of the log, and not of the rule that it says', async () => {
  const cluster = new Cluster()
  // Nothing of the log is kept for a way back.
  const leader = await cluster.leader(0, { rewindBytesMax: 0 })
  await streaming(cluster, leader, 'b')
  const { lsn } = await leader.setAcks('any 1 (b) durable')
  const slot = (): number => leader.slots().find(({ name }) => name === LOCAL_SLOT)?.lsn ?? 0
  for (let id = 1; id <= 5; id++)
    await leader.write((tx) => tx.run('insert into note values (?, ?)', [id, 'x']))
  const end = leader.applied.lsn
  await leader.checkpoint()
  expect(slot()).toBeLessThan(lsn)
  // The repetition is a group of its own, after which the slot may go on.
  await leader.write((tx) => tx.run("insert into note values (6, 'x')"))
  await leader.checkpoint()
  expect(slot()).toBeGreaterThan(end - 3)
  expect(slot()).toBeGreaterThan(lsn)
  await leader.close()
  const again = await cluster.start('a', 'leader')
  expect(again.status().acks?.rule).toBe('durable ANY 1 (b)')
})
