/**
 * The ids of a leader: which ceilings are written, when they are in force, which answers wait for that.
 *
 * Decides: what a group writes beside what its users wrote, who is waited for, what a follower is told of its place. Leaves to
 * others: the rules of ceilings (id-ceilings), the rows (`IdTable` of the storage), groups and their waits (commit-pipeline, ack-gate).
 *
 * Validity conditions:
 * 1. A ceiling is a row in the same group as the write that made it due: no record and no sync of its own, and whoever has the group
 *    durable has it, in every format, in every snapshot.
 * 2. In force is what satisfies the rule of acks, where it asks for any; without one what every member has durable; with
 *    `publish` what was published, and nothing else.
 * 3. A follower is told that it is a member only once whoever may lead next knows: every member has the record that lists it, or it is
 *    the only one; this node itself finds it among the slots. From what it was told last it may count on that for nearly `keepMs`; the
 *    leader counts `keepMs` from the end of the connection, or from its own start, and waits for it so long. A change to a rule of
 *    acks ends that wait only when nobody can count on it any more.
 * 4. A follower that has less than it had said before began anew, and is a stranger.
 */
import {
  LOCAL_SLOT,
  type Clock,
  type IdTable,
  type IdWatch,
  type Log,
  type Lsn,
  type Timer,
} from '@understudy/contracts'
import type { MemberProgress } from './ack-tracker.ts'
import { IdCeilings, type Counters, type Raise } from './id-ceilings.ts'

/** How long a follower that is gone is waited for, in milliseconds. */
export const ID_KEEP_MS = 8000
/** When a publication that failed is tried again, in milliseconds. */
const PUBLISH_RETRY_MS = 250

export interface IdOptions {
  /** Followers that may be promoted. Default: every one that streams. */
  readonly members?: readonly string[]
  /**
   * Writes all ceilings where whoever is promoted reads them, durably: a coordinator. Then no follower is waited for. Called again while
   * it rejects, and never twice at once. Not to be given where there is none: a ceiling is in force once it resolves.
   */
  readonly publish?: (ceilings: Raise) => Promise<void>
  /** For how long a follower that is gone may still be promoted without a leap, in milliseconds. Default 8,000. */
  readonly keepMs?: number
  /** Ids of a table that are reserved ahead at least. Default 65,536. */
  readonly block?: bigint
}

/** The ids of a table. */
export interface IdReport {
  readonly table: string
  /** The largest id that was given; `undefined` for a table that is gone. */
  readonly given: bigint | undefined
  /** Ids are reserved up to here. */
  readonly ceiling: bigint
  /** Ids may be answered up to here. */
  readonly inForce: bigint
}

export interface IdStatus {
  readonly tables: readonly IdReport[]
  /** Who says that a ceiling is in force. */
  readonly confirmedBy: 'members' | 'acks' | 'coordinator'
  /** Followers that are waited for, and can be promoted without a leap. */
  readonly members: readonly string[]
  /** Members without a connection: they are waited for a while. */
  readonly away: readonly string[]
  /** Whether what is durable waits for a ceiling. */
  readonly waiting: boolean
}

export interface IdGateOptions {
  readonly table: IdTable
  readonly log: Log
  readonly clock: Clock
  /** Name of this node: it is no member of its own. */
  readonly node: string | undefined
  readonly options: IdOptions
  /** Up to where the rule of acks is satisfied; `undefined` when it asks for none. */
  readonly heldByRule: () => Lsn | undefined
  /** What waits may go on. */
  readonly look: () => void
  /** A group is to run although nobody writes: a member is to be listed. */
  readonly ask: () => void
}

/** What the group that runs changes. */
interface GroupIds {
  readonly counters: Counters
  readonly moved: Counters
  readonly raise: Raise | undefined
  readonly inForce: Raise
  readonly listed: readonly string[]
  readonly unlisted: readonly string[]
}

export class IdGate {
  readonly #of: IdGateOptions
  readonly #keepMs: number
  readonly #watch: IdWatch
  readonly #ids: IdCeilings
  #counters: Counters
  /** As they stand in the table. */
  readonly #ceilings = new Map<string, bigint>()
  readonly #inForce = new Map<string, bigint>()
  /** Members in the table, with the LSN of the record of each. */
  readonly #listed = new Map<string, Lsn>()
  readonly #streaming = new Map<string, Lsn>()
  readonly #away = new Map<string, Timer>()
  #group: GroupIds | undefined
  /** Counters that what waits for its answer moved. */
  #unanswered: Counters | undefined
  #isAsked = false
  /** Until then a follower may count on being a member. */
  #claimsUntilMs = Number.NEGATIVE_INFINITY
  #publishing: Lsn | undefined
  #published: Lsn = -1
  #retry: Timer | undefined
  #isClosed = false

