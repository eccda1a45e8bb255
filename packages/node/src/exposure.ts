/**
 * Which commits had less protection than was asked for, as a node can tell.
 *
 * Decides: what a leader and a follower know of who has what. Leaves to others: reading the log, the ranges (replication).
 *
 * 1. A leader knows what its connected followers have durable, and takes nobody else for having anything.
 * 2. A follower knows what it has itself, and that what it shows is acknowledged.
 */
import type { Exposure, ExposureOptions } from '@understudy/contracts'
import { reportExposure, type Whereabouts } from '@understudy/replication'
import type { ReadOptions } from './api.ts'
import type { LeaderRole } from './leader-role.ts'
import type { NodeData } from './node-data.ts'
import { withData, type ReadSource } from './reads.ts'

export interface NodeExposureOptions extends ExposureOptions, Pick<ReadOptions, 'timeoutMs' | 'signal'> {}

/** Rejects with what `read` does, `LOG_CORRUPT`. */
export function exposureOf(
  source: ReadSource,
  leading: () => LeaderRole | undefined,
  options: NodeExposureOptions = {},
): Promise<Exposure> {
  const { timeoutMs, signal, ...asked } = options
  const waiting = { ...(timeoutMs !== undefined && { timeoutMs }), ...(signal && { signal }) }
  return withData(source, waiting, async (data, began) => {
    const state = await data.exposure.read()
    began()
    const role = leading()
    return reportExposure(state, role === undefined ? asFollower(source.name, data) : asLeader(role), asked)
  })
}

function asLeader(role: LeaderRole): Whereabouts {
  const connected = new Map(role.followers().map(({ name, durable }) => [name, durable]))
  return { durable: (name) => connected.get(name) ?? 0, acked: role.pipeline.highWatermark }
}

function asFollower(self: string, { log, storage }: NodeData): Whereabouts {
  return { durable: (name) => (name === self ? log.durable : undefined), acked: storage.applied.lsn }
}
