/**
 * Ceilings of ids: no id that a write returned is ever given to another row, also when the node that gave it is lost with
 * commits that nobody else had.
 *
 * A ceiling says: this leader answers no id of that table above it. It is raised ahead, in blocks, by a record, and counts once
 * every node that may be promoted has that record durable, whatever the ack policy. A new leader starts above the highest
 * ceiling that it has: whatever the lost leader answered lies at or below it.
 *
 * Decides: when to raise a ceiling and how far, which counters may be answered, where a new leader starts. Leaves to others: writing
 * and sending the records, reading `sqlite_sequence`, who may be promoted.
 *
 * Validity conditions:
 * 1. Raises are told in the order of their LSNs; a member that has an LSN durable has all before it durable, too.
 * 2. An id is answered only if `mayAnswer` said so of the counters after its write, under the members of that moment.
 * 3. A node that comes is no member, and must not be promoted, before it has every ceiling that is in force: ids below those were
 *    answered without it. So no write ever waits for a newcomer. One that goes is not promoted any more.
 * 4. Ceilings belong to names of tables and never fall, whatever becomes of the table: a name that comes back goes on above.
 * 5. Who must have a record is said by the members, or by the caller (`confirm`): a rule of acks, or a coordinator. A member that lacks
 *    what came into force by the word of the caller is none any more.
 */
import { UnderstudyError, type Lsn } from '@understudy/contracts'

/** Ids that are reserved ahead of what a table has given out, at least. */
export const ID_BLOCK: bigint = 1n << 16n
/** The most that is reserved ahead at once: what a table gives in half a day at 100,000 ids a second. */
export const ID_BLOCK_MAX: bigint = 1n << 32n
/** A block is to last so long: one that was used up earlier is followed by one twice as large. */
export const ID_BLOCK_MS = 60_000
/** How far above a ceiling that may be an old one a leader starts, when a person accepts that. */
export const ID_LEAP: bigint = 1n << 40n
/**
 * How far above its ceilings a leader starts for each epoch that may have been led without its knowing: more than such a leader may have
 * given before anybody confirmed its first ceiling.
 */
export const ID_STEP: bigint = 1n << 33n
/** The largest rowid of SQLite. */
const ID_MAX: bigint = (1n << 63n) - 1n

/** New ceilings, to be written in one record. */
export type Raise = ReadonlyMap<string, bigint>

/** AUTOINCREMENT counters by table: the largest id that each has given. */
export type Counters = ReadonlyMap<string, bigint>

export interface IdCeilingsOptions {
  /** Nodes that could have been promoted in the place of this leader, so that they have every ceiling that was ever in force; without itself. Others `join`. */
  readonly members: Iterable<string>
  /** Ceilings of this node's own log, with the LSN of the record of each: what a leader begins with. */
  readonly held?: Iterable<{ readonly lsn: Lsn; readonly raise: Raise }>
  /** Ceilings that are known to have been in force. */
  readonly inForce?: Raise
  /** Default `ID_BLOCK`. */
  readonly block?: bigint
  /** Who says up to where all that may be promoted have what was written. Default `members`. */
  readonly confirmedBy?: 'members' | 'caller'
}

interface Written {
  readonly lsn: Lsn
  readonly ceiling: bigint
}

/** How far ahead a table was reserved last, and when. */
interface Block {
  readonly size: bigint
  readonly atMs: number
}

export class IdCeilings {
  readonly #block: bigint
  readonly #blocks = new Map<string, Block>()
  readonly #isByMembers: boolean
  /** What is written up to here is in force. */
  #confirmed: Lsn = 0
  /** What each member is known to have durable. */
  readonly #members: Map<string, Lsn>
  /** Nodes that lack a ceiling in force. */
  readonly #joining = new Map<string, Lsn>()
  /** LSN of the last ceiling that this leader began with: former leaders answered under any of them. */
  #inherited: Lsn = 0
  /** Per table, in the order of their LSNs; the first is the one in force, once there is one. */
  readonly #written = new Map<string, Written[]>()
  /** Raises that were handed out and not written yet. */
  readonly #pending = new Map<string, bigint>()

