/**
 * One node over all its lives: its machine, its disk, the storages of its generations, its restarts.
 *
 * Decides: what a kill and a power loss leave, when the next life begins, which failures a disk fault excuses.
 * Leaves to others: what runs in a life (leader, follower).
 *
 * 1. A failure without an injected fault of this life's disk is a breach (I14): nothing here may fail by itself.
 * 2. A process that failed is killed and started again, as a supervisor does.
 */
import { join } from 'node:path'
import { isUnderstudyError, type ErrorCode, type Log } from '@understudy/contracts'
import { Checkpointer, generationPaths, type GenerationPaths } from '@understudy/node'
import { openLog } from '@understudy/log'
import {
  drawSpan,
  MemoryStorage,
  SimulatedMachine,
  type MachineLife,
  type SeededRandom,
} from '@understudy/testkit'
import { InvariantBreach, type InvariantId } from './breach.ts'
import type { World } from './world.ts'

const DIRECTORY = '/data'
const STATE = join(DIRECTORY, 'current')

/** Which invariant an error breaks that no fault of the disk explains. */
const BREACHES: Readonly<Partial<Record<ErrorCode, InvariantId>>> = {
  LOG_TRUNCATED: 'I15',
  SLOT_LOST: 'I15',
  LOG_CORRUPT: 'I1',
  DIVERGED: 'I10',
}

export interface NodeData {
  readonly log: Log
  readonly storage: MemoryStorage
  readonly checkpointer: Checkpointer
}

export abstract class Host {
  readonly name: string
  readonly world: World
  readonly machine: SimulatedMachine
  readonly random: SeededRandom
  readonly #storages = new Map<number, MemoryStorage>()
  #faultsBefore = 0
  #restartAt: { cancel(): void } | undefined
  #endBefore = 0
  /** What can be looked at now. */
  data: NodeData | undefined
  /** How far the node ever was: what it had then, a crash must not take. */
  readonly ever = { received: 0, durable: 0, applied: 0 }
  /** LSN up to which the log of this life was compared with the history. */
  comparedTo = 0
  /**
   * A failed sync of a directory stops a file system until it is mounted again (ext4 aborts its journal), so a process
   * that is restarted on the same system would meet nothing real.
   */
  losesPowerOnFailure = false

  constructor(world: World, name: string) {
    this.name = name
    this.world = world
    this.random = world.random.fork(name)
    const { shape, clock, network } = world
    this.machine = new SimulatedMachine({
      name,
      clock,
      network,
      random: this.random,
      disk: { syncMs: shape.syncMs, trace: (line) => world.trace.add(`${name} ${line}`) },
      view: {
        rate: 1 + (this.random.fraction() - 0.5) / 100,
        wallOffsetMs: this.random.between(-5000, 5000),
      },
    })
    this.machine.disk.makeDirectory(DIRECTORY)
    this.machine.disk.syncDirectory('/')
  }

  get up(): boolean {
    return this.machine.life !== undefined
  }

  get disk(): SimulatedMachine['disk'] {
    return this.machine.disk
  }

  /** What the process does with its life. */
  protected abstract run(life: MachineLife): Promise<void>

  /** Called when a life ended, before anything of the next one. */
  protected ended(): void {
    // Nothing by default.
  }

  /** Called when the log of a life is open, before the storage is compared with the history. */
  protected opened(_log: Log): void {
    // Nothing by default.
  }

  start(): void {
    this.#restartAt?.cancel()
    this.#restartAt = undefined
    if (this.up) return
    this.world.note(`start ${this.name}`)
    this.#faultsBefore = this.disk.counts.injectedFaults
    const life = this.machine.boot()
    void this.run(life).catch((error: unknown) => this.failed(life, error))
  }

  /** Looks at how far it is. */
  noteEver(): void {
    if (this.data === undefined) return
    const { log, storage } = this.data
    this.ever.received = Math.max(this.ever.received, log.end.lsn)
    this.ever.durable = Math.max(this.ever.durable, log.durable)
    this.ever.applied = Math.max(this.ever.applied, storage.applied.lsn)
  }

  end(how: 'process' | 'machine'): void {
    if (!this.up) return
    this.noteEver()
    const of = this.losesPowerOnFailure && this.excused ? 'machine' : how
    this.world.note(`end ${this.name} ${of}`)
    this.#endBefore = of === 'machine' ? (this.data?.log.end.lsn ?? 0) : 0
    this.data = undefined
    if (of === 'machine') this.machine.crash()
    else this.machine.kill()
    for (const [generation, storage] of this.#storages) {
      this.#storages.set(generation, of === 'machine' ? storage.crash() : storage.kill())
    }
    this.ended()
    this.restartLater()
  }

  restartLater(): void {
    const delayMs = drawSpan(this.random, this.world.shape.downMs)
    this.#restartAt?.cancel()
    this.#restartAt = this.world.clock.schedule(delayMs, () => this.start())
  }

  isAlive(life: MachineLife): boolean {
    return this.machine.life === life
  }

