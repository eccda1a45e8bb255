/**
 * Memory of a leader for each connection that never says who it is: resident memory after collecting garbage, with them
 * and before them.
 *
 * The leader is a new one each time, because memory that was used once is not given back; it has worked for a moment
 * before, and rests while it is measured. What the system itself keeps for a connection is not in it.
 */
import { Pair } from '../pair.ts'
import { Child } from '../processes/child.ts'
import type { StrangersCalls } from '../processes/strangers.ts'
import type { Wire } from '../wire.ts'
import { attack } from './hostile-sides.ts'

/** A number of rows, not a time: caches are as full on a slow machine. */
const WARM_UP_ROWS = 20_000

export async function measureStrangerMemory(
  directory: string,
  wire: Wire,
  connections: number,
): Promise<{ readonly kibibytes: number; readonly connections: number }> {
  await using pair = await Pair.startLeader(directory, { wire })
  await pair.leader.call('writeRows', { writers: 64, count: WARM_UP_ROWS })
  await pair.leader.call('checkpoint')
  await using strangers = new Child<StrangersCalls>('strangers')
  const before = await pair.leader.call('memory')
  await attack(strangers, pair.address, connections)
  const open = await pair.leader.call('connections')
  const after = await pair.leader.call('memory')
  return { kibibytes: (after - before) / 1024 / open, connections: open }
}
