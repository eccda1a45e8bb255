/** Opens a coordinator on etcd. */
import { extname } from 'node:path'
import { systemRandom, type Coordinator } from '@understudy/contracts'
import { coordinatorOn } from '@understudy/coordination'
import { EtcdClient } from './client.ts'
import { settingsOf, type EtcdCoordinatorOptions } from './options.ts'
import { EtcdStore } from './store.ts'

/**
 * A coordinator on etcd, 3.4 or later, for nodes on several machines. Nothing is sent before the first call. Throws
 * `INVALID_ARGUMENT`, `ADDRESS_INVALID`, `INSECURE_ADDRESS`, and `TLS_FAILED` when certificates cannot be used.
 */
export function etcdCoordinator(options: EtcdCoordinatorOptions): Coordinator {
  const settings = settingsOf(options)
  const { clock: _ownClock, ...plain } = options
  const recipe = {
    module: new URL(`./index${extname(import.meta.url)}`, import.meta.url).href,
    factory: etcdCoordinator.name,
    options: plain,
  }
  const { clock, refreshMs } = settings
  const store = new EtcdStore(new EtcdClient(settings), settings, recipe)
  return coordinatorOn(store, { clock, random: systemRandom(), refreshMs })
}
