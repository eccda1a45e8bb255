/** A node of the model while it leads, and what its followers answer. */
import { mayLead, type Promised, type Rule, type Rules } from '../../src/index.ts'
import { GRANT_MS, MARGIN_MS, TTL_MS } from './coordinator.ts'
import { at, pointOf, type Entry, type Log } from './log.ts'
import type { Leading, ModelNode } from './node.ts'

export function stepDown(me: ModelNode): void {
  const { leading } = me
  if (leading === undefined) return
  me.leading = undefined
  me.drained = false
  if (leading.grant !== undefined) me.setup.coordinator.release(me.name, leading.grant)
  me.step({ kind: 'superseded', epoch: Infinity })
}

export function followers(me: ModelNode): string[] {
  return me.setup.names.filter((name) => name !== me.name)
}

/** Whether it may show something, asked right before. */
export function may(me: ModelNode): boolean {
  const { leading } = me
  if (leading === undefined) return false
  const { may, by } = mayLead({
    nowMs: me.now,
    coordinator: me.setup.hasCoordinator ? 'lease' : 'manual',
    leaseValidUntilMs: leading.validUntilMs,
    superseded: (me.voter.promised?.epoch ?? 0) > leading.epoch,
    members: followers(me),
    grants: leading.grants,
    marginMs: MARGIN_MS,
  })
  if (by === 'followers') me.setup.checker.meets('led by the word of its followers')
  return may
}

export function lead(me: ModelNode): void {
  const leading = me.leading as Leading
  const { hasCoordinator, coordinator } = me.setup
  if (!may(me)) return stepDown(me)
  const life = me.life
  const sentAtMs = me.now
  const leftMs = leading.validUntilMs - sentAtMs
  // Led by the word of its followers until the coordinator is back; then it takes a new lease, with a new epoch.
  if (hasCoordinator && leftMs <= 0 && sentAtMs - me.heldAtMs < 100) return stepDown(me)
  if (hasCoordinator && leading.grant !== undefined && leftMs > 0 && leftMs < (2 * TTL_MS) / 3)
    coordinator.renew(me.name, leading.grant, (result) => {
      if (life !== me.life || me.leading !== leading) return
      me.run(() => {
        // A lease that is over stays over: an answer that comes late never brings it back.
        if (result.ok && leading.validUntilMs > me.now)
          leading.validUntilMs = Math.max(leading.validUntilMs, sentAtMs + TTL_MS - MARGIN_MS)
      })
    })
  const leads = { epoch: leading.epoch, runId: leading.runId, candidate: me.name }
  if (hasCoordinator)
    for (const name of followers(me))
      me.send(name, (node) => {
        const forMs = node.voter.grant(leads, GRANT_MS, node.now, node.view().hears)
        if (forMs > 0)
          node.send(me.name, (self) => {
            const { leading: current } = self
            if (current?.runId !== leads.runId) return
            const kept = current.grants.filter((grant) => grant.from !== name || grant.askedAtMs > sentAtMs)
            current.grants.splice(0, current.grants.length, ...kept, {
              from: name,
              askedAtMs: sentAtMs,
              forMs,
            })
          })
      })
  change(me, leading)
  if (leading.pending === undefined && !me.drained) write(me, leading, 'write', (me.log as Entry).acks)
  push(me, leading)
}

export function write(me: ModelNode, leading: Leading, kind: Entry['kind'], acks: Rules): void {
  me.log = me.append(kind, leading.epoch, leading.runId, acks)
  leading.pending = me.log
  push(me, leading)
  settle(me, leading)
}

export function push(me: ModelNode, { epoch, runId }: Leading): void {
  const { log } = me
  const leads = { epoch, runId, candidate: me.name }
  const { random } = me.setup.world
  for (const name of followers(me)) {
    // Not always the whole log: a follower that catches up has old epochs' entries before the new one's.
    const upTo = random.chance(0.2) ? at(log, pointOf(log).lsn - random.below(3)) : log
    me.send(name, (node) => received(node, leads, upTo))
  }
}

