/** A host of a simulated network: whether it is up, its clock, its listeners. Holds state, decides nothing. */
import type { Channel, Clock } from '@understudy/contracts'
import type { Endpoint } from './endpoint.ts'

export interface HostListener {
  readonly frameBytesMax: number
  readonly channelsMax: number
  readonly channelsPerAddressMax: number
  /** With the host that each came from. */
  readonly channels: Map<Endpoint, string>
  readonly accept: (channel: Channel) => void
}

export class Host {
  readonly name: string
  readonly listeners: Map<number, HostListener> = new Map<number, HostListener>()
  /** How often it was booted: objects of an earlier life are dead. */
  life = 0
  /** `refusing`: the machine answers, but no process is there. */
  state: 'up' | 'refusing' | 'silent' = 'refusing'
  #clock: Clock | undefined
  #nextPort = 40_000

  constructor(name: string) {
    this.name = name
  }

  get up(): boolean {
    return this.state === 'up'
  }

  /** The clock of the present life; `undefined` when there is none. */
  get clock(): Clock | undefined {
    return this.up ? this.#clock : undefined
  }

  boot(clock: Clock): void {
    this.#clock = clock
    this.state = 'up'
    this.life += 1
  }

  crash(of: 'process' | 'machine'): void {
    this.state = of === 'process' ? 'refusing' : 'silent'
    this.listeners.clear()
  }

  freePort(): number {
    while (this.listeners.has(this.#nextPort)) this.#nextPort += 1
    return this.#nextPort++
  }
}
