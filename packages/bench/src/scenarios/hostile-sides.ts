/**
 * One measurement of a leader under load: with nobody else, beside strangers, beside clients that ask nothing.
 *
 * Decides: when connections are up, and that they are gone before the next measurement. Leaves to others: whose turn it is.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { UnderstudyError } from '@understudy/contracts'
import type { Pair } from '../pair.ts'
import { Child } from '../processes/child.ts'
import type { ClientsCalls } from '../processes/clients.ts'
import type { AttackState, StrangersCalls } from '../processes/strangers.ts'
import type { Wire } from '../wire.ts'

const WRITERS = 64
/** As many as a node ends by itself when it lets 1,000 stay 5 s each. */
export const DIALS_PER_SECOND = 200
const POLL_MS = 20
const WAIT_MS_MAX = 60_000

export interface SideOptions {
  readonly pair: Pair
  readonly wire: Wire
  readonly connections: number
  readonly seconds: number
}

export interface Loaded {
  /** Commits. */
  readonly perSecond: number
  /** Processor time of the leader's process, callers included, for each commit. */
  readonly leaderUs: number
  /** Open on the leader beside the follower's, the mean of before and after the load. */
  readonly connections: number
  readonly dialsPerSecond?: number
  readonly closedPerSecond?: number
  /** Processor time of those who connect for each second of the load. */
  readonly cpuShare?: number
}

export async function quiet({ pair, seconds }: SideOptions): Promise<Loaded> {
  return { ...(await load(pair, seconds)), connections: 0 }
}

/** They stay connected while it is measured, as far as the node lets them. */
export async function besideStrangers({ pair, connections, seconds }: SideOptions): Promise<Loaded> {
  await using strangers = new Child<StrangersCalls>('strangers')
  await attack(strangers, pair.address, connections)
  const openBefore = await others(pair)
  const before = await strangers.call('state')
  const loaded = await load(pair, seconds)
  const after = await strangers.call('state')
  const openAfter = await others(pair)
  await strangers.call('stop')
  await until(async () => (await others(pair)) === 0, 'strangers that left to be gone')
  const elapsed = after.monotonicSeconds - before.monotonicSeconds
  const rate = (key: keyof AttackState): number => (after[key] - before[key]) / elapsed
  return {
    ...loaded,
    connections: (openBefore + openAfter) / 2,
    dialsPerSecond: rate('dialled'),
    closedPerSecond: rate('closedByNode'),
    cpuShare: rate('cpuSeconds'),
  }
}

/** Starts an attack, and waits until as many were dialled as there are to be. */
export async function attack(
  strangers: Child<StrangersCalls>,
  address: string,
  connections: number,
): Promise<void> {
  await strangers.call('start', { address, connections, dialsPerSecond: DIALS_PER_SECOND })
  await until(async () => (await strangers.call('state')).dialled >= connections, 'connections to be made')
  // Those that were dialled last, and in WebSocket the answers to their upgrades.
  await delay(10 * POLL_MS)
}

/** Clients that authenticated and were served once. Throws `REQUEST_FAILED` when one is not served any more after it. */
export async function besideIdleClients({ pair, wire, connections, seconds }: SideOptions): Promise<Loaded> {
  await using clients = new Child<ClientsCalls>('clients')
  await clients.call('connect', { address: pair.address, wire, count: connections })
  const open = await others(pair)
  const cpuBefore = await clients.call('cpuSeconds')
  const loaded = await load(pair, seconds)
  const cpuShare = ((await clients.call('cpuSeconds')) - cpuBefore) / seconds
  const answering = await clients.call('answering')
  if (answering !== connections)
    throw new UnderstudyError(
      'REQUEST_FAILED',
      `Of ${connections} clients that the leader let in, ${answering} were served after the load. The measurement was given up.`,
    )
  await clients.call('disconnect')
  await until(async () => (await others(pair)) === 0, 'clients that left to be gone')
  return { ...loaded, connections: open, cpuShare }
}

/** After it the follower catches up and the leader is checkpointed, so that the next measurement pays for nothing of this one. */
async function load(pair: Pair, seconds: number): Promise<Pick<Loaded, 'perSecond' | 'leaderUs'>> {
  const { leader } = pair
  const before = await leader.call('cpuSeconds')
  const { perSecond, commits } = await leader.call('load', { writers: WRITERS, seconds })
  const leaderUs = (((await leader.call('cpuSeconds')) - before) * 1e6) / commits
  await pair.equal()
  await leader.call('checkpoint')
  return { perSecond, leaderUs }
}

/** Connections of the leader beside the follower's. */
async function others(pair: Pair): Promise<number> {
  return (await pair.leader.call('connections')) - (pair.hasFollower ? 1 : 0)
}

/** Looks again and again. Throws `REQUEST_FAILED` when it is not so within a minute. */
async function until(isSo: () => Promise<boolean>, what: string): Promise<void> {
  for (let waitedMs = 0; !(await isSo()); waitedMs += POLL_MS) {
    if (waitedMs > WAIT_MS_MAX)
      throw new UnderstudyError(
        'REQUEST_FAILED',
        `The benchmark waited a minute for ${what}, in vain. The measurement was given up.`,
      )
    await delay(POLL_MS)
  }
}
