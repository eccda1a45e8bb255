/**
 * What a person asks of the cluster: promote, hand over, pause.
 *
 * Decides: who is told, when it is done, when it is refused. Leaves to others: whether it may be (decide), doing it (promotion, host).
 *
 * 1. A wish is told to all members, because whoever is chosen acts. It ends with the first epoch that begins after it, or with its time.
 * 2. It is refused when this node decides so again and again: one look may miss reports that are on their way.
 */
import { comparePositions, formatPosition, randomId, UnderstudyError } from '@understudy/contracts'
import type { Decision, PossibleLoss } from '../decide/decision.ts'
import type { Intent } from '../decide/observations.ts'
import { decide } from '../decide/decide.ts'
import { reasonOf } from './ballot.ts'
import type { Member } from './member.ts'
import { replaceState } from './publishing.ts'
import type { HandOver } from './words.ts'

export interface PromoteOptions {
  /** Default: this node. */
  readonly target?: string
  /** Acknowledged commits may be lost. Default false. */
  readonly acceptLoss?: boolean
  /** Default 10,000. */
  readonly timeoutMs?: number
}

export interface SwitchoverOptions {
  /** Default: the most advanced follower. */
  readonly target?: string
  /** Default 10,000. */
  readonly timeoutMs?: number
}

export interface Changed {
  readonly leader: string
  readonly epoch: number
  /** From the wish to the first accepted write, in milliseconds. */
  readonly tookMs: number
  /** What may have been lost with it, as far as this node decided. */
  readonly mayLose?: PossibleLoss
}

const TIMEOUT_MS = 10_000
/** So long a decision must stay a refusal. */
const REFUSED_MS = 1500

export async function promote(me: Member, options: PromoteOptions = {}): Promise<Changed> {
  const { target = me.settings.self, acceptLoss = false, timeoutMs = TIMEOUT_MS } = options
  checkTarget(me, target)
  if (me.reign?.isOpen === true && target === me.settings.self)
    return { leader: target, epoch: me.reign.promise.epoch, tookMs: 0 }
  return wished(me, { kind: 'promote', target, acceptLoss }, timeoutMs)
}

export async function switchover(me: Member, options: SwitchoverOptions = {}): Promise<Changed> {
  const { target, timeoutMs = TIMEOUT_MS } = options
  if (target !== undefined) checkTarget(me, target)
  if (me.reign?.isOpen === true) return handOver(me, target, timeoutMs)
  const { name } = me.sight.leader(me.own)
  if (name === undefined || name === me.settings.self || !me.links.isConnected(name))
    throw refused(`${name ?? 'no leader'} is reached from here`, [
      'ask the leader',
      'use promote when there is none',
    ])
  const id = randomId(me.parts.random)
  const epoch = newestEpoch(me)
  const begunMs = me.now
  const over = Promise.withResolvers<never>()
  over.promise.catch(() => {})
  const listen = (
    from: string,
    word: { readonly kind: string; readonly id: string; readonly reason?: string },
  ): void => {
    if (from === name && word.kind === 'notDone' && word.id === id)
      over.reject(refused(`${name} did not hand over: ${word.reason ?? 'no reason'}`, []))
  }
  me.wishHandlers.add(listen)
  try {
    me.links.send(name, { kind: 'handOver', id, timeoutMs, ...(target !== undefined && { target }) })
    const changed = await Promise.race([untilEpoch(me, epoch, timeoutMs), over.promise])
    return { ...changed, tookMs: Math.round(me.now - begunMs) }
  } finally {
    me.wishHandlers.delete(listen)
  }
}

/** Answers other members that ask this one to hand over. */
export function takeHandOvers(me: Member): void {
  me.wishHandlers.add((from, word) => {
    if (word.kind !== 'handOver') return
    const { id, target, timeoutMs } = word satisfies HandOver
    const refuse = (reason: string): void => void me.links.send(from, { kind: 'notDone', id, reason })
    if (me.reign?.isOpen !== true) return refuse(`${me.settings.self} does not lead`)
    handOver(me, target, timeoutMs).catch((error: unknown) => refuse(reasonOf(error)))
  })
}

/** The leader's part: everything written is acknowledged and with the target, then the others are told. */
async function handOver(me: Member, named: string | undefined, timeoutMs: number): Promise<Changed> {
  const { reign } = me
  const begunMs = me.now
  const target = named ?? bestFollower(me)
  if (target === undefined || target === me.settings.self)
    throw refused('no follower can take over', ['see the state of the members in the status'])
  await me.onHost((host) => host.drain(target, timeoutMs))
  const leftMs = timeoutMs - (me.now - begunMs)
  try {
    if (me.reign !== reign || leftMs <= 0)
      throw refused('it took too long until everything was with the target', [])
    const { tookMs: _, ...changed } = await wished(me, { kind: 'switchover', target }, leftMs)
    return { ...changed, tookMs: Math.round(me.now - begunMs) }
  } catch (error) {
    if (me.reign === reign) me.host?.thaw()
    throw error
  }
}

