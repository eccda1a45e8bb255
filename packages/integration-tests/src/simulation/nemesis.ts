/** Draws faults and lets them happen, until it is told to heal. */
import { drawSpan, type SeededRandom } from '@understudy/testkit'
import type { Host } from './host.ts'
import type { LeaderHost } from './leader.ts'
import type { Fault } from './shape.ts'
import type { World } from './world.ts'

export class Nemesis {
  readonly #world: World
  readonly #leader: LeaderHost
  readonly #followers: readonly Host[]
  readonly #random: SeededRandom
  #isOver = false
  /** Faults that happened. */
  count = 0

  constructor(world: World, leader: LeaderHost, followers: readonly Host[]) {
    this.#world = world
    this.#leader = leader
    this.#followers = followers
    this.#random = world.random.fork('nemesis')
    if (world.shape.faults.length > 0) this.#plan()
  }

  /** No more faults; what is cut is healed, who stands still goes on, who is down comes up by itself. */
  heal(): void {
    this.#isOver = true
    const { network, shape } = this.#world
    network.healAll()
    for (const host of [this.#leader, ...this.#followers]) {
      host.machine.resume()
      network.setLatency(this.#leader.name, host.name, shape.latencyMs)
      network.setLatency(host.name, this.#leader.name, shape.latencyMs)
    }
  }

  #plan(): void {
    const { clock, shape } = this.#world
    clock.schedule(drawSpan(this.#random, shape.faultGapMs), () => {
      if (this.#isOver) return
      const kind = this.#draw()
      const follower = this.#random.pick(this.#followers)
      this.#world.note(`fault ${kind} ${follower.name}`)
      this.count += 1
      this.#do(kind, follower)
      this.#plan()
    })
  }

  #draw(): Fault {
    const { faults } = this.#world.shape
    let left = this.#random.below(faults.reduce((sum, { weight }) => sum + weight, 0))
    for (const { kind, weight } of faults) {
      left -= weight
      if (left < 0) return kind
    }
    return 'heal'
  }

  #do(kind: Fault, follower: Host): void {
    const { network, shape } = this.#world
    const leader = this.#leader
    const either = this.#random.chance(0.4) ? leader : follower
    switch (kind) {
      case 'killLeader':
        return leader.end('process')
      case 'powerLossLeader':
        return leader.end('machine')
      case 'killFollower':
        return follower.end('process')
      case 'powerLossFollower':
        return follower.end('machine')
      case 'crashAfterCommit':
        return leader.crashAfterCommit(this.#random.chance(0.5) ? 'process' : 'machine')
      case 'cutOneWay':
        return this.#random.chance(0.5)
          ? network.cut(leader.name, follower.name)
          : network.cut(follower.name, leader.name)
      case 'isolate':
        return network.partition(
          [either.name],
          [leader, ...this.#followers].map(({ name }) => name).filter((name) => name !== either.name),
        )
      case 'heal':
        return network.healAll()
      case 'reset':
        return network.reset(leader.name, follower.name)
      case 'pause':
        return this.#pause(either)
      case 'failSync':
        return either.disk.failOnce('dataSync', { after: this.#random.below(4) })
      case 'failDirectorySync':
        either.losesPowerOnFailure = true
        return either.disk.failOnce('syncDirectory', { after: this.#random.below(4) })
      case 'slowLink':
        return network.setLatency(leader.name, follower.name, {
          min: shape.latencyMs.max,
          max: shape.latencyMs.max * this.#random.between(1, 20),
        })
    }
  }

  #pause(host: Host): void {
    const { clock, shape } = this.#world
    const life = host.machine.life
    host.machine.pause()
    clock.schedule(drawSpan(this.#random, shape.pauseMs), () => life?.clock.resume())
  }
}