  constructor({ members, held = [], inForce, block = ID_BLOCK, confirmedBy = 'members' }: IdCeilingsOptions) {
    if (block < 2n) throw new RangeError(`block is ${block}; it must be at least 2.`)
    this.#block = block
    this.#isByMembers = confirmedBy === 'members'
    for (const [table, ceiling] of inForce ?? []) this.#written.set(table, [{ lsn: 0, ceiling }])
    this.#members = new Map([...members].map((name) => [name, 0]))
    for (const { lsn, raise } of held) {
      this.written(raise, lsn)
      this.#inherited = Math.max(this.#inherited, lsn)
    }
  }

  /**
   * What has to be written now so that no write will wait: ask with the counters after each group, and when a table is made.
   * `undefined` while every table has half a block left. With `nowMs`, which is monotonic, blocks grow and shrink with the pace of a table.
   */
  due(counters: Counters, nowMs?: number): Raise | undefined {
    const raise = new Map<string, bigint>()
    for (const [table, used] of counters) {
      const asked = this.#pending.get(table) ?? this.#written.get(table)?.at(-1)?.ceiling
      const last = this.#blocks.get(table)
      const half = (last?.size ?? this.#block) / 2n
      if (asked !== undefined && (asked === ID_MAX || asked - used > half)) continue
      const size = this.#nextSize(last, nowMs)
      const ceiling = used > ID_MAX - size ? ID_MAX : used + size
      if (asked !== undefined && ceiling <= asked) continue
      raise.set(table, ceiling)
      this.#pending.set(table, ceiling)
      if (nowMs !== undefined) this.#blocks.set(table, { size, atMs: nowMs })
    }
    return raise.size === 0 ? undefined : raise
  }

  #nextSize(last: Block | undefined, nowMs: number | undefined): bigint {
    if (last === undefined || nowMs === undefined) return this.#block
    const lastedMs = nowMs - last.atMs
    if (lastedMs < ID_BLOCK_MS) return last.size * 2n > ID_BLOCK_MAX ? last.size : last.size * 2n
    return lastedMs > 4 * ID_BLOCK_MS && last.size / 2n >= this.#block ? last.size / 2n : last.size
  }

