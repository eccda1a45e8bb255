/** A process that has the lease and keeps it, until it is killed: see `figures.slow.test.ts`. */
import { writeSync } from 'node:fs'
import { keepLeases } from '@understudy/coordination'
import { etcdCoordinator, type EtcdCoordinatorOptions } from '@understudy/coordinator-etcd'

const { options, epoch, ttlMs } = JSON.parse(process.argv[2] ?? '') as {
  options: EtcdCoordinatorOptions
  epoch: number
  ttlMs: number
}
const coordinator = etcdCoordinator(options)
const keeper = await keepLeases({ coordinator, ttlMs })
const lease = await keeper.acquire({ holder: 'a', epoch, timeoutMs: 10_000 })
writeSync(1, `acquired ${lease.epoch}\n`)
