/** What a node of the model does for a promotion: its own, and what others ask of it. */
import {
  DECISION_VERSION,
  encodeRecord,
  explain,
  type Promised,
  type PromoteAction,
  type PromotionEffect,
} from '../../src/index.ts'
import { Breach } from './checker.ts'
import { MARGIN_MS, TTL_MS } from './coordinator.ts'
import { lead, stepDown } from './leading.ts'
import { at, pointOf, type Entry } from './log.ts'
import type { Claimed, ModelNode } from './node.ts'

export function carryOut(me: ModelNode, effects: readonly PromotionEffect[]): void {
  for (const effect of effects) perform(me, effect)
}

export function perform(me: ModelNode, effect: PromotionEffect): void {
  switch (effect.kind) {
    case 'record':
      recorded(me, effect)
      return
    case 'stopReceivers':
      for (const name of effect.names) me.send(name, (node) => stop(node, me.name))
      return
    case 'promise': {
      const request = { ...effect.promise, isPlanned: effect.isPlanned }
      for (const name of effect.voters) me.send(name, (node) => asked(node, request))
      return
    }
    case 'fetchTail': {
      const { from, upTo } = effect
      const attempt = me.promotion.attempt
      const life = me.life
      me.setup.world.after(60, () => {
        if (life === me.life)
          me.run(() => me.step({ kind: 'tailFailed', from, reason: 'it gave no tail in time' }))
      })
      me.send(from, (node) => {
        const tail = at(node.log, upTo.lsn)
        if (tail?.crc === upTo.crc) node.send(me.name, (self) => fetched(self, tail, attempt?.runId))
      })
      return
    }
    case 'apply':
      me.later(() => me.step({ kind: 'applied' }))
      return
    case 'claim':
      claim(me, effect.promotion)
      return
    case 'beginEpoch':
      begin(me, effect.promotion)
      return
    case 'acceptWrites':
      accept(me, effect.promotion, effect.validUntilMs)
      return
    case 'abandon':
      for (const name of effect.stopped) me.send(name, (node) => resumeReceiving(node, me.name))
      me.setup.checker.meets('attempt given up')
      if (me.leading !== undefined) stepDown(me)
  }
}

export function recorded(
  me: ModelNode,
  { observations, decision }: Extract<PromotionEffect, { kind: 'record' }>,
): void {
  me.decision = decision
  const { checker, world } = me.setup
  if (decision.action.kind === 'refuse') checker.refusals++
  if (!world.random.chance(0.02)) return
  const line = encodeRecord({ version: DECISION_VERSION, at: 0, observations, decision })
  if (!explain(line).isSame) throw new Breach('E8', line)
}

export function stop(me: ModelNode, asker: string): void {
  me.stopped = true
  me.stoppedBy = asker
  me.stoppedAtMs = me.now
  if (me.leading !== undefined) me.drained = true
  reply(me, asker)
}

/** Whoever stopped it last says when it goes on. */
export function resumeReceiving(me: ModelNode, asker: string): void {
  if (asker !== me.stoppedBy) return
  me.stopped = false
  me.drained = false
}

export function reply(me: ModelNode, to: string): void {
  const status = me.status()
  me.send(to, (node) => {
    node.heard(status)
    node.observe()
  })
}

export function asked(me: ModelNode, request: Promised & { readonly isPlanned: boolean }): void {
  const { leader } = me
  const nowMs = me.now
  const hears =
    me.leading !== undefined ||
    (leader !== undefined && leader !== me.name && me.detector.suspicion(leader, nowMs).state === 'alive')
  const answer = me.isDamaged
    ? ({ kind: 'refused', reason: 'its log is damaged' } as const)
    : me.voter.ask(request, nowMs, hears)
  if (answer.kind === 'refused') {
    me.send(request.candidate, (node) =>
      node.step({ kind: 'refused', name: me.name, reason: answer.reason, runId: request.runId }),
    )
    return
  }
  me.stopped = true
  me.stoppedAtMs = nowMs
  me.stoppedBy = request.candidate
  me.persist(answer, () => {
    me.setup.checker.promiseAnswered(me.name, request.epoch)
    reply(me, request.candidate)
  })
}

