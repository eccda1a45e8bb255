/**
 * A node without SQL for tests of the member: a log of small entries, copied from leader to follower every few milliseconds.
 *
 * It keeps the contract of `Host` and asks its `Fence` where a node would. What is in `disk` survives its process.
 */
import { UnderstudyError, type EpochEntry, type Lsn } from '@understudy/contracts'
import type { ClockView } from '@understudy/testkit'
import type { Fence, Host, HostReport, LeaderPlace, PromoteAction, Rules } from '../../src/index.ts'

export interface FakeEntry {
  readonly lsn: Lsn
  readonly epoch: number
  readonly runId: string
  readonly leader: string
  readonly crc: number
  readonly rules: Rules
  readonly kind: 'noop' | 'write'
}

/** What survives a process. */
export interface FakeDisk {
  log: FakeEntry[]
  lost: number
}

export interface FakeWorld {
  /** The host of a node that runs and that `from` reaches, both ways or only there. */
  reach(from: string, to: string): FakeHost | undefined
  acked(entry: FakeEntry): void
  crc(): number
}

const STEP_MS = 10

export class FakeHost implements Host {
  readonly name: string
  readonly cluster = 'c0ffee00c0ffee00'
  readonly address: string
  readonly disk: FakeDisk
  readonly fence: Fence
  readonly #world: FakeWorld
  readonly #clock: ClockView
  readonly #rules: Rules
  role: 'waiting' | 'following' | 'beginning' | 'leading' = 'waiting'
  isFrozen = false
  idsProven = true
  leader: LeaderPlace | undefined
  #begun: PromoteAction | undefined
  #acks = new Map<string, number>()
  #pending: FakeEntry | undefined
  failures: UnderstudyError[] = []

  constructor(name: string, disk: FakeDisk, fence: Fence, world: FakeWorld, clock: ClockView, rules: Rules) {
    this.name = name
    this.address = `sim://${name}`
    this.disk = disk
    this.fence = fence
    this.#world = world
    this.#clock = clock
    this.#rules = rules
    this.#schedule()
  }

  get end(): FakeEntry | undefined {
    return this.disk.log.at(-1)
  }

  get history(): EpochEntry[] {
    const history: EpochEntry[] = []
    for (const { lsn, epoch, runId, leader } of this.disk.log)
      if (history.at(-1)?.number !== epoch)
        history.push({
          number: epoch,
          runId,
          leader,
          firstLsn: lsn,
          crcBefore: this.disk.log[lsn - 2]?.crc ?? 0,
        })
    return history
  }

