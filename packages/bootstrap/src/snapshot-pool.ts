/**
 * The snapshots that a leader has open.
 *
 * Decides: which follower gets which snapshot, when one is opened and closed, and that each follower's retention slot
 * stands before the first byte leaves.
 * Leaves to others: the transfer (`SnapshotSender`), what a slot is (the log).
 *
 * 1. Slot first: a slot is reserved at a position that the database has already reached, then the snapshot is opened,
 *    then the slot is moved to the snapshot's own position, which is not lower. So the log above the snapshot exists for
 *    as long as the slot does.
 * 2. A snapshot is shared by followers that ask within `keepMs` of its opening, if the log still reaches back to it.
 * 3. A snapshot that nobody reads from any more is kept for `keepMs`, so that a broken transfer goes on with it.
 * 4. At most `snapshotsMax` are open; a further one takes the place of the oldest idle one, or is shared, or refused.
 * 5. When a snapshot closes, the slots of followers that never finished with it are given back.
 */
import {
  isUnderstudyError,
  UnderstudyError,
  type Clock,
  type EpochHistory,
  type LogPoint,
  type Lsn,
  type Random,
  type SnapshotSource,
  type Timer,
} from '@understudy/contracts'
import { SharedSnapshot } from './shared-snapshot.ts'

export interface SnapshotPoolOptions {
  readonly openSnapshot: () => Promise<SnapshotSource>
  readonly history: () => EpochHistory
  readonly applied: () => LogPoint
  readonly reserveSlot: (name: string, lsn: Lsn) => void
  readonly releaseSlot: (name: string, lsn: Lsn) => void
  readonly clock: Clock
  readonly random: Random
  readonly keepMs: number
  readonly chunkBytes: number
  /** Of a snapshot for a follower that holds an image already. */
  readonly deltaChunkBytes: number
  readonly snapshotsMax: number
}

export class SnapshotPool {
  readonly #options: SnapshotPoolOptions
  /** Oldest first. */
  readonly #open: SharedSnapshot[] = []
  readonly #timers = new Map<SharedSnapshot, Timer>()
  readonly #closing = new Set<Promise<void>>()
  #opening: Promise<SharedSnapshot> | undefined
  #closed = false

  constructor(options: SnapshotPoolOptions) {
    this.#options = options
  }

  /** Snapshots open now, oldest first. */
  get snapshots(): readonly SharedSnapshot[] {
    return this.#open
  }

