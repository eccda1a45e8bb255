/** Each start of leading begins an epoch; followers go on from where they are. */
import { formatPosition } from '@understudy/contracts'
import { expect, test } from 'vitest'
import { TcpCluster, caughtUp, countOf, fill, insertNote } from './support/tcp-cluster.ts'

test('004 a leader that restarts begins a new epoch, and its follower follows without a snapshot', async () => {
  const cluster = new TcpCluster()
  let leader = await cluster.leader()
  await fill(leader, 1)
  const follower = await cluster.follower('b', { link: { heartbeatMs: 50, deadlineMs: 500 } })
  const { receipt: first } = await insertNote(leader, 'epoch 1')
  for (const epoch of [2, 3, 4]) {
    await leader.close()
    leader = await cluster.leader()
    expect(cluster.events['a']?.of('leading')[0]?.epoch).toBe(epoch)
    const { receipt } = await insertNote(leader, `epoch ${epoch}`)
    expect(receipt.position.epoch).toBe(epoch)
    // The follower finds it again by itself.
    await follower.read(() => 0, { after: { ...receipt.position, crc: receipt.crc }, timeoutMs: 20_000 })
  }
  // A position of an earlier epoch is in its history still, a made-up one is not.
  const token = { ...first.position, crc: first.crc }
  expect(await follower.read(() => 'here', { after: token })).toBe('here')
  expect(await leader.read(() => 'here', { after: token })).toBe('here')
  for (const node of [leader, follower]) {
    await expect(node.read(() => 0, { after: { ...token, epoch: 3 } })).rejects.toMatchObject({
      code: 'POSITION_LOST',
      position: { epoch: 3, lsn: token.lsn },
    })
    await expect(node.read(() => 0, { after: { ...token, crc: token.crc ^ 1 } })).rejects.toMatchObject({
      code: 'POSITION_LOST',
    })
  }
  expect(await countOf(follower)).toBe(5)
  expect(cluster.events['b']?.of('bootstrapped')).toHaveLength(1)
  await caughtUp(leader, follower)
  expect(follower.status()).toMatchObject({ epoch: 4, position: formatPosition(leader.applied) })
  await cluster.verify(leader, follower)
})

test('004 a follower that starts before its leader serves what it has, and finds it later', async () => {
  const cluster = new TcpCluster()
  let leader = await cluster.leader()
  await fill(leader, 3)
  let follower = await cluster.follower('b')
  await caughtUp(leader, follower)
  await follower.close()
  await leader.close()
  follower = await cluster.follower('b')
  expect(await countOf(follower)).toBe(3)
  expect(follower.status()).toMatchObject({ role: 'follower', state: 'disconnected' })
  leader = await cluster.leader()
  await insertNote(leader, 'back')
  await follower.read(() => 0, { after: leader.applied, timeoutMs: 20_000 })
  expect(await countOf(follower)).toBe(4)
})
