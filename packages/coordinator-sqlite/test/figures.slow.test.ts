/** Measures how long it takes until somebody else has the lease of a process that was killed or stopped. Prints one line for each. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { keepLeases, processClock } from '@understudy/coordination'
import { sqliteCoordinator } from '@understudy/coordinator-sqlite'
import { until } from '@understudy/testkit/until'
import { expect, test } from 'vitest'
import { startRival } from './support/processes.ts'

const TTL_MS = 1000
const ROUNDS = 20
const clock = processClock()

test.each(['SIGKILL', 'SIGSTOP'] as const)(
  '%s',
  async (signal) => {
    const folder = mkdtempSync(join(tmpdir(), 'figures-'))
    const path = join(folder, 'coordinator.db')
    const coordinator = await sqliteCoordinator({ path })
    const keeper = await keepLeases({ coordinator, ttlMs: TTL_MS })
    const tookMs: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      await using holder = await startRival({ path, holder: 'a', ttlMs: TTL_MS, keep: true })
      await holder.line()
      let { lease } = await coordinator.observe()
      const first = lease!.beat
      while (lease!.beat === first) lease = (await coordinator.observe()).lease
      // At another moment between two renewals each time.
      await until(clock, clock.monotonic() + (round * TTL_MS) / 4 / ROUNDS)
      holder.child.kill(signal)
      const killedMs = clock.monotonic()
      for (;;) {
        const { lease: seen } = await coordinator.observe()
        const leftMs = seen!.freeAtMs - clock.monotonic()
        if (leftMs > 0) await until(clock, clock.monotonic() + Math.min(leftMs, 20))
        else {
          const kept = await keeper.acquire({ holder: 'b', epoch: seen!.epoch + 1 })
          tookMs.push(clock.monotonic() - killedMs)
          await kept.release()
          break
        }
      }
    }
    tookMs.sort((a, b) => a - b)
    const [first, last] = [tookMs[0]!, tookMs.at(-1)!]
    process.stderr.write(
      `${signal}, ttl ${TTL_MS}: ${first.toFixed(0)} to ${last.toFixed(0)} ms, median ${tookMs[ROUNDS / 2]!.toFixed(0)} ms\n`,
    )
    expect(last).toBeLessThan(1.5 * TTL_MS)
    await keeper.close()
    await coordinator.close()
    rmSync(folder, { recursive: true })
  },
  200_000,
)
