/**
 * One measurement of one format.
 *
 * Leaves to others: whose turn it is (rounds.ts), and which figures come of it.
 *
 * Validity:
 * 1. While one pair is measured, the others are idle.
 * 2. Bytes are those of the follower's connection in both directions, from before the load until the follower shows all of it.
 */
import type { Pair } from '../pair.ts'

/** Rows that the one UPDATE touches, where there are so many. */
export const UPDATED_ROWS = 100_000

export async function measureLoad(
  pair: Pair,
  writers: number,
  seconds: number,
): Promise<{ readonly perSecond: number; readonly bytes: number }> {
  const before = await pair.leader.call('wireBytes')
  const result = await pair.leader.call('load', { writers, seconds })
  await pair.equal()
  const bytes = ((await pair.leader.call('wireBytes')) - before) / result.commits
  await pair.leader.call('checkpoint')
  return { perSecond: result.perSecond, bytes }
}

/** Rows per second of a follower that was down while `count` rows were written, one per write. */
export async function measureCatchup(pair: Pair, count: number): Promise<number> {
  await pair.stopFollower()
  await pair.leader.call('writeRows', { writers: 256, count })
  await pair.leader.call('checkpoint')
  const openMs = await pair.startFollower()
  return (1000 * count) / (openMs + (await pair.equal()))
}

/** One UPDATE of the first rows: how many it touched, and the bytes until the follower shows it. */
export async function measureUpdate(pair: Pair): Promise<{ readonly rows: number; readonly bytes: number }> {
  await pair.equal()
  const before = await pair.leader.call('wireBytes')
  const rows = await pair.leader.call('updateFirst', UPDATED_ROWS)
  await pair.equal()
  return { rows, bytes: (await pair.leader.call('wireBytes')) - before }
}
