/**
 * Acks held against what followers really have: their disks, not what they said.
 *
 * Decides: whether a receipt, or what a node shows, is covered by the set of the ack rule. Leaves to others: when to look.
 *
 * 1. "Has" is what a follower's log was durable up to at any time: what it lost of that afterwards is a breach of its own.
 * 2. Which rule holds for a record, the log says (ack-rules): it may change while the cluster runs.
 * 3. Records of the log itself are shown without acks: an epoch begins before anybody can have it.
 */
import type { Lsn, Receipt } from '@understudy/contracts'
import {
  any,
  async,
  formatRule,
  resolvePolicy,
  semiSync,
  sync,
  type AckPolicy,
  type AckRule,
} from '@understudy/replication'
import type { MemoryStorage } from '@understudy/testkit'
import { AckRules } from './ack-rules.ts'
import { InvariantBreach } from './breach.ts'
import type { Host } from './host.ts'
import type { Shape } from './shape.ts'
import type { World } from './world.ts'

export class Acks {
  readonly #world: World
  /** Highest LSN that a receipt said each member has. */
  readonly #promised = new Map<string, Lsn>()
  #lastMembers = ''
  readonly rules: AckRules
  members: readonly Host[] = []

  constructor(world: World) {
    this.#world = world
    this.rules = new AckRules(
      (rule, lsn) => this.#holders(rule, lsn).length >= (rule.of?.count ?? 0),
      () => world.tally.add('ack rule changed'),
    )
  }

  /** A receipt was handed out; `own`: the rule that its write asked for by itself. */
  answered({ position: { lsn }, asked, reached, members, degraded }: Receipt, own?: AckRule): void {
    const [rule] = own === undefined ? this.rules.clusterAt(lsn) : [own]
    if (own !== undefined) this.#world.tally.add('write with a rule of its own')
    if (rule === undefined) {
      if (asked !== 'local' || degraded)
        throw new InvariantBreach('A1', `a receipt says asked ${asked} where nobody's acks are asked for`)
      return
    }
    if (asked !== rule.level || degraded !== (reached !== asked))
      throw new InvariantBreach(
        'A1',
        `a receipt says asked ${asked}, reached ${reached}, degraded ${degraded}`,
      )
    for (const { name, durableAt } of members) {
      if (durableAt === undefined) continue
      if (this.#has(name, 'durable') < lsn)
        throw new InvariantBreach(
          'A1',
          `a receipt says that ${name} has LSN ${lsn}, it has ${this.#has(name, 'durable')}`,
        )
      this.#promised.set(name, Math.max(lsn, this.#promised.get(name) ?? 0))
    }
    if (!degraded) this.#expectHeld('A1', `the write in LSN ${lsn} was acknowledged`, lsn, [rule])
    const text = members.map(({ name }) => name).join(' ')
    if (text !== this.#lastMembers && this.#lastMembers !== '' && text !== '')
      this.#world.tally.add('set replaced a member')
    this.#lastMembers = text
  }

  /** A snapshot replaced a node's log. What it had acknowledged it gets again from its leader; until then the leader has it. */
  begunAnew(name: string): void {
    this.#promised.delete(name)
  }

  /** The log of a node, as it was found after a crash. */
  expectKept(name: string, end: Lsn): void {
    const promised = this.#promised.get(name) ?? 0
    if (end < promised)
      throw new InvariantBreach(
        'A1',
        `${name} lost LSN ${promised}, which it had acknowledged: its log ends at ${end}`,
      )
  }

  /** Nothing is shown that is not acked. Pages are shown once they are committed, and a lowered rule asks for nothing. */
  expectStrict(name: string, isLeader: boolean, { applied, physical, ahead }: MemoryStorage): void {
    const { acks, formats } = this.#world.shape
    const { onUnmet, visibility } = resolvePolicy(acks)
    if (onUnmet === 'degrade' || physical || ahead || formats !== 'logical') return
    // What the leader shows travels with its snapshots, too.
    if (visibility === 'local') return
    const lsn = this.#world.history.transactionAt(applied.lsn)
    const shownFirst = this.rules.rulesAt(lsn).some(({ level }) => level === 'applied') && !isLeader
    if (!shownFirst) this.#expectHeld('A2', `${name} shows LSN ${lsn}`, lsn)
  }

  /** A node calls a commit acknowledged. Pages that a crash kept out of the log, and a lowered rule, asked for nothing. */
  expectCommitted(name: string, lsn: Lsn): void {
    const { acks, formats } = this.#world.shape
    if (resolvePolicy(acks).onUnmet === 'degrade' || formats !== 'logical') return
    this.#expectHeld('R1', `${name} calls LSN ${lsn} committed`, lsn)
  }

  #expectHeld(id: 'A1' | 'A2' | 'R1', what: string, lsn: Lsn, rules = this.rules.rulesAt(lsn)): void {
    for (const rule of rules) {
      const holders = this.#holders(rule, lsn)
      if (holders.length < (rule.of?.count ?? 0))
        throw new InvariantBreach(
          id,
          `${what}, by '${formatRule(rule)}', and only ${holders.length} have it: ${holders.join(', ')}`,
        )
    }
  }

  #holders({ of, level }: AckRule, lsn: Lsn): string[] {
    return (of?.names ?? []).filter((name) => level !== 'local' && this.#has(name, level) >= lsn)
  }

  #has(name: string, kind: 'received' | 'durable' | 'applied'): Lsn {
    const member = this.members.find((each) => each.name === name)
    member?.noteEver()
    return member?.ever[kind] ?? 0
  }
}

