/**
 * What a member does for its own promotion: each effect of the machine, carried out, and what came of it as the next event.
 *
 * Validity conditions:
 * 1. A decision is kept before it is carried out.
 * 2. What comes of an effect counts only for the attempt that it belonged to.
 * 3. A lease is taken over exactly the lease that was seen, and the state published over exactly the version that the decision was
 *    made from. An unknown outcome is looked up, not guessed.
 */
import { isUnderstudyError, type Observation, type PublishedState } from '@understudy/contracts'
import type { KeptLease } from '@understudy/coordination'
import type { PromoteAction } from '../decide/decision.ts'
import { DECISION_VERSION, encodeRecord } from '../decide/record.ts'
import type { PromotionEffect, PromotionEvent } from '../promotion/promotion.ts'
import { reasonOf } from './ballot.ts'
import type { Member } from './member.ts'
import { Reign } from './reign.ts'

export function carryOut(me: Member, effects: readonly PromotionEffect[]): void {
  for (const effect of effects) perform(me, effect)
}

function perform(me: Member, effect: PromotionEffect): void {
  switch (effect.kind) {
    case 'record':
      return record(me, effect)
    case 'stopReceivers':
      for (const name of effect.names) me.standing.say(name, { kind: 'stop' })
      return
    case 'promise':
      for (const name of effect.voters)
        me.standing.say(name, { kind: 'ask', promise: effect.promise, isPlanned: effect.isPlanned })
      return
    case 'fetchTail':
      return fetchTail(me, effect)
    case 'apply':
      return void attempt(me, () => me.onHost((host) => host.apply(effect.upToLsn)), { kind: 'applied' })
    case 'claim':
      return void claim(me, effect.promotion)
    case 'beginEpoch':
      return beginEpoch(me, effect.promotion)
    case 'acceptWrites':
      return acceptWrites(me, effect.promotion)
    case 'abandon':
      return abandon(me, effect)
  }
}

function record(me: Member, { observations, decision }: Extract<PromotionEffect, { kind: 'record' }>): void {
  me.decision = decision
  if (decision.action.kind === 'promote') me.promotedBy = decision
  const { action, observed, reasons } = decision
  me.parts.emit({ kind: 'decided', action, reasons, ...(observed && { observed }) })
  try {
    me.decisions.append(
      encodeRecord({ version: DECISION_VERSION, at: me.settings.clock.now(), observations, decision }),
    )
  } catch (error) {
    me.trouble(error)
  }
}

/** Does `work`, and says `then` if the attempt is still the same; what it throws ends the attempt. */
async function attempt(me: Member, work: () => Promise<unknown>, then: PromotionEvent): Promise<void> {
  const runId = me.promotion.attempt?.runId
  const isSame = (): boolean => !me.isClosed && me.promotion.attempt?.runId === runId
  try {
    await work()
  } catch (error) {
    if (isSame()) me.step({ kind: 'failed', reason: reasonOf(error) })
    return
  }
  if (isSame()) me.step(then)
}

function fetchTail(me: Member, { from, upTo }: Extract<PromotionEffect, { kind: 'fetchTail' }>): void {
  const runId = me.promotion.attempt?.runId
  const address = me.addressOf(from)
  const fetched =
    address === undefined
      ? Promise.reject(new Error(`${from} is no member`))
      : me.onHost((host) => host.fetchTail({ name: from, address }, upTo.lsn))
  fetched.then(
    () => {
      if (me.isClosed || me.promotion.attempt?.runId !== runId) return
      me.step({ kind: 'tailFetched' })
      me.observe()
    },
    (error: unknown) => {
      if (me.isClosed || me.promotion.attempt?.runId !== runId) return
      me.step({ kind: 'tailFailed', from, reason: reasonOf(error) })
      me.observe()
    },
  )
}

// The claim: lease, then state

async function claim(me: Member, promotion: PromoteAction): Promise<void> {
  const { runId } = promotion
  const isOurs = (): boolean => !me.isClosed && me.promotion.attempt?.runId === runId
  try {
    if (promotion.expectedRevision === undefined) {
      reignOf(me, promotion, undefined)
      await Promise.resolve()
      if (isOurs()) me.step({ kind: 'claimed', validUntilMs: Infinity })
      return
    }
    // Repeated after an unknown outcome: the lease is there already.
    let lease = me.reign?.promise.runId === runId ? me.reign.lease : undefined
    if (lease === undefined) {
      lease = await takeLease(me, promotion)
      if (!isOurs()) return void lease.release().catch(() => {})
      reignOf(me, promotion, lease)
    }
    const event = await publishClaim(me, promotion, lease)
    if (isOurs()) me.step(event)
  } catch (error) {
    if (isOurs()) me.step({ kind: 'failed', reason: reasonOf(error) })
  }
}

