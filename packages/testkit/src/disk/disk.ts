/**
 * A simulated disk that loses, tears and reorders what was not synced, and fails when told to.
 *
 * Decides: which calls fail and with what; when syncs end; which open handles are alive.
 * Leaves to others: what survives of a file (inode.ts) and of names (name-space.ts).
 *
 * 1. The rules are those of `Files` in contracts, at their strictest: a name is lost unless its directory was synced,
 *    the directories that `makeDirectory` makes included (`directories: 'durable'` spares a test that).
 * 2. After `crash` every handle and every mount from before throws, and syncs under way never settle: the process that
 *    waited for them is dead.
 * 3. Paths are POSIX paths; relative ones stand under `/`.
 * 4. One seed, one sequence of calls: one outcome.
 */
import { posix } from 'node:path'
import {
  UnderstudyError,
  type Clock,
  type FileHandle,
  type Files,
  type OpenOptions,
} from '@understudy/contracts'
import { drawSpan, SeededRandom, type Span } from '../random.ts'
import type { TraceSink } from '../trace.ts'
import { SimulatedFile, systemError, type DiskOperation, type FileBackend } from './file.ts'
import { Inode, type CrashOutcome } from './inode.ts'
import { NameSpace } from './name-space.ts'

export type { CrashOutcome } from './inode.ts'
export type { DiskOperation } from './file.ts'

export interface SimulatedDiskOptions {
  /** Default: seed 0. */
  readonly random?: SeededRandom
  /** Times `dataSync`. Without it a sync ends on a later turn of the event loop. Use the node's view. */
  readonly clock?: Clock
  /** Milliseconds that a `dataSync` takes. Default 0.1 to 2. */
  readonly syncMs?: Span
  /** Bytes of all files together; above it `DISK_FULL`. Default no limit. */
  readonly bytesMax?: number
  /** `strict`: a new directory is durable once its parent was synced. Default `strict`. */
  readonly directories?: 'strict' | 'durable'
  readonly trace?: TraceSink
}

export interface Fault {
  /** How many matching calls succeed before the one that fails. Default 0. */
  readonly after?: number
  /** Only calls on paths for which this is true count. */
  readonly path?: (path: string) => boolean
}

/** Calls since the disk was made. */
export interface DiskCounts {
  writes: number
  writtenBytes: number
  dataSyncs: number
  directorySyncs: number
  injectedFaults: number
  crashes: number
}

interface ArmedFault extends Fault {
  readonly operation: DiskOperation
  remaining: number
}

export class SimulatedDisk implements Files {
  readonly counts: DiskCounts = {
    writes: 0,
    writtenBytes: 0,
    dataSyncs: 0,
    directorySyncs: 0,
    injectedFaults: 0,
    crashes: 0,
  }
  /** Every change throws `READ_ONLY_DISK`, as after a remount. */
  readOnly = false
  /** Bytes of all files together; may be changed at any time. */
  bytesMax: number
  /** Probability that a `dataSync` or `dataSyncNow` fails. */
  syncFailureChance = 0
  readonly random: SeededRandom
  readonly #options: SimulatedDiskOptions
  #clock: Clock | undefined
  #names = new NameSpace()
  #faults: ArmedFault[] = []
  #life = 0
  #nextInode = 1

  constructor(options: SimulatedDiskOptions = {}) {
    this.#options = options
    this.random = options.random ?? new SeededRandom(0)
    this.#clock = options.clock
    this.bytesMax = options.bytesMax ?? Number.POSITIVE_INFINITY
  }