export function fetched(me: ModelNode, tail: Entry, runId: string | undefined): void {
  if (me.promotion.phase !== 'fetching' || me.promotion.attempt?.runId !== runId) return
  if (me.voter.promised?.runId !== runId) return
  me.setup.checker.meets('tail fetched')
  me.log = tail
  me.step({ kind: 'tailFetched' })
  me.observe()
}

export function claim(me: ModelNode, promotion: PromoteAction): void {
  const { coordinator } = me.setup
  if (promotion.expectedRevision === undefined)
    return me.later(() => me.step({ kind: 'claimed', validUntilMs: Infinity }))
  // Repeated after an unknown outcome: the lease is there already.
  if (me.claimed?.runId === promotion.runId) return publishClaim(me, promotion, me.claimed)
  const life = me.life
  const sentAtMs = me.now
  const lease = me.held?.lease
  if (lease !== undefined && !lease.released && (me.seen?.atMs ?? me.now) + TTL_MS > me.now)
    return me.step({ kind: 'failed', reason: `${lease.holder} shows itself again` })
  coordinator.acquire(me.name, { epoch: promotion.epoch, seenBeat: me.seen?.beat }, (result) => {
    if (life !== me.life) return
    me.run(() => {
      if (!result.ok) return me.step({ kind: 'failed', reason: `the lease was not given: ${result.why}` })
      const { grant } = result.value
      me.claimed = { runId: promotion.runId, grant, validUntilMs: sentAtMs + TTL_MS - MARGIN_MS }
      publishClaim(me, promotion, me.claimed)
    })
  })
}

export function publishClaim(
  me: ModelNode,
  promotion: PromoteAction,
  { grant, validUntilMs }: Claimed,
): void {
  const { coordinator } = me.setup
  const life = me.life
  const { epoch, runId, name, acks } = promotion
  const state = { epoch, runId, leader: name, acks: acks ?? { rule: { level: 'local' } } }
  const options = { state, expected: Number(promotion.expectedRevision), grant }
  const run = (work: () => void): void => {
    if (life === me.life) me.run(work)
  }
  coordinator.publish(me.name, options, (result) =>
    run(() => {
      if (result.ok) me.step({ kind: 'claimed', validUntilMs })
      else if (result.why === 'uncertain') {
        me.setup.checker.meets('claim with an unknown outcome')
        me.step({ kind: 'claimUncertain' })
      } else
        coordinator.observe(me.name, (held) =>
          run(() => {
            const seen = held.state
            if (seen?.runId !== runId) coordinator.release(me.name, grant)
            me.step({
              kind: 'claimConflict',
              epoch: seen?.epoch ?? 0,
              runId: seen?.runId ?? '',
              validUntilMs,
            })
          }),
        )
    }),
  )
}

export function begin(me: ModelNode, promotion: PromoteAction): void {
  me.later(() => {
    const { epoch, runId, from, acks } = promotion
    if (me.voter.promised?.runId !== runId || pointOf(me.log).crc !== from.crc)
      return me.step({ kind: 'failed', reason: 'its log or its promise moved' })
    const before = me.log
    me.log = me.append('noop', epoch, runId, acks ?? me.log?.acks ?? { rule: { level: 'local' } })
    me.setup.checker.began(me.name, epoch, before, me.decision)
    me.step({ kind: 'begun' })
  })
}

export function accept(me: ModelNode, { epoch, runId }: PromoteAction, validUntilMs: number): void {
  me.setup.checker.failovers++
  me.stopped = false
  me.drained = false
  me.leading = {
    epoch,
    runId,
    noop: me.log as Entry,
    grant: me.claimed?.runId === runId ? me.claimed.grant : undefined,
    validUntilMs,
    acks: new Map(),
    grants: [],
    pending: me.log,
    change: 'none',
  }
  lead(me)
}