function takeLease(me: Member, { epoch }: PromoteAction): Promise<KeptLease> {
  const { keeper } = me
  if (keeper === undefined) throw new Error('there is no coordinator to take a lease from')
  const seen = me.sight.held?.lease
  return keeper.acquire({
    holder: me.settings.self,
    epoch,
    ...(seen && !seen.released && { seen }),
  })
}

/** From here on the node would lead, if its epoch began. */
function reignOf(me: Member, { epoch, runId }: PromoteAction, lease: KeptLease | undefined): void {
  const { self, clock, leaseMs } = me.settings
  me.reign = new Reign({
    promise: { epoch, runId, candidate: self },
    lease,
    members: me.settings.members.flatMap(({ name, neverPromote }) =>
      name === self || neverPromote === true ? [] : [name],
    ),
    clock,
    marginMs: leaseMs / 10,
    promised: () => me.ballot.promised,
  })
}

async function publishClaim(me: Member, promotion: PromoteAction, lease: KeptLease): Promise<PromotionEvent> {
  const { coordinator } = me.settings
  if (coordinator === undefined) throw new Error('there is no coordinator to publish to')
  const validUntilMs = (): number => me.now + lease.validForMs()
  const expected = promotion.expectedRevision as string
  try {
    await coordinator.publish(stateOf(me, promotion), { expected, grant: lease.grant })
    me.sight.learned(await coordinator.observe())
    return { kind: 'claimed', validUntilMs: validUntilMs() }
  } catch (error) {
    if (isUnderstudyError(error, 'COORDINATOR_UNCERTAIN')) return { kind: 'claimUncertain' }
    if (!isUnderstudyError(error, 'COORDINATOR_CONFLICT')) throw error
  }
  const found: Observation = await coordinator.observe()
  me.sight.learned(found)
  return {
    kind: 'claimConflict',
    epoch: found.state?.epoch ?? 0,
    runId: found.state?.runId ?? '',
    validUntilMs: validUntilMs(),
  }
}

function stateOf(me: Member, { epoch, runId, acks }: PromoteAction): PublishedState {
  const { self } = me.settings
  const before = me.sight.held?.state
  const address = me.addressOf(self)
  return {
    cluster: before?.cluster ?? (me.host?.cluster as string),
    epoch,
    runId,
    leader: { name: self, addresses: address === undefined ? [] : [address] },
    acks: acks ?? before?.acks ?? { rule: { level: 'local' } },
    ceilings: before?.ceilings ?? new Map(),
    paused: before?.paused ?? false,
  }
}

// The epoch

function beginEpoch(me: Member, promotion: PromoteAction): void {
  const { runId, from } = promotion
  const begin = async (): Promise<void> => {
    const { end } = me.report()
    if (me.ballot.promised?.runId !== runId || end.lsn !== from.lsn || end.crc !== from.crc)
      throw new Error('its log or its promise moved')
    await me.onHost((host) => host.beginEpoch(promotion))
  }
  void attempt(me, begin, { kind: 'begun' })
}

function acceptWrites(me: Member, { runId }: PromoteAction): void {
  const { reign, host } = me
  if (reign?.promise.runId !== runId || host === undefined || !reign.may())
    return me.step({ kind: 'superseded', epoch: Infinity })
  reign.isOpen = true
  me.following = undefined
  // It was about who leads while nobody did; a wish from now on is decided anew.
  me.decision = undefined
  me.standing.forget()
  host.acceptWrites()
  me.parts.emit({ kind: 'leader', name: me.settings.self, epoch: reign.promise.epoch })
  me.sight.expect(me.settings.self, reign.promise.epoch)
  me.wish({ kind: 'automatic' }, 0)
  me.tell()
}

function abandon(
  me: Member,
  { reason, hadLed, stopped }: Extract<PromotionEffect, { kind: 'abandon' }>,
): void {
  const { reign } = me
  if (reign !== undefined && !reign.isOpen) {
    me.reign = undefined
    reign.end()
    // What it began of the epoch is a tail of its own now.
    me.leaveOffice()
  }
  // The end of a reign is told as that.
  if (!hadLed) me.parts.emit({ kind: 'decided', action: { kind: 'none' }, reasons: [`given up: ${reason}`] })
  for (const name of stopped) me.standing.say(name, { kind: 'resume' })
}
