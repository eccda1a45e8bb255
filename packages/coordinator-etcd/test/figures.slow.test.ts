/** Measures how long it takes until somebody else has the lease of a process that was killed or stopped. Prints one line for each. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { keepLeases, processClock } from '@understudy/coordination'
import { etcdCoordinator } from '@understudy/coordinator-etcd'
import { until } from '@understudy/testkit/until'
import { expect, test } from 'vitest'
import { startEtcd } from './support/etcd.ts'
import { Watched } from './support/watched.ts'

const TTL_MS = 1000
const ROUNDS = 20
const clock = processClock()

test.each([
  ['SIGKILL', 1],
  ['SIGSTOP', 1],
  ['SIGKILL', 3],
] as const)(
  '%s, %i members',
  async (signal, members) => {
    await using etcd = await startEtcd({ members })
    const options = { endpoints: etcd.endpoints, cluster: 'c' }
    await using coordinator = etcdCoordinator(options)
    await using keeper = await keepLeases({ coordinator, ttlMs: TTL_MS })
    const watched = new Watched()
    coordinator.watch(watched.watcher)
    const tookMs: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const epoch = 2 * round + 1
      const program = fileURLToPath(new URL('./support/holder.ts', import.meta.url))
      const child = spawn(
        process.execPath,
        [...process.execArgv, program, JSON.stringify({ options, epoch, ttlMs: TTL_MS })],
        {
          stdio: ['ignore', 'pipe', 'inherit'],
        },
      )
      await using holder = {
        kill: (signal: NodeJS.Signals) => child.kill(signal),
        async [Symbol.asyncDispose]() {
          child.kill('SIGKILL')
          if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
        },
      }
      await once(child.stdout, 'data')
      // At another moment between two renewals each time.
      const beats = new Set<string>()
      await watched.until(({ last }) => {
        if (last?.lease?.epoch === epoch) beats.add(last.lease.beat)
        return beats.size === 3
      })
      await until(clock, clock.monotonic() + (round * TTL_MS) / 4 / ROUNDS)
      holder.kill(signal)
      const killedMs = clock.monotonic()
      for (;;) {
        const seen = watched.last!.lease!
        await until(clock, seen.freeAtMs)
        if (watched.last!.lease!.beat !== seen.beat) continue
        const lease = await keeper.acquire({ holder: 'b', epoch: epoch + 1, seen })
        tookMs.push(clock.monotonic() - killedMs)
        await lease.release()
        break
      }
      holder.kill('SIGKILL')
    }
    tookMs.sort((a, b) => a - b)
    const [first, last] = [tookMs[0]!, tookMs.at(-1)!]
    process.stderr.write(
      `${signal}, ${members} members, ttl ${TTL_MS}: ${first.toFixed(0)} to ${last.toFixed(0)} ms, median ${tookMs[ROUNDS / 2]!.toFixed(0)} ms\n`,
    )
    expect(last).toBeLessThan(2 * TTL_MS)
  },
  200_000,
)
