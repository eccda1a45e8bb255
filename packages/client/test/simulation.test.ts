/**
 * Clients beside failovers, by seed: nodes die, fall silent, come back, are cut off and lead on although they were replaced. The cluster
 * loses nothing that it acknowledged; so whatever is wrong in the end was done by the clients.
 *
 * 1. What was answered is in the last history, once. 2. What was NOT_WRITTEN is not there. 3. Whatever else happened, nothing is there twice.
 * 4. What has a key is answered: its caller notices nothing but time. 5. A session never sees fewer entries than before, nor fewer than it has written. 6. Every call ends in its time.
 */
import type { UnderstudyError } from '@understudy/contracts'
import { SeededRandom } from '@understudy/testkit'
import { expect, test } from 'vitest'
import { FakeCluster, insert, type FakeNode } from './fake-cluster.ts'

const NAMES = ['a', 'b', 'c'] as const
const SEEDS = Number(process.env['UNDERSTUDY_SEEDS'] ?? 15)
const TIMEOUT_MS = 8000

class Drama {
  readonly world: FakeCluster
  readonly random: SeededRandom
  readonly outcomes = new Map<string, string>()
  readonly wrong: string[] = []
  readonly down = new Set<string>()
  leader: string = 'a'
  failovers = 0
  isOver = false

  constructor(world: FakeCluster, seed: number) {
    this.world = world
    this.random = new SeededRandom(`drama ${seed}`)
    for (const node of world.nodes.values()) this.#play(node)
  }

  /** What a leader writes all nodes that are up have in the same moment; one that was replaced answers nobody. Answers are slow, or lost. */
  #play(node: FakeNode): void {
    node.onWrite = async (body, asks) => {
      await this.pause(0, 25)
      const answer = node.append(body, asks)
      if (this.leader !== node.name || this.down.has(node.name)) return new Promise(() => {})
      this.world.replicate(node.name, ...NAMES.filter((name) => name !== node.name && !this.down.has(name)))
      await (this.random.chance(0.05) ? this.pause(500, 3000) : this.pause(0, 10))
      return this.down.has(node.name) ? new Promise(() => {}) : answer
    }
    node.onRead = async ({ after }) => {
      await this.pause(0, 10)
      // Followers have what was acknowledged; a read may ask for what is on its way to them.
      if (after !== undefined && after.lsn > node.entries.length) await this.pause(20, 60)
    }
  }

  pause(leastMs: number, mostMs: number): Promise<void> {
    const ms = leastMs + this.random.below(mostMs - leastMs + 1)
    return new Promise((resolve) => void this.world.clock.schedule(ms, resolve))
  }

  async run(): Promise<void> {
    for (let act = 0; act < 6; act++) {
      await this.pause(200, 2500)
      const old = this.leader
      const kind = this.random.below(4)
      if (kind === 0) this.#die(old, 'process')
      else if (kind === 1) this.#die(old, 'machine')
      // It leads on, and does not know that it was replaced.
      else if (kind === 2) this.world.network.partition(['client'], [old])
      await this.pause(100, 2000)
      this.#promote(old, kind === 3)
      await this.pause(50, 1500)
      await this.#returns(old)
    }
    this.isOver = true
  }

  #die(name: string, of: 'process' | 'machine'): void {
    this.down.add(name)
    this.world.network.crash(name, { of })
  }

  /** The one with most of the others, which has everything that was acknowledged. `isKnown`: the old one hears of it. */
  #promote(old: string, isKnown: boolean): void {
    const others = NAMES.filter((name) => name !== old && !this.down.has(name))
    const [next] = others.toSorted(
      (a, b) => this.world.node(b).entries.length - this.world.node(a).entries.length,
    )
    if (next === undefined) return
    this.leader = next
    this.failovers += 1
    this.world.promote(next, isKnown ? [...others, old] : others)
  }

  /** It follows the leader of now: what it alone has is undone. */
  async #returns(name: string): Promise<void> {
    const { world } = this
    const [node, leader] = [world.node(name), world.node(this.leader)]
    world.network.healAll()
    if (name === this.leader) return
    node.isLeader = false
    node.leader = this.leader
    node.history = leader.history
    node.entries = [...leader.entries]
    if (this.down.delete(name)) await node.listen()
    node.change()
  }
}

async function writes(drama: Drama, who: number): Promise<void> {
  const { world, random } = drama
  const client = await world.connecting(NAMES, {
    timeoutMs: TIMEOUT_MS,
    prefer: random.pick(['any', 'leader', 'follower', 'nearest']),
  })
  let own = 0
  let seen = 0
  for (let n = 0; !drama.isOver; n++) {
    const body = `${who}/${n}`
    const isKeyed = random.chance(0.8)
    const begunMs = world.clock.monotonic()
    try {
      await client.write(insert(body), isKeyed ? {} : { key: false })
      own += 1
      drama.outcomes.set(body, 'written')
    } catch (error) {
      const { code } = error as UnderstudyError
      drama.outcomes.set(body, code)
      // Somebody leads again in less than its time.
      if (isKeyed) drama.wrong.push(`${body} has a key and was ${code}`)
    }
    try {
      const { rows } = await client.read('n')
      const count = rows[0]?.[0] as number
      if (count < seen || count < own)
        drama.wrong.push(`${body} saw ${count} entries after ${seen}, with ${own} own`)
      seen = Math.max(seen, count)
    } catch (error) {
      const { code, message } = error as UnderstudyError
      // Nothing was lost, so that nothing may be called so.
      if (code === 'POSITION_LOST') drama.wrong.push(`${body}: ${message}`)
    }
    const ms = world.clock.monotonic() - begunMs
    if (ms > 2 * TIMEOUT_MS + 100) drama.wrong.push(`${body} took ${ms} ms`)
    await drama.pause(0, 100)
  }
  await client.close()
}

test(`clients go on over failovers, by ${SEEDS} seeds`, { timeout: 120_000 }, async () => {
  const counts: Record<string, number> = { failovers: 0 }
  for (let seed = 1; seed <= SEEDS; seed++) {
    const world = await FakeCluster.of(NAMES, seed)
    const drama = new Drama(world, seed)
    const clients = [1, 2, 3].map((who) => writes(drama, who))
    await world.clock.complete(Promise.all([drama.run(), ...clients]), {
      withinMs: 600_000,
      what: `seed ${seed}`,
    })
    const end = new Map<string, number>()
    for (const { body } of world.node(drama.leader).entries) end.set(body, (end.get(body) ?? 0) + 1)
    for (const [body, outcome] of drama.outcomes) {
      const times = end.get(body) ?? 0
      const fits = outcome === 'written' ? times === 1 : outcome === 'NOT_WRITTEN' ? times === 0 : times <= 1
      if (!fits) drama.wrong.push(`${body} was ${outcome} and is there ${times} times`)
      counts[outcome] = (counts[outcome] ?? 0) + 1
    }
    counts['failovers'] = (counts['failovers'] ?? 0) + drama.failovers
    expect(drama.wrong, `seed ${seed}`).toEqual([])
  }
  // It was no play without failovers, and most of the time somebody led.
  expect(counts['failovers']).toBeGreaterThan(SEEDS * 3)
  expect(counts['written']).toBeGreaterThan(SEEDS * 50)
  if (process.env['UNDERSTUDY_SEEDS'] !== undefined) process.stdout.write(`${JSON.stringify(counts)}\n`)
})