  /** The record of a raise stands at `lsn`, durable on this leader. */
  written(raise: Raise, lsn: Lsn): void {
    for (const [table, ceiling] of raise) {
      if (this.#pending.get(table) === ceiling) this.#pending.delete(table)
      const list = this.#written.get(table) ?? []
      if (list.length > 0 && (list.at(-1) as Written).ceiling >= ceiling) continue
      list.push({ lsn, ceiling })
      this.#written.set(table, list)
    }
    this.#forget()
  }

  /** The record of a raise could not be written: it is due again. */
  failed(raise: Raise): void {
    for (const [table, ceiling] of raise)
      if (this.#pending.get(table) === ceiling) this.#pending.delete(table)
  }

  /** A node has everything up to `lsn` durable. Names that did not join are ignored. */
  durable(name: string, lsn: Lsn): void {
    const map = this.#members.has(name) ? this.#members : this.#joining
    const known = map.get(name)
    if (known === undefined || known > lsn) return
    map.set(name, lsn)
    if (map === this.#joining && lsn >= this.#newestInForce()) {
      this.#joining.delete(name)
      this.#members.set(name, lsn)
    }
    this.#forget()
  }

  /** A node is to become one that may be promoted: once `durable` says that it has what is in force. */
  join(name: string): void {
    if (!this.#members.has(name) && !this.#joining.has(name)) this.#joining.set(name, 0)
  }

  /** A node must not be promoted any more. That nobody does is for the caller to see to, before this call. */
  leave(name: string): void {
    this.#members.delete(name)
    this.#joining.delete(name)
    this.#forget()
  }

  /** Every member that there is has everything up to here; infinity without any. */
  get heldByMembers(): Lsn {
    return Math.min(Number.POSITIVE_INFINITY, ...this.#members.values())
  }

  get members(): Iterable<string> {
    return this.#members.keys()
  }

  /**
   * What is written of these tables is in force without anybody's word: the first ceilings of a leader, up to which nobody else gives
   * an id. A node that comes needs their record, at `lsn`.
   */
  grant(tables: Iterable<string>, lsn: Lsn): void {
    for (const table of tables) {
      const newest = this.#written.get(table)?.at(-1)
      if (newest !== undefined) this.#written.set(table, [{ lsn: 0, ceiling: newest.ceiling }])
    }
    this.#inherited = Math.max(this.#inherited, lsn)
  }

  /** Whoever may be promoted has everything up to here, as the caller knows. */
  confirm(lsn: Lsn): void {
    if (lsn <= this.#confirmed) return
    this.#confirmed = lsn
    const newest = this.#newestInForce()
    for (const [name, durable] of this.#members) {
      if (durable >= newest) continue
      this.#members.delete(name)
      this.#joining.set(name, durable)
    }
    this.#forget()
  }

  /** Whether a node may take the place of this leader without giving an id twice. */
  mayBePromoted(name: string): boolean {
    return this.#members.has(name)
  }

  /** Whether ids up to these counters may leave this node. */
  mayAnswer(counters: Counters): boolean {
    for (const [table, used] of counters) if (used > this.inForce(table)) return false
    return true
  }

  /** The highest id of a table that may be answered now; 0 when none may. */
  inForce(table: string): bigint {
    const held = this.#heldByAll()
    return this.#written.get(table)?.findLast(({ lsn }) => lsn <= held)?.ceiling ?? 0n
  }

  /** Members that lack a ceiling which these counters need: whom a write waits for. */
  waitsFor(counters: Counters): string[] {
    let needed = 0
    for (const [table, used] of counters) {
      const record = this.#written.get(table)?.find(({ ceiling }) => ceiling >= used)
      needed = Math.max(needed, record?.lsn ?? Number.POSITIVE_INFINITY)
    }
    return [...this.#members].filter(([, lsn]) => lsn < needed).map(([name]) => name)
  }

  #heldByAll(): Lsn {
    return this.#isByMembers ? Math.max(this.#confirmed, this.heldByMembers) : this.#confirmed
  }

  /** LSN of the newest record under which an id may have been answered. */
  #newestInForce(): Lsn {
    const held = this.#heldByAll()
    let newest = this.#inherited
    for (const list of this.#written.values())
      for (const { lsn } of list) if (lsn <= held && lsn > newest) newest = lsn
    return newest
  }

  /** Of what all members have the newest record is enough. */
  #forget(): void {
    const held = this.#heldByAll()
    for (const list of this.#written.values()) {
      const inForce = list.findLastIndex(({ lsn }) => lsn <= held)
      if (inForce > 0) list.splice(0, inForce)
    }
  }
}

export interface FirstIdsOptions {
  /** Counters of the node's own database. */
  readonly counters: Counters
  /** Every ceiling of its own log and snapshot, by table: the highest of each. */
  readonly ceilings: Raise
  /** It was among the nodes that may be promoted when it last heard of them: then it has the newest ceilings. */
  readonly isMember: boolean
  /** A person accepts that it may have none of the newest. Default false. */
  readonly acceptLoss?: boolean
  /** Epochs that others may have led, of which this node does not have the first write. Default 0. */
  readonly missed?: number
}

/**
 * What a new leader sets its counters to, before it takes a write; tables that need nothing are left out. Names that it has no
 * table of are among them: one that is made later starts there.
 *
 * Throws `FOLLOWER_AHEAD` when the node cannot prove that it has the newest ceilings and nobody accepts that; with `acceptLoss` it
 * starts 2^40 above what it has.
 */
export function firstIds({
  counters,
  ceilings,
  isMember,
  acceptLoss = false,
  missed = 0,
}: FirstIdsOptions): Counters {
  if (!isMember && !acceptLoss) {
    throw new UnderstudyError(
      'FOLLOWER_AHEAD',
      'This node was not among those that may be promoted, so the former leader may have given out ids that it does not know of. ' +
        'Nothing was changed. Promote one that was, or accept the loss: ids then start 2^40 higher.',
      { reason: 'ceilings' },
    )
  }
  const leap = isMember ? ID_STEP * BigInt(missed) : ID_LEAP * BigInt(missed + 1)
  const first = new Map<string, bigint>()
  for (const table of new Set([...counters.keys(), ...ceilings.keys()])) {
    const used = counters.get(table) ?? 0n
    const known = ceilings.get(table) ?? 0n
    const highest = known > used ? known : used
    const start = highest > ID_MAX - leap ? ID_MAX : highest + leap
    if (start > used) first.set(table, start)
  }
  return first
}