  /**
   * A snapshot for `follower`, its slot reserved: the one called `resumeId` if it is still open, else a young one, else
   * a new one. `delta`: it holds an image already, and small pieces say better what differs. The caller calls `giveBack` once. Rejects with `OVERLOADED`, `CLOSED`, or what the slot or the source threw.
   */
  async take(follower: string, resumeId: string, delta: boolean = false): Promise<SharedSnapshot> {
    for (;;) {
      if (this.#closed) throw closedError()
      const found = this.#find(follower, resumeId, delta)
      if (found !== undefined) return this.#use(found, follower)
      if (this.#opening === undefined) return this.#use(await this.#openFor(follower, delta), follower)
      // Another follower's is about to open; this one can most likely share it.
      await this.#opening.catch(() => undefined)
    }
  }

  /** The transfer is over. `finished`: the follower has the image for good, and its slot is its own from here on. */
  giveBack(snapshot: SharedSnapshot, follower: string, finished: boolean): void {
    snapshot.users -= 1
    if (finished) snapshot.followers.delete(follower)
    if (!this.#open.includes(snapshot)) return
    if (snapshot.failure !== undefined) this.#close(snapshot)
    if (snapshot.users > 0) return
    if (finished && snapshot.followers.size === 0) {
      this.#close(snapshot)
      return
    }
    const timer = this.#options.clock.schedule(this.#options.keepMs, () => this.#close(snapshot))
    this.#timers.set(snapshot, timer)
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#opening?.catch(() => undefined)
    for (const snapshot of this.#open.toReversed()) this.#close(snapshot)
    await Promise.all(this.#closing)
  }

  #find(follower: string, resumeId: string, delta: boolean): SharedSnapshot | undefined {
    const known = this.#open.find((snapshot) => snapshot.id === resumeId)
    if (known !== undefined && this.#reserve(follower, known)) return known
    const isFull = this.#open.length >= this.#options.snapshotsMax
    const youngest =
      this.#open.findLast((snapshot) => snapshot.delta === delta) ?? (isFull ? this.#open.at(-1) : undefined)
    if (youngest === undefined) return undefined
    const young = this.#options.clock.monotonic() - youngest.openedAtMs < this.#options.keepMs
    const full = isFull && this.#open.every((snapshot) => snapshot.users > 0)
    return (young || full) && this.#reserve(follower, youngest) ? youngest : undefined
  }

  /** False when the log no longer reaches back to the snapshot. */
  #reserve(follower: string, snapshot: SharedSnapshot): boolean {
    if (snapshot.failure !== undefined) return false
    try {
      this.#options.reserveSlot(follower, snapshot.point.lsn)
      return true
    } catch (error) {
      if (isUnderstudyError(error, 'LOG_TRUNCATED')) return false
      throw error
    }
  }

  #use(snapshot: SharedSnapshot, follower: string): SharedSnapshot {
    this.#timers.get(snapshot)?.cancel()
    this.#timers.delete(snapshot)
    for (const other of this.#open) other.followers.delete(follower)
    snapshot.followers.add(follower)
    snapshot.users += 1
    return snapshot
  }

  async #openFor(follower: string, delta: boolean): Promise<SharedSnapshot> {
    this.#makeRoom()
    this.#opening = this.#openNew(follower, delta)
    try {
      return await this.#opening
    } finally {
      this.#opening = undefined
    }
  }

  #makeRoom(): void {
    if (this.#open.length < this.#options.snapshotsMax) return
    const idle = this.#open.find((snapshot) => snapshot.users === 0)
    if (idle === undefined) {
      throw new UnderstudyError(
        'OVERLOADED',
        `All ${this.#options.snapshotsMax} snapshots that may be open at once are being sent, and the log no longer reaches back to any. Nothing was begun; ask again later, or raise snapshotsMax.`,
      )
    }
    this.#close(idle)
  }

  async #openNew(follower: string, delta: boolean): Promise<SharedSnapshot> {
    const { openSnapshot, applied, reserveSlot, history, clock } = this.#options
    const { chunkBytes, deltaChunkBytes } = this.#options
    const before = applied().lsn
    reserveSlot(follower, before)
    let slot = before
    let source: SnapshotSource | undefined
    try {
      source = await openSnapshot()
      reserveSlot(follower, source.point.lsn)
      slot = source.point.lsn
      if (this.#closed) throw closedError()
      const snapshot = new SharedSnapshot({
        id: this.#newId(),
        source,
        history: history(),
        chunkBytes: delta ? deltaChunkBytes : chunkBytes,
        delta,
        openedAtMs: clock.monotonic(),
      })
      this.#open.push(snapshot)
      return snapshot
    } catch (error) {
      this.#release(follower, slot)
      await source?.close()
      throw error
    }
  }

  #close(snapshot: SharedSnapshot): void {
    const index = this.#open.indexOf(snapshot)
    if (index < 0) return
    this.#open.splice(index, 1)
    this.#timers.get(snapshot)?.cancel()
    this.#timers.delete(snapshot)
    for (const follower of snapshot.followers) this.#release(follower, snapshot.point.lsn)
    // A source that cannot be closed has nothing left that anyone could save; its follower was told by the read.
    const closing = snapshot.close().catch(() => undefined)
    this.#closing.add(closing)
    void closing.then(() => this.#closing.delete(closing))
  }

  /** Called by timers, too: a log that failed must not throw at nobody. Its own user learns of it; the slot stays until its cap. */
  #release(follower: string, lsn: Lsn): void {
    try {
      this.#options.releaseSlot(follower, lsn)
    } catch {
      // The log keeps what it keeps.
    }
  }

  /** 128 random bits: an id of another leader, or of this one before a restart, never names a snapshot of this one. */
  #newId(): string {
    const { random } = this.#options
    return Array.from({ length: 4 }, () => random.uint32().toString(16).padStart(8, '0')).join('')
  }
}

function closedError(): UnderstudyError {
  return new UnderstudyError(
    'CLOSED',
    'The leader is closing and serves no snapshots. The follower keeps what it has and goes on with the next leader.',
  )
}
