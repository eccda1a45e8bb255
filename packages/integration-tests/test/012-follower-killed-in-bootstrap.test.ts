/** A follower that dies in its bootstrap goes on with what it had. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, onTestFinished, test } from 'vitest'
import { TcpCluster, caughtUp, countOf, fill, insertNote } from './support/tcp-cluster.ts'

test('012 a follower killed in its bootstrap resumes, while the leader goes on', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  for (let i = 0; i < 4; i++) await fill(leader, 4000, 1000)

  const child = spawn(
    process.execPath,
    [
      '--conditions=@understudy/source',
      '--disable-warning=ExperimentalWarning',
      join(import.meta.dirname, 'programs/slow-follower.ts'),
      cluster.directory('b'),
      cluster.leaderAddress,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  onTestFinished(() => void child.kill('SIGKILL'))
  const exit = once(child, 'exit')
  let reached = 0
  for await (const line of createInterface(child.stdout)) {
    expect(line).not.toBe('done')
    reached = Number(line)
    if (reached > 6 * 1024 * 1024) child.kill('SIGKILL')
  }
  expect((await exit)[1]).toBe('SIGKILL')

  for (let i = 0; i < 50; i++) await insertNote(leader, `meanwhile ${i}`)
  const follower = await cluster.follower('b')
  const bootstrapped = cluster.events['b']?.of('bootstrapped')[0]
  expect(bootstrapped?.bytes).toBeGreaterThan(16_000_000)
  // What had been made durable before the kill did not travel again.
  expect(bootstrapped?.transferredBytes).toBeLessThan((bootstrapped?.bytes ?? 0) - 2 * 1024 * 1024)
  await caughtUp(leader, follower)
  expect(await countOf(follower)).toBe(16_050)
  await cluster.verify(leader, follower)
}, 120_000)