  /** The storage is at the end of the log. Throws what reading the table throws. */
  constructor(of: IdGateOptions) {
    const { table, log, clock, options } = of
    this.#of = of
    this.#keepMs = options.keepMs ?? ID_KEEP_MS
    const { ceilings, members } = table.stored()
    for (const [name, { ceiling, inForce }] of ceilings) {
      this.#ceilings.set(name, ceiling)
      this.#inForce.set(name, inForce)
    }
    this.#counters = table.counters()
    const at = log.end.lsn
    for (const name of members) this.#listed.set(name, at)
    const known = [...members, ...log.slots.list().map(({ name }) => name)]
    const counted =
      options.publish === undefined ? [...new Set(known)].filter((name) => this.#isAllowed(name)) : []
    this.#ids = new IdCeilings({
      members: counted,
      held: [{ lsn: at, raise: this.#ceilings }],
      inForce: this.#inForce,
      confirmedBy: 'caller',
      ...(options.block !== undefined && { block: options.block }),
    })
    this.#watch = table.watch()
    if (counted.length > 0) this.#claimsUntilMs = clock.monotonic() + this.#keepMs
    for (const name of counted) this.#wait(name)
    if (this.#ceilings.size > 0) this.#publish(at)
    this.#confirm()
  }

  /** In the transaction of a group, after its writes: `write` runs another write of the group. */
  ran(write: (body: () => void) => void): void {
    this.#group = undefined
    const isTouched = this.#watch.touched()
    if (!isTouched && !this.#isAsked) return
    this.#isAsked = false
    const { table, clock } = this.#of
    const counters = table.counters()
    const raise = this.#ids.due(counters, clock.monotonic())
    const group = { counters, moved: this.#moved(counters), raise, ...this.#changes(counters, raise) }
    this.#group = group
    if (raise === undefined && group.inForce.size + group.listed.length + group.unlisted.length === 0) return
    write(() => this.#write(group))
  }

  /** The group was rolled back. */
  abandoned(): void {
    const group = this.#group
    if (group === undefined) return
    this.#group = undefined
    if (group.raise !== undefined) this.#ids.failed(group.raise)
    this.#isAsked = true
  }

  /** The group is durable here. With `grants` it is the leader's own: it answers no id to anybody, and ceilings of those tables are in force. */
  durable(lsn: Lsn, grants: ReadonlySet<string> | undefined): void {
    const group = this.#group
    this.#unanswered = undefined
    if (group === undefined) return
    this.#group = undefined
    this.#counters = group.counters
    for (const name of group.unlisted) this.#listed.delete(name)
    for (const name of group.listed) {
      this.#listed.set(name, lsn)
    }
    for (const [name, value] of group.inForce) this.#inForce.set(name, value)
    if (group.raise !== undefined) {
      for (const [name, value] of group.raise) this.#ceilings.set(name, value)
      this.#ids.written(group.raise, lsn)
      this.#publish(lsn)
    }
    if (grants !== undefined && this.#of.options.publish === undefined && grants.size > 0)
      this.#ids.grant(grants, lsn)
    if (grants === undefined && group.moved.size > 0) this.#unanswered = group.moved
    this.#confirm()
  }

  /** Whether the answers of the group that is durable wait for a ceiling. */
  holds(): boolean {
    if (this.#unanswered === undefined) return false
    this.#confirm()
    if (!this.#ids.mayAnswer(this.#unanswered)) return true
    this.#unanswered = undefined
    return false
  }

  follower(name: string, progress: MemberProgress | undefined): void {
    if (this.#isClosed || !this.#isAllowed(name)) return
    if (progress === undefined) this.#left(name)
    else if (progress.streams) this.#streams(name, progress.durable)
    this.#confirm()
    if (this.#unanswered !== undefined) this.#of.look()
  }

  /** For how long a follower may count on being a member, from the moment of the call; 0: it is none. In milliseconds. */
  promise(name: string): number {
    if (this.#of.options.publish !== undefined || this.#of.heldByRule() !== undefined) return 0
    if (!this.#ids.mayBePromoted(name) || !this.#streaming.has(name)) return 0
    const listedAt = this.#listed.get(name)
    const isKnown = listedAt === undefined ? this.#isSole(name) : this.#ids.heldByMembers >= listedAt
    if (!isKnown) return 0
    this.#claimsUntilMs = this.#of.clock.monotonic() + this.#keepMs
    return this.#keepMs
  }

  status(): IdStatus {
    const { options, heldByRule } = this.#of
    const tables = [...new Set([...this.#ceilings.keys(), ...this.#counters.keys()])].toSorted()
    return {
      tables: tables.map((table) => ({
        table,
        given: this.#counters.get(table),
        ceiling: this.#ceilings.get(table) ?? 0n,
        inForce: this.#ids.inForce(table),
      })),
      confirmedBy: options.publish ? 'coordinator' : heldByRule() === undefined ? 'members' : 'acks',
      members: [...this.#ids.members].toSorted(),
      away: [...this.#away.keys()].toSorted(),
      waiting: this.#unanswered !== undefined,
    }
  }

  close(): void {
    this.#isClosed = true
    this.#watch.close()
    this.#retry?.cancel()
    for (const timer of this.#away.values()) timer.cancel()
  }

  // What a group writes

  #moved(counters: Counters): Counters {
    const moved = new Map<string, bigint>()
    for (const [table, value] of counters)
      if (value > (this.#counters.get(table) ?? 0n)) moved.set(table, value)
    return moved
  }

  #changes(counters: Counters, raise: Raise | undefined): Pick<GroupIds, 'inForce' | 'listed' | 'unlisted'> {
    const inForce = new Map<string, bigint>()
    for (const table of counters.keys()) {
      const value = this.#ids.inForce(table)
      if (value > (this.#inForce.get(table) ?? 0n)) inForce.set(table, value)
    }
    // Without a member it is in force as soon as it is durable here.
    const isAlone = this.#countsMembers && this.#ids.heldByMembers === Number.POSITIVE_INFINITY
    if (isAlone) for (const [table, value] of raise ?? []) inForce.set(table, value)
    const isUsed = this.#ceilings.size > 0 || raise !== undefined
    const listed = isUsed && this.#countsMembers ? this.#unlisted() : []
    const gone = [...this.#listed.keys()].filter((name) => !this.#isKnown(name))
    return { inForce, listed, unlisted: raise === undefined ? [] : gone }
  }

  #write({ raise, inForce, listed, unlisted }: GroupIds): void {
    const { table } = this.#of
    for (const name of new Set([...(raise?.keys() ?? []), ...inForce.keys()]))
      table.putCeiling(name, {
        ceiling: raise?.get(name) ?? this.#ceilings.get(name) ?? 0n,
        inForce: inForce.get(name) ?? this.#inForce.get(name) ?? 0n,
      })
    for (const name of listed) table.putMember(name, true)
    for (const name of unlisted) table.putMember(name, false)
  }

  // Members

  #isAllowed(name: string): boolean {
    return name !== this.#of.node && name !== LOCAL_SLOT && (this.#of.options.members?.includes(name) ?? true)
  }

  /** Without a rule of acks, and without a coordinator, members say what is in force. */
  get #countsMembers(): boolean {
    return this.#of.options.publish === undefined && this.#of.heldByRule() === undefined
  }

  #isKnown(name: string): boolean {
    return this.#streaming.has(name) || this.#ids.mayBePromoted(name)
  }

  /** Nobody else could lead next, unless with a leap. */
  #isSole(name: string): boolean {
    const isOther = (other: string): boolean => other !== name
    return ![...this.#ids.members, ...this.#listed.keys()].some(isOther)
  }

  /** Followers that stream and are to be listed. */
  #unlisted(): string[] {
    if (this.#streaming.size === 1 && [...this.#streaming.keys()].every((name) => this.#isSole(name)))
      return []
    return [...this.#streaming.keys()].filter((name) => !this.#listed.has(name))
  }

  #streams(name: string, durable: Lsn): void {
    const before = this.#streaming.get(name)
    this.#away.get(name)?.cancel()
    this.#away.delete(name)
    if (before !== undefined && durable < before) this.#ids.leave(name)
    this.#streaming.set(name, durable)
    if (this.#of.options.publish !== undefined) return
    this.#ids.join(name)
    this.#ids.durable(name, durable)
    if (this.#isAsked || !this.#countsMembers || this.#ceilings.size === 0 || this.#unlisted().length === 0)
      return
    this.#isAsked = true
    this.#of.ask()
  }

  #left(name: string): void {
    this.#streaming.delete(name)
    if (this.#ids.mayBePromoted(name)) this.#wait(name)
    else this.#ids.leave(name)
  }

  /** Whoever is gone may still count on being a member. */
  #wait(name: string): void {
    this.#away.get(name)?.cancel()
    const timer = this.#of.clock.schedule(this.#keepMs, () => {
      this.#away.delete(name)
      this.#ids.leave(name)
      this.#confirm()
      this.#of.look()
    })
    this.#away.set(name, timer)
  }

  // What is in force

  #confirm(): void {
    const { options, heldByRule, clock, log } = this.#of
    if (options.publish !== undefined) return this.#ids.confirm(this.#published)
    const byRule = heldByRule()
    const counts = byRule === undefined || clock.monotonic() < this.#claimsUntilMs
    // Nothing that is written later: without a member there is no other bound.
    const byMembers = counts ? Math.min(this.#ids.heldByMembers, log.durable) : Number.POSITIVE_INFINITY
    this.#ids.confirm(Math.min(byRule ?? Number.POSITIVE_INFINITY, byMembers))
  }

  #publish(lsn: Lsn): void {
    const { publish } = this.#of.options
    if (publish === undefined || this.#isClosed) return
    if (this.#publishing !== undefined) {
      this.#publishing = lsn
      return
    }
    this.#publishing = lsn
    publish(new Map(this.#ceilings)).then(
      () => {
        const next = this.#publishing as Lsn
        this.#publishing = undefined
        this.#published = lsn
        this.#confirm()
        if (next > lsn) this.#publish(next)
        this.#of.look()
      },
      () => {
        const next = this.#publishing as Lsn
        if (this.#isClosed) return
        this.#retry = this.#of.clock.schedule(PUBLISH_RETRY_MS, () => {
          this.#publishing = undefined
          this.#publish(next)
        })
      },
    )
  }
}