  /** Whether a process may end by this although its disk is well. */
  protected isOrdinary(_error: unknown): boolean {
    return false
  }

  /** Whether a fault of the disk hit this life. */
  get excused(): boolean {
    return this.disk.counts.injectedFaults > this.#faultsBefore
  }

  /** The life cannot go on. */
  failed(life: MachineLife, error: unknown): void {
    if (!this.isAlive(life)) return
    if (error instanceof InvariantBreach) {
      this.world.breach ??= error
      return
    }
    this.world.note(`failed ${this.name} ${isUnderstudyError(error) ? error.code : String(error)}`)
    if (this.excused || this.isOrdinary(error)) {
      if (this.excused) this.world.tally.add('sync failed')
      this.#die(life)
      return
    }
    const id = (isUnderstudyError(error) ? BREACHES[error.code] : undefined) ?? 'I14'
    this.world.broken(id, `${this.name} stopped: ${describe(error)}`)
  }

  /** Not at once: what a failed node still says and does in the meantime must be right, too. */
  #die(life: MachineLife): void {
    this.world.clock.schedule(this.random.between(0, 20), () => {
      if (this.isAlive(life)) this.end('process')
    })
  }

  paths(generation: number): GenerationPaths {
    return generationPaths(DIRECTORY, generation)
  }

  /** Number of the data in use; 0 while there is none. */
  readGeneration(): number {
    const { disk } = this
    if (!disk.exists(STATE)) return 0
    const handle = disk.open(STATE)
    const bytes = new Uint8Array(handle.size())
    handle.read(bytes, 0)
    handle.close()
    return Number(Buffer.from(bytes).toString())
  }

  writeGeneration({ files }: MachineLife, generation: number): void {
    const aside = `${STATE}.new`
    const handle = files.open(aside, { create: true, write: true })
    try {
      handle.truncate(0)
      handle.write([Buffer.from(String(generation))], 0)
      handle.dataSyncNow()
    } finally {
      handle.close()
    }
    files.rename(aside, STATE)
    files.syncDirectory(DIRECTORY)
  }

  syncNames({ files }: MachineLife, paths: GenerationPaths): void {
    files.syncDirectory(paths.directory)
    files.syncDirectory(DIRECTORY)
  }

  /** Files of other generations, which nobody needs once this one is in use. */
  removeOthers(generation: number): void {
    const keep = `${this.paths(generation).directory}/`
    for (const path of this.disk.paths) {
      if (path.startsWith(`${DIRECTORY}/generation-`) && !path.startsWith(keep)) this.disk.remove(path)
    }
    for (const other of this.#storages.keys()) if (other !== generation) this.#storages.delete(other)
  }

  openLog(life: MachineLife, paths: GenerationPaths, knownDurable: number): Log {
    const { segmentBytes, tailCacheBytes, slotBytesMax } = this.world.shape
    const { files, clock, random } = life
    return openLog({
      directory: paths.log,
      files,
      clock,
      random,
      segmentBytes,
      tailCacheBytes,
      slotBytesMax,
      knownDurable,
    })
  }

  /** Opens the data of a generation, as `node` does. */
  openData(life: MachineLife, generation: number): NodeData {
    const { shape, tally, history } = this.world
    const paths = this.paths(generation)
    life.files.makeDirectory(paths.directory)
    const storage = this.#storage(life, generation, paths)
    const log = this.openLog(life, paths, storage.applied.lsn)
    if (log.end.lsn < this.#endBefore) tally.add('unsynced tail lost')
    this.#endBefore = 0
    if (log.slots.get('local') === undefined) log.slots.reserve('local', storage.applied.lsn)
    const checkpointer = new Checkpointer({
      storage,
      log,
      clock: life.clock,
      bytes: shape.checkpointBytes,
      intervalMs: shape.checkpointIntervalMs,
      failed: (error) => this.failed(life, error),
    })
    this.opened(log)
    this.world.acks.expectKept(this.name, log.end.lsn)
    history.expectState(`${this.name} after its start`, storage)
    this.data = { log, storage, checkpointer }
    this.comparedTo = log.first - 1
    return this.data
  }

  #storage(life: MachineLife, generation: number, paths: GenerationPaths): MemoryStorage {
    const known = this.#storages.get(generation)
    const options = { clock: life.clock, random: this.random.fork(`storage ${life.random.seed}`) }
    const storage =
      known !== undefined
        ? known.kill(options)
        : this.disk.exists(paths.database)
          ? MemoryStorage.fromImage(this.#read(paths.database), options)
          : new MemoryStorage(options)
    this.#storages.set(generation, storage)
    return storage
  }

  #read(path: string): Uint8Array {
    const handle = this.disk.open(path)
    const bytes = new Uint8Array(handle.size())
    handle.read(bytes, 0)
    handle.close()
    return bytes
  }
}

export function describe(error: unknown): string {
  if (isUnderstudyError(error)) return `${error.code} ${error.message}`
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