  /**
   * The disk as one life of a node has it: dead after the next `crash`, so that what is left of the old process cannot
   * write into the new one's files. `clock`: the new life's view.
   */
  mount(options: { readonly clock?: Clock } = {}): Files {
    if (options.clock !== undefined) this.#clock = options.clock
    const life = this.#life
    return new Mount(this, () => life === this.#life)
  }

  /** Power loss: unsynced changes survive in part, handles die. The disk can be used again at once. */
  crash(outcome: CrashOutcome = 'random'): void {
    this.#life += 1
    this.counts.crashes += 1
    this.#trace('crash')
    const inodes = [...this.#names.inodes()].sort((a, b) => a.id - b.id)
    for (const inode of inodes) inode.crash(outcome, this.random)
    this.#names.crash(outcome, this.random)
  }

  /** A process that was killed: handles die, but the operating system keeps what was written. */
  kill(): void {
    this.#life += 1
    this.#trace('kill')
  }

  /** An independent disk in the same state, unsynced changes included; tries out many crashes of one moment. */
  copy(random: SeededRandom = this.random.fork(`copy ${this.counts.writes}`)): SimulatedDisk {
    const copy = new SimulatedDisk({ ...this.#options, random, bytesMax: this.bytesMax })
    copy.readOnly = this.readOnly
    copy.#names = this.#names.copy()
    copy.#nextInode = this.#nextInode
    return copy
  }

  /** Makes one call of this kind fail, after `after` more that succeed. A failed sync loses what it should have written. */
  failOnce(operation: DiskOperation, fault: Fault = {}): void {
    this.#faults.push({ ...fault, operation, remaining: fault.after ?? 0 })
  }

  /** Flips one bit of a file, durably and behind every checksum's back. Returns where. Draws what is not given. */
  flipBit(
    path: string,
    where: { readonly offset?: number; readonly bit?: number } = {},
  ): { offset: number; bit: number } {
    const inode = this.#file(path)
    if (inode.size === 0)
      throw new UnderstudyError('INVALID_ARGUMENT', `${path} is empty: there is no bit to flip.`)
    const offset = where.offset ?? this.random.below(inode.size)
    const bit = where.bit ?? this.random.below(8)
    inode.flip(offset, 1 << bit)
    this.#trace(`flip ${path} ${offset}.${bit}`)
    return { offset, bit }
  }

  /** Bytes of all files with a name. */
  get usedBytes(): number {
    let bytes = 0
    for (const [, inode] of this.#names.files()) bytes += inode.size
    return bytes
  }

  /** Paths of all files, sorted. */
  get paths(): string[] {
    return Array.from(this.#names.files(), ([path]) => path).sort()
  }

  /** Whether a crash could lose anything of this file's contents. */
  hasUnsynced(path: string): boolean {
    return this.#file(path).unsyncedOperations > 0
  }

  open(path: string, options: OpenOptions = {}): FileHandle {
    const at = resolvePath(path)
    this.#check('open', at)
    const entry = this.#names.get(at)
    if (entry === 'directory') throw systemError('EISDIR', `${at} is a directory.`)
    if (options.write === true || (options.create === true && entry === undefined)) this.#checkWritable(at)
    if (entry !== undefined && options.create === true && options.exclusive === true) {
      throw systemError('EEXIST', `${at} exists already.`)
    }
    if (entry === undefined && options.create !== true) throw systemError('ENOENT', `${at} does not exist.`)
    return new SimulatedFile(this.#backend(), at, entry ?? this.#create(at), options.write === true)
  }

  exists(path: string): boolean {
    return this.#names.get(resolvePath(path)) !== undefined
  }

  size(path: string): number {
    return this.#file(path).size
  }

  makeDirectory(path: string): void {
    const at = resolvePath(path)
    const entry = this.#names.get(at)
    if (entry === 'directory') return
    if (entry !== undefined) throw systemError('EEXIST', `${at} is a file.`)
    this.#checkWritable(at)
    const parent = posix.dirname(at)
    this.makeDirectory(parent)
    this.#names.link(at, 'directory')
    if (this.#options.directories === 'durable') this.#names.sync(parent)
  }

  list(path: string): string[] {
    return this.#names.list(this.#directory(path))
  }

  rename(from: string, to: string): void {
    const source = resolvePath(from)
    const target = resolvePath(to)
    this.#check('rename', source)
    this.#checkWritable(target)
    this.#file(source)
    this.#directory(posix.dirname(target))
    if (this.#names.get(target) === 'directory') throw systemError('EISDIR', `${target} is a directory.`)
    if (source !== target) this.#names.rename(source, target)
    this.#trace(`rename ${source} ${target}`)
  }

  remove(path: string): void {
    const at = resolvePath(path)
    this.#check('remove', at)
    this.#checkWritable(at)
    this.#file(at)
    this.#names.remove(at)
    this.#trace(`remove ${at}`)
  }

  syncDirectory(path: string): void {
    const at = this.#directory(path)
    this.counts.directorySyncs += 1
    if (this.#faultOf('syncDirectory', at)) {
      this.#names.syncFailed(at, this.random)
      throw systemError('EIO', `Syncing the directory ${at} failed.`)
    }
    this.#names.sync(at)
    this.#trace(`syncDirectory ${at}`)
  }

  #create(at: string): Inode {
    this.#directory(posix.dirname(at))
    const inode = new Inode(this.#nextInode++)
    this.#names.link(at, inode)
    this.#trace(`create ${at}`)
    return inode
  }

  #file(path: string): Inode {
    const at = resolvePath(path)
    const entry = this.#names.get(at)
    if (entry === undefined) throw systemError('ENOENT', `${at} does not exist.`)
    if (entry === 'directory') throw systemError('EISDIR', `${at} is a directory.`)
    return entry
  }

  #directory(path: string): string {
    const at = resolvePath(path)
    const entry = this.#names.get(at)
    if (entry === undefined) throw systemError('ENOENT', `The directory ${at} does not exist.`)
    if (entry !== 'directory') throw systemError('ENOTDIR', `${at} is not a directory.`)
    return at
  }

  #checkWritable(path: string): void {
    if (!this.readOnly) return
    throw new UnderstudyError(
      'READ_ONLY_DISK',
      `${path} is on a disk that is mounted read-only; nothing was changed.`,
      { systemCode: 'EROFS', path },
    )
  }

  #check(operation: DiskOperation, path: string): void {
    if (this.#faultOf(operation, path)) throw systemError('EIO', `${operation} of ${path} failed.`)
  }

  #faultOf(operation: DiskOperation, path: string): boolean {
    for (const fault of this.#faults) {
      if (fault.operation !== operation || fault.path?.(path) === false) continue
      if (fault.remaining-- > 0) continue
      this.#faults.splice(this.#faults.indexOf(fault), 1)
      this.counts.injectedFaults += 1
      this.#trace(`fault ${operation} ${path}`)
      return true
    }
    return false
  }

  #syncFails(path: string): boolean {
    if (this.#faultOf('dataSync', path)) return true
    if (this.syncFailureChance === 0 || !this.random.chance(this.syncFailureChance)) return false
    this.counts.injectedFaults += 1
    return true
  }

  /** What handles of the present life may do. */
  #backend(): FileBackend {
    const life = this.#life
    return {
      alive: () => life === this.#life,
      check: (operation, path) => this.#check(operation, path),
      checkWritable: (path) => this.#checkWritable(path),
      freeBytes: () =>
        this.bytesMax === Number.POSITIVE_INFINITY
          ? this.bytesMax
          : Math.max(0, this.bytesMax - this.usedBytes),
      wrote: (path, offset, bytes) => {
        this.counts.writes += 1
        this.counts.writtenBytes += bytes
        this.#trace(`write ${path} ${offset}+${bytes}`)
      },
      sync: (path, inode, mark) => this.#endSync(path, inode, mark),
      later: (run) => {
        this.#later(() => {
          if (life === this.#life) run()
        })
      },
    }
  }

  #endSync(path: string, inode: Inode, mark: number): void {
    this.counts.dataSyncs += 1
    if (this.#syncFails(path)) {
      inode.syncFailed(mark, this.random)
      throw systemError('EIO', `Syncing ${path} failed; what it should have made durable may be lost.`)
    }
    inode.synced(mark)
    this.#trace(`sync ${path} ${mark}`)
  }

  #later(run: () => void): void {
    if (this.#clock === undefined) setImmediate(run)
    else this.#clock.schedule(drawSpan(this.random, this.#options.syncMs ?? { min: 0.1, max: 2 }), run)
  }

  #trace(line: string): void {
    this.#options.trace?.(`disk ${line}`)
  }
}

/** A disk that dies with the life it was mounted in. */
class Mount implements Files {
  readonly #disk: SimulatedDisk
  readonly #alive: () => boolean

  constructor(disk: SimulatedDisk, alive: () => boolean) {
    this.#disk = disk
    this.#alive = alive
  }

  open(path: string, options?: OpenOptions): FileHandle {
    return this.#files().open(path, options)
  }

  exists(path: string): boolean {
    return this.#files().exists(path)
  }

  size(path: string): number {
    return this.#files().size(path)
  }

  makeDirectory(path: string): void {
    this.#files().makeDirectory(path)
  }

  list(path: string): string[] {
    return this.#files().list(path)
  }

  rename(from: string, to: string): void {
    this.#files().rename(from, to)
  }

  remove(path: string): void {
    this.#files().remove(path)
  }

  syncDirectory(path: string): void {
    this.#files().syncDirectory(path)
  }

  #files(): Files {
    if (!this.#alive()) throw systemError('EIO', 'This disk was mounted before the crash.')
    return this.#disk
  }
}

function resolvePath(path: string): string {
  return posix.resolve('/', path)
}
