/** A read that carries the position of a write sees it on any node. */
import { expect, test } from 'vitest'
import { TcpCluster, caughtUp, fill, insertNote } from './support/tcp-cluster.ts'

test('006 a read after a position sees the write on every follower, without one it may not', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  await fill(leader, 0)
  const followers = [await cluster.follower('b'), await cluster.follower('c')]
  await caughtUp(leader, ...followers)
  const sessions = Array.from({ length: 8 }, async (_, session) => {
    for (let n = 0; n < 25; n++) {
      const body = `${session}/${n}`
      const { receipt } = await insertNote(leader, body)
      for (const node of [leader, ...followers]) {
        const found = await node.read(
          (tx) => tx.get('select count(*) as n from note where body = ?', [body]),
          {
            after: { ...receipt.position, crc: receipt.crc },
          },
        )
        expect(found).toEqual({ n: 1 })
      }
    }
  })
  await Promise.all(sessions)
})

test('006 a position that does not come in time is a TIMEOUT, one of another history is lost', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  await fill(leader, 1)
  const follower = await cluster.follower('b')
  await caughtUp(leader, follower)
  const { epoch, lsn } = leader.applied
  const ahead = { epoch, lsn: lsn + 1000 }
  await expect(follower.read(() => 0, { after: ahead, timeoutMs: 50 })).rejects.toMatchObject({
    code: 'TIMEOUT',
    position: ahead,
  })
  await expect(leader.read(() => 0, { after: ahead })).rejects.toMatchObject({ code: 'POSITION_LOST' })
  const abort = new AbortController()
  const read = follower.read(() => 0, { after: ahead, signal: abort.signal })
  abort.abort()
  await expect(read).rejects.toMatchObject({ code: 'ABORTED' })
  const client = await cluster.client(follower)
  await expect(client.read('select 1', [], { after: ahead, timeoutMs: 50 })).rejects.toMatchObject({
    code: 'TIMEOUT',
  })
  expect((await client.read('select count(*) from note', [], { after: { epoch, lsn } })).rows).toEqual([[1]])
})
