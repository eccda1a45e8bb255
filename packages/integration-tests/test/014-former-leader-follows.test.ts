/** A directory that led is replaced by a snapshot only when its owner says so, and only within its cluster. */
import { cpSync, readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { TcpCluster, caughtUp, countOf, fill, insertNote } from './support/tcp-cluster.ts'

test('014 a former leader follows after replaceLeader, by a snapshot', async () => {
  const cluster = new TcpCluster()
  let leader = await cluster.leader()
  await fill(leader, 3)
  await leader.close()
  // A copy of the leader's directory leads on; the original comes back as its follower.
  cpSync(cluster.directory('a'), cluster.directory('copy'), { recursive: true })
  leader = await cluster.leader({ directory: cluster.directory('copy') })
  await insertNote(leader, 'the copy leads')

  const directory = cluster.directory('a')
  await expect(cluster.follower('a')).rejects.toMatchObject({ code: 'DIRECTORY_OF_LEADER' })
  await expect(cluster.follower('old', { directory })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  // The name belongs to the one that leads.
  await expect(cluster.follower('a', { replaceLeader: true })).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    message: expect.stringContaining('name of its own') as string,
  })
  const other = new TcpCluster()
  const foreign = await other.leader()
  await expect(
    cluster.follower('old', { directory, leader: foreign.address ?? '', replaceLeader: true }),
  ).rejects.toMatchObject({ code: 'FOREIGN_CLUSTER' })
  // No try harmed it.
  await expect(cluster.follower('a')).rejects.toMatchObject({ code: 'DIRECTORY_OF_LEADER' })

  const follower = await cluster.follower('old', { directory, replaceLeader: true })
  await cluster.events['old']?.untilState('streaming')
  await caughtUp(leader, follower)
  expect(await countOf(follower)).toBe(4)
  expect(readdirSync(directory).filter((name) => name.startsWith('generation-'))).toEqual(['generation-2'])
  await follower.close()
  // From now on it is a follower's.
  const again = await cluster.follower('old', { directory })
  await caughtUp(leader, again)
  expect(cluster.events['old']?.of('bootstrapped')).toEqual([])
})