const TIMES: Partial<AckPolicy> = { ackTimeoutMs: 300, settleMs: 200, lagMsMax: 100 }
const NAMES = ['b', 'c']

/** What some writes ask for by themselves. Not among pages: there the rules of a group end it, and the receipt names that record. */
const OWN: readonly AckRule[] = [
  { level: 'durable', of: any(1, ['c']) },
  { level: 'durable', of: any(2, NAMES) },
  { level: 'received', of: any(1, NAMES) },
]

/** The rule becomes one of these by turns, grown, shrunk and replaced, also by the options of a start. */
const CHANGING: Partial<Shape> = {
  changeAcksMs: { min: 20, max: 400 },
  ackChanges: [
    { level: 'durable', of: any(1, ['b']) },
    { level: 'durable', of: any(1, ['c']) },
    { level: 'durable', of: any(2, NAMES) },
    { level: 'received', of: any(1, NAMES) },
    semiSync(NAMES),
    async(),
  ],
}

/** A shape for each policy, to be run with any seed. */
export const ACK_SHAPES: Readonly<Record<string, Partial<Shape>>> = {
  'semi-sync durable': { formats: 'logical', acks: semiSync(NAMES, TIMES) },
  'ANY 2 of 2 durable': { formats: 'logical', acks: sync(NAMES, TIMES) },
  'ANY 1 of 2 received, fail': {
    formats: 'logical',
    acks: { ...TIMES, level: 'received', of: any(1, NAMES), onUnmet: 'fail' },
  },
  applied: { formats: 'logical', acks: sync(NAMES, { ...TIMES, level: 'applied' }) },
  degrade: { formats: 'logical', acks: semiSync(NAMES, { ...TIMES, onUnmet: 'degrade' }) },
  'visible first': { formats: 'logical', acks: semiSync(NAMES, { ...TIMES, visibility: 'local' }) },
  physical: { formats: 'physical', acks: semiSync(NAMES, TIMES) },
  switching: { formats: 'switching', acks: semiSync(NAMES, { ...TIMES, onUnmet: 'degrade' }) },
  'changing sets': { ...CHANGING, formats: 'logical', acks: sync(NAMES, TIMES), ownRules: OWN },
  'changing sets, fail': {
    ...CHANGING,
    formats: 'logical',
    acks: { ...TIMES, level: 'durable', of: any(1, ['b']), onUnmet: 'fail' },
  },
  'changing sets and formats': {
    ...CHANGING,
    formats: 'switching',
    acks: semiSync(NAMES, { ...TIMES, onUnmet: 'degrade' }),
  },
  'rules of single writes': {
    formats: 'logical',
    acks: { ...TIMES, level: 'durable', of: any(1, ['b']) },
    ownRules: OWN,
  },
  'rules of single writes, asynchronous': {
    formats: 'logical',
    acks: { ...TIMES, level: 'local' },
    ownRules: OWN,
  },
  'switching, fail': { formats: 'switching', acks: semiSync(NAMES, { ...TIMES, onUnmet: 'fail' }) },
}
