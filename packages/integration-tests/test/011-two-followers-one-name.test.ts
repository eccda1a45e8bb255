/** Two followers with one name take turns on the leader's one connection for it: each is told, neither gets wrong data. */
import { expect, test } from 'vitest'
import { TcpCluster, caughtUp, countOf, fill, insertNote } from './support/tcp-cluster.ts'

test('011 a name that is used twice is told to both, and harms neither data nor leader', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  await fill(leader, 10)
  const one = await cluster.follower('b')
  const oneEvents = cluster.events['b']
  await oneEvents?.untilState('streaming')
  const two = await cluster.follower('b', { directory: cluster.directory('b-again') })
  const twoEvents = cluster.events['b']

  const replaced = await oneEvents?.until(
    'state',
    ({ error }) => error?.message.includes('connected again') === true,
  )
  expect(replaced?.error?.code).toBe('CONNECTION_LOST')
  await twoEvents?.until('state', ({ error }) => error?.message.includes('connected again') === true)

  // The leader goes on, and both get everything, by turns.
  for (let i = 0; i < 20; i++) await insertNote(leader, `n${i}`)
  await caughtUp(leader, one, two)
  expect([await countOf(one), await countOf(two)]).toEqual([30, 30])
  expect(leader.status().failure).toBeUndefined()
  expect(leader.slots().filter(({ name }) => name === 'b')).toHaveLength(1)

  // Once the other is gone, all is as if it had never been.
  await one.close()
  await insertNote(leader, 'alone')
  await caughtUp(leader, two)
  await cluster.verify(leader, two)
})