export function received(me: ModelNode, leads: Promised, head: Log): void {
  if (head === undefined || me.leading !== undefined) return
  const answer = me.voter.follow(leads)
  if (answer.kind === 'refused') return
  me.persist(answer, () => {
    if (me.stopped && me.voter.promised?.runId !== leads.runId) return
    if (me.stopped && leads.candidate === me.name) return
    if (me.promotion.phase !== 'idle') return
    const isAhead = me.log !== undefined && at(me.log, head.lsn) === head
    if (!isAhead) me.log = head
    if (me.log?.epoch === leads.epoch && me.log.runId === leads.runId) {
      me.isDamaged = false
      me.stopped = false
    }
    if (!me.voter.mayAck(leads.epoch, leads.runId)) return
    if (me.isDamaged) return
    // What it has beyond the head may be of another history: no word about that.
    const lsn = isAhead ? head.lsn : (me.log as Entry).lsn
    me.setup.checker.followerAcks(me.name, leads.epoch)
    me.send(leads.candidate, (node) => acked(node, me.name, leads.runId, lsn))
  })
}

export function acked(me: ModelNode, from: string, runId: string, lsn: number): void {
  const { leading } = me
  if (leading?.runId !== runId) return
  leading.acks.set(from, Math.max(lsn, leading.acks.get(from) ?? 0))
  settle(me, leading)
}

/** Shows what its rule has acknowledged, if it may. */
export function settle(me: ModelNode, leading: Leading): void {
  const { pending } = leading
  if (pending === undefined) return
  const { rule, next } = pending.acks
  if (!isMet(me, leading, rule, pending) || (next !== undefined && !isMet(me, leading, next, pending))) return
  if (!may(me)) return stepDown(me)
  leading.pending = undefined
  // All before it is shown with it: what former epochs left as well.
  if (pending.kind === 'write') me.setup.checker.acked(me.name, pending)
  if (pending.kind === 'rules' && leading.change === 'acking') leading.change = 'finishing'
}

export function isMet(me: ModelNode, { acks, noop }: Leading, { of }: Rule, entry: Entry): boolean {
  if (of === undefined) return true
  const needed = Math.max(entry.lsn, noop.lsn)
  return of.names.filter((name) => (acks.get(name) ?? 0) >= needed).length >= of.count
}

/** Changes the set in two steps: both rules, then the new one; each is published before it is a record. */
export function change(me: ModelNode, leading: Leading): void {
  const { acks } = me.log as Entry
  if (leading.pending !== undefined) return
  if (leading.change === 'none' && (acks.next !== undefined || me.wantsChange !== undefined)) {
    const next = (acks.next ?? me.wantsChange) as Rule
    me.wantsChange = undefined
    if (next.of?.names.includes(me.name) === true) return
    publish(me, leading, { rule: acks.rule, next }, () => {
      leading.change = 'acking'
      write(me, leading, 'rules', { rule: acks.rule, next })
    })
  } else if (leading.change === 'finishing' && acks.next !== undefined) {
    const rule = acks.next
    publish(me, leading, { rule }, () => {
      leading.change = 'none'
      write(me, leading, 'rules', { rule })
    })
  }
}

export function publish(me: ModelNode, leading: Leading, acks: Rules, done: () => void): void {
  const { hasCoordinator, coordinator } = me.setup
  const { change } = leading
  leading.change = 'publishing'
  if (!hasCoordinator) return done()
  const held = me.held
  if (held?.state?.runId !== leading.runId || leading.grant === undefined) {
    leading.change = change
    return
  }
  const life = me.life
  const options = { state: { ...held.state, acks }, expected: held.revision, grant: leading.grant }
  coordinator.publish(me.name, options, (result) => {
    if (life !== me.life || me.leading !== leading) return
    me.run(() => {
      if (me.leading !== leading) return
      // Unknown or refused: looked at again with what is observed then. Both rules hold in the meantime.
      if (!result.ok || leading.pending !== undefined) leading.change = change
      else done()
    })
  })
}