/** Whom to hand over to: all of them get everything first, so that what they have now matters less than what is preferred. */
function bestFollower(me: Member): string | undefined {
  const [best] = me.settings.members
    .flatMap(({ name, priority = 0, neverPromote }) => {
      const report = neverPromote === true ? undefined : me.sight.said(name)?.report
      const isFit = report?.state === 'streaming' || report?.state === 'catchup'
      return report !== undefined && isFit && me.links.isConnected(name)
        ? [{ name, priority, end: report.end }]
        : []
    })
    .sort((a, b) => b.priority - a.priority || comparePositions(b.end, a.end) || (a.name < b.name ? -1 : 1))
  return best?.name
}

async function wished(me: Member, intent: Intent, timeoutMs: number): Promise<Changed> {
  const epoch = newestEpoch(me)
  const begunMs = me.now
  let refusedSinceMs: number | undefined
  let mayLose: PossibleLoss | undefined
  const wish = { kind: 'wish', intent, epoch, forMs: timeoutMs } as const
  me.wish(intent, timeoutMs)
  me.links.tell(wish)
  me.observe()
  try {
    const changed = await untilEpoch(me, epoch, timeoutMs, () => {
      const decision = me.decision ?? look(me)
      mayLose = decision.mayLose ?? mayLose
      if (decision.action.kind !== 'refuse' && decision.observed === undefined) refusedSinceMs = undefined
      else refusedSinceMs ??= me.now
      if (refusedSinceMs !== undefined && me.now - refusedSinceMs >= REFUSED_MS) throw refusedBy(decision)
    })
    if (changed.leader === me.settings.self) mayLose = me.promotedBy?.mayLose
    return { ...changed, tookMs: Math.round(me.now - begunMs), ...(mayLose && { mayLose }) }
  } catch (error) {
    me.wish({ kind: 'automatic' }, 0)
    me.links.tell({ ...wish, intent: { kind: 'automatic' } })
    throw error
  }
}

function look(me: Member): Decision {
  return decide(me.sight.observations(me.own))
}

/** Resolves with who leads, once that is of an epoch above `epoch`. `each` may throw, and ends the wait. */
function untilEpoch(
  me: Member,
  epoch: number,
  timeoutMs: number,
  each?: () => void,
): Promise<Omit<Changed, 'tookMs'>> {
  const deadlineMs = me.now + timeoutMs
  const { promise, resolve, reject } = Promise.withResolvers<Omit<Changed, 'tookMs'>>()
  const unwatch = me.watch(() => {
    try {
      const place = me.leaderPlace()
      if (place !== undefined && place.epoch > epoch && me.isLed(place))
        return resolve({ leader: place.name, epoch: place.epoch })
      if (me.isClosed)
        throw new UnderstudyError(
          'CLOSED',
          'The node was closed meanwhile. What was begun goes on in the other members.',
        )
      if (me.now > deadlineMs) throw timedOut(timeoutMs, me.decision)
      each?.()
    } catch (error) {
      reject(error)
    }
  })
  return promise.finally(unwatch)
}

/** For the whole cluster, at the coordinator. */
export async function pauseFailover(me: Member, paused: boolean): Promise<void> {
  const { coordinator } = me.settings
  if (coordinator === undefined)
    throw refused('there is no coordinator, so nobody is promoted automatically', [])
  await replaceState(coordinator, undefined, (state) => {
    if (state === undefined) throw refused('nobody ever led', ['wait for the first leader'])
    return state.paused === paused ? undefined : { ...state, paused }
  })
}

function newestEpoch(me: Member): number {
  return me.sight.leader(me.own).epoch
}

function checkTarget(me: Member, target: string): void {
  const member = me.settings.members.find(({ name }) => name === target)
  if (member !== undefined && member.neverPromote !== true) return
  const why = member === undefined ? 'is no member' : 'is never promoted'
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `${target} ${why}. Nothing was changed; name one of ${me.settings.members.map(({ name }) => name).join(', ')}.`,
  )
}

function refusedBy({ reasons, action, mayLose }: Decision): UnderstudyError {
  const loss =
    mayLose === undefined ? '' : ` Acknowledged commits after ${formatPosition(mayLose.after)} could be lost.`
  return refused(
    `${reasons.at(-1) ?? 'no reason was found'}.${loss}`,
    action.kind === 'refuse' ? action.help : [],
  )
}

function refused(why: string, help: readonly string[]): UnderstudyError {
  const advice = help.length === 0 ? '' : ` What helps: ${help.join('; ')}.`
  return new UnderstudyError(
    'FAILOVER_REFUSED',
    `Not done: ${why.replace(/\.$/, '')}. Nobody was promoted.${advice}`,
  )
}

function timedOut(timeoutMs: number, decision: Decision | undefined): UnderstudyError {
  const last = decision?.reasons.at(-1)
  return new UnderstudyError(
    'TIMEOUT',
    `No leader took over within ${Math.round(timeoutMs)} ms${last === undefined ? '' : `; the last word was: ${last}`}. It may still happen; ask for the status.`,
  )
}
