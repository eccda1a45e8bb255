/**
 * A simulated machine: one node's clock, disk and place in the network, which live and die together.
 *
 * Decides: what a kill and a power loss mean for each of them. Leaves to others: what runs on it.
 *
 * 1. Everything handed out by `boot` is of one life: after `kill` or `crash` its timers never fire, its files and its
 *    transport throw, its channels call nobody. What is left of the old process cannot reach into the new one.
 * 2. The disk stays over lives. Storage that is not on it (a `MemoryStorage`) must be crashed by its owner.
 */
import { UnderstudyError, type Files, type Transport } from '@understudy/contracts'
import type { ClockView, ClockViewOptions, SimulatedClock } from './clock.ts'
import { SimulatedDisk, type SimulatedDiskOptions } from './disk/disk.ts'
import type { SimulatedNetwork } from './network/network.ts'
import type { SeededRandom } from './random.ts'

export interface SimulatedMachineOptions {
  /** Also its name in the network: it listens at `sim://name`. */
  readonly name: string
  readonly clock: SimulatedClock
  readonly network: SimulatedNetwork
  /** Forked for the disk and for each life. */
  readonly random: SeededRandom
  readonly disk?: Omit<SimulatedDiskOptions, 'random' | 'clock'>
  /** How its clock differs from the others'. */
  readonly view?: ClockViewOptions
}

/** What a node is made of, for one life of its machine. */
export interface MachineLife {
  readonly clock: ClockView
  readonly random: SeededRandom
  readonly files: Files
  readonly transport: Transport
}

export class SimulatedMachine {
  readonly name: string
  readonly disk: SimulatedDisk
  readonly #options: SimulatedMachineOptions
  #life: MachineLife | undefined
  #lives = 0

  constructor(options: SimulatedMachineOptions) {
    this.#options = options
    this.name = options.name
    this.disk = new SimulatedDisk({ ...options.disk, random: options.random.fork(`${options.name} disk`) })
  }

  /** The present life; `undefined` while the machine is down. */
  get life(): MachineLife | undefined {
    return this.#life
  }

  /** Begins a life. Throws `INVALID_ARGUMENT` during one. */
  boot(): MachineLife {
    if (this.#life !== undefined) {
      throw new UnderstudyError('INVALID_ARGUMENT', `The machine ${this.name} is up already.`)
    }
    const { clock, network, random, view } = this.#options
    const ownClock = clock.view(view)
    this.#lives += 1
    this.#life = {
      clock: ownClock,
      random: random.fork(`${this.name} life ${this.#lives}`),
      files: this.disk.mount({ clock: ownClock }),
      transport: network.transport(this.name, { clock: ownClock }),
    }
    return this.#life
  }

  /** SIGKILL: the peers' connections are reset, what was written stays written. */
  kill(): void {
    if (!this.#end('process')) return
    this.disk.kill()
  }

  /** Power loss: the peers hear nothing, unsynced writes survive in part. */
  crash(): void {
    if (!this.#end('machine')) return
    this.disk.crash()
  }

  /** The process stands still; time goes on. */
  pause(): void {
    this.#life?.clock.pause()
  }

  resume(): void {
    this.#life?.clock.resume()
  }

  #end(of: 'process' | 'machine'): boolean {
    if (this.#life === undefined) return false
    this.#life.clock.stop()
    this.#life = undefined
    this.#options.network.crash(this.name, { of })
    return true
  }
}