  report(): HostReport {
    const { end } = this
    return {
      end: { epoch: end?.epoch ?? 0, lsn: end?.lsn ?? 0, crc: end?.crc ?? 0 },
      history: this.history,
      appliedLsn: end?.lsn ?? 0,
      state: this.role === 'leading' ? 'leading' : 'streaming',
      deltaUnverified: false,
      logDamaged: false,
      receiversStopped: this.isFrozen || this.role === 'beginning',
      keptReceived: true,
      rules: { ...(end?.rules ?? this.#rules), mayBeLowered: false },
      idsProven: this.idsProven,
    }
  }

  async freeze(): Promise<void> {
    this.isFrozen = true
  }

  thaw(): void {
    this.isFrozen = false
  }

  async drain(target: string, timeoutMs: number): Promise<void> {
    this.isFrozen = true
    const untilMs = this.#clock.monotonic() + timeoutMs
    while (this.#pending !== undefined || (this.#acks.get(target) ?? 0) < (this.end?.lsn ?? 0)) {
      if (this.#clock.monotonic() > untilMs) {
        this.isFrozen = false
        throw new UnderstudyError('TIMEOUT', 'not drained')
      }
      await new Promise<void>((resolve) => void this.#clock.schedule(STEP_MS, resolve))
    }
  }

  async follow(leader: LeaderPlace | undefined): Promise<void> {
    this.role = leader === undefined ? 'waiting' : 'following'
    this.leader = leader
    this.isFrozen = false
    this.#begun = undefined
  }

  async fetchTail(from: { readonly name: string }, upTo: Lsn): Promise<void> {
    const source = this.#world.reach(this.name, from.name)
    if (source === undefined) throw new UnderstudyError('CONNECT_FAILED', 'not reached')
    await new Promise<void>((resolve) => void this.#clock.schedule(STEP_MS, resolve))
    const theirs = source.disk.log.slice(0, upTo)
    const common = commonLength(theirs, this.disk.log)
    this.disk.lost += this.disk.log.length - common
    this.disk.log = theirs
  }

  async apply(): Promise<void> {}

  async beginEpoch(promotion: PromoteAction): Promise<void> {
    const { epoch, runId, acks } = promotion
    this.#append('noop', { epoch, runId, rules: acks ?? this.#rules })
    this.role = 'beginning'
    this.#begun = promotion
    if (!this.fence.mayLead()) throw new UnderstudyError('LEASE_LOST', 'the lease is over')
  }

  acceptWrites(): void {
    this.role = 'leading'
    this.isFrozen = false
    this.#acks = new Map()
    this.#pending = this.end
    this.#settle()
  }

  stopLeading(reason: UnderstudyError): void {
    this.failures.push(reason)
    this.role = 'waiting'
    this.#pending = undefined
  }

  #schedule(): void {
    this.#clock.schedule(STEP_MS, () => {
      if (this.role === 'leading') this.#write()
      if (this.role === 'following') void this.#receive()
      this.#schedule()
    })
  }

  #write(): void {
    this.#settle()
    if (this.isFrozen || this.#pending !== undefined || this.role !== 'leading') return
    const { epoch, runId } = this.#begun as PromoteAction
    this.#pending = this.#append('write', { epoch, runId, rules: (this.end as FakeEntry).rules })
    this.#settle()
  }

  #append(kind: FakeEntry['kind'], of: Pick<FakeEntry, 'epoch' | 'runId' | 'rules'>): FakeEntry {
    const entry = { ...of, kind, lsn: this.disk.log.length + 1, leader: this.name, crc: this.#world.crc() }
    this.disk.log.push(entry)
    return entry
  }

  /** Copies what the leader has, and acknowledges it. */
  async #receive(): Promise<void> {
    const { leader } = this
    if (this.isFrozen || leader === undefined) return
    const source = this.#world.reach(this.name, leader.name)
    if (source === undefined) return this.fence.lost(leader.name, 'connection-lost')
    if (source.role !== 'leading') return
    const { epoch, runId, name: candidate } = leader
    if (source.end?.runId !== runId) return
    const isAdmitted = await this.fence.admit({ epoch, runId, candidate }).then(
      () => true,
      () => false,
    )
    if (!isAdmitted) return
    // Frozen, or told to follow another one, meanwhile.
    if (this.isFrozen || this.leader !== leader) return
    this.fence.heard(leader.name)
    const theirs = source.disk.log
    const common = commonLength(theirs, this.disk.log)
    this.disk.lost += this.disk.log.length - common
    this.disk.log = [...this.disk.log.slice(0, common), ...theirs.slice(common)]
    if (this.fence.mayAck(epoch, runId)) this.#world.reach(leader.name, this.name)?.acknowledge(source)
  }

  acknowledge(leader: FakeHost): void {
    leader.#acks.set(this.name, this.end?.lsn ?? 0)
    leader.#settle()
  }

  #settle(): void {
    const pending = this.#pending
    if (pending === undefined || this.role !== 'leading') return
    const { of } = pending.rules.rule
    const held = of?.names.filter((name) => (this.#acks.get(name) ?? 0) >= pending.lsn).length ?? 0
    if (held < (of?.count ?? 0) || !this.fence.mayLead()) return
    this.#pending = undefined
    this.#world.acked(pending)
  }
}

function commonLength(a: readonly FakeEntry[], b: readonly FakeEntry[]): number {
  let common = Math.min(a.length, b.length)
  while (common > 0 && a[common - 1]?.crc !== b[common - 1]?.crc) common--
  return common
}
