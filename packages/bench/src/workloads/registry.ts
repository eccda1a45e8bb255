/** The workloads by name, and those of the user's own by the path of their module. */
import { UnderstudyError } from '@understudy/contracts'
import { exported, isPath } from '../own-modules.ts'
import { blobs } from './blobs.ts'
import { inserts } from './inserts.ts'
import { transaction, updateMany } from './large.ts'
import { mixed } from './mixed.ts'
import { tpcb } from './tpcb.ts'
import { updates } from './updates.ts'
import type { Workload } from './workload.ts'
import { ycsb } from './ycsb.ts'

export const WORKLOADS: readonly Workload[] = [
  inserts,
  updates,
  mixed,
  transaction,
  updateMany,
  blobs,
  ...ycsb,
  tpcb,
]

export const WORKLOAD_NAMES: readonly string[] = WORKLOADS.map(({ name }) => name)

/** By name, or from a module that exports `workload`. Throws `INVALID_ARGUMENT`. */
export async function workloadOf(name: string): Promise<Workload> {
  const known = WORKLOADS.find((workload) => workload.name === name)
  if (known !== undefined) return known
  if (!isPath(name))
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `There is no workload ${name}; nothing was measured. Workloads: ${WORKLOAD_NAMES.join(', ')}, or the path of a module that exports 'workload'.`,
    )
  const found = await exported(name, 'workload')
  const { start, schema, rows } = found as Partial<Workload>
  if (typeof start === 'function' && typeof schema === 'function' && typeof rows === 'function')
    return found as Workload
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `'workload' of ${name} is no workload: it needs name, title, schema, rows and start. Nothing was measured.`,
  )
}
