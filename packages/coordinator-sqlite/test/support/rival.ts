/** A process that wants the lease: see `startRival`. Times are of the machine's monotonic clock, in nanoseconds. */
import { openSync, writeSync } from 'node:fs'
import { isUnderstudyError } from '@understudy/contracts'
import { keepLeases, processClock, type KeptLease } from '@understudy/coordination'
import { sqliteCoordinator } from '@understudy/coordinator-sqlite'
import type { RivalOptions } from './processes.ts'

const { path, holder, ttlMs, keep = false } = JSON.parse(process.argv[2] ?? '') as RivalOptions
const clock = processClock()
const AGAIN = ['LEASE_HELD', 'EPOCH_STALE', 'COORDINATOR_UNCERTAIN', 'COORDINATOR_UNAVAILABLE']
const coordinator = await sqliteCoordinator({ path, pollMs: 5 })
const keeper = keep ? await keepLeases({ coordinator, ttlMs }) : undefined

function say(line: string): void {
  writeSync(1, `${line}\n`)
}

async function acquire(): Promise<{ epoch: number; kept?: KeptLease }> {
  for (;;) {
    const { lease } = await coordinator.observe()
    const epoch = (lease?.epoch ?? 0) + 1
    const waitMs = lease === undefined || lease.released ? 0 : lease.freeAtMs - clock.monotonic()
    if (waitMs > 0)
      await new Promise<void>((resolve) => {
        clock.schedule(Math.min(waitMs, 10), resolve)
      })
    else
      try {
        if (keeper !== undefined) return { epoch, kept: await keeper.acquire({ holder, epoch }) }
        await coordinator.acquire({ holder, epoch, ttlMs })
        return { epoch }
      } catch (error) {
        // Somebody was faster, or this process got the processor too late: it tries again.
        if (!isUnderstudyError(error) || !AGAIN.includes(error.code)) throw error
      }
  }
}

say('up')
const { epoch, kept } = await acquire()
say(`acquired ${process.hrtime.bigint()} ${epoch}`)
if (kept === undefined) setInterval(() => undefined, 60_000)
else {
  // What others can see: done only right after asking, and dated before. The newest of each process is kept in a file.
  const file = openSync(`${path}.${process.pid}.valid`, 'w')
  const act = (): void => {
    for (let count = 0; count < 50; count++) {
      const atNs = process.hrtime.bigint()
      if (kept.isValid()) writeSync(file, `valid ${atNs} ${epoch}\n`, 0)
      else {
        say(`lost ${atNs} ${epoch}`)
        void keeper?.close().then(() => coordinator.close())
        return
      }
    }
    clock.schedule(1, act)
  }
  act()
}
