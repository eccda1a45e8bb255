/**
 * Which node a call goes to next: what is known of the nodes of a cluster, without any input/output.
 *
 * Decides: who leads as far as anybody said, the order in which nodes are read from, which node is left alone for a while, which addresses
 * that nodes name are believed. Leaves to others: asking, sending, waiting.
 *
 * 1. Only a node that says so itself, in the highest epoch that any node has spoken of, is the leader. What others say of it is a hint,
 *    followed once it is all there is; a hint of a lower epoch never stands above one of a higher.
 * 2. A name is found at the address that the caller gave for it before the one that another node knows.
 * 3. An encrypted connection never leads on to an address that is not.
 * 4. A node that failed is tried again after a pause that doubles, with jitter; before that only when nothing else is left.
 */
import type { EpochStamp, Random } from '@understudy/contracts'
import type { Leadership, MemberAddress } from '@understudy/protocol'

/** Which nodes a read goes to first. */
export type Preference = 'leader' | 'follower' | 'nearest' | 'any'
export const PREFERENCES: readonly Preference[] = ['leader', 'follower', 'nearest', 'any']

/** First and longest pause after failures. */
const PAUSE_MS_MIN = 50
const PAUSE_MS_MAX = 1_000
/** Weight of a new round trip in the average. */
const RTT_WEIGHT = 0.3
/** Addresses that nodes may have named. */
const LEARNT_MAX = 256

interface Node {
  readonly address: string
  name: string
  said: Leadership | undefined
  /** It answered a call with NOT_LEADER since it said anything. */
  isDisproved: boolean
  rttMs: number | undefined
  failures: number
  downUntilMs: number
}

interface Hint {
  readonly address: string
  /** Number of the epoch of who gave it. */
  readonly epoch: number
}

export interface RoutesOptions {
  readonly addresses: readonly string[]
  /** Whether any transport serves an address. */
  readonly serves: (address: string) => boolean
  readonly random: Random
}

export class Routes {
  readonly #nodes = new Map<string, Node>()
  readonly #options: RoutesOptions
  /** Named by nodes, and not believed. */
  readonly #refused = new Set<string>()
  #hint: Hint | undefined
  #turn = 0

  constructor(options: RoutesOptions) {
    this.#options = options
    for (const address of options.addresses) this.#nodes.set(address, newNode(address))
  }

  /** Every address that is known, as given first. */
  get addresses(): readonly string[] {
    return [...this.#nodes.keys()]
  }

  /** Addresses that were named by nodes and are less protected than how they were learnt. */
  get refused(): readonly string[] {
    return [...this.#refused]
  }

  /** The leader, if one is known that says so itself. */
  get leader(): string | undefined {
    let found: Node | undefined
    for (const node of this.#nodes.values()) {
      if (node.said?.takesWrites !== true || node.isDisproved) continue
      if (found === undefined || numberOf(node) > numberOf(found)) found = node
    }
    if (found === undefined) return undefined
    return numberOf(found) < this.#highest() ? undefined : found.address
  }

  nameOf(address: string): string {
    return this.#nodes.get(address)?.name ?? ''
  }

  /** Number and run id of the newest epoch that the node spoke of. */
  epochOf(address: string): EpochStamp | undefined {
    return this.#nodes.get(address)?.said?.epoch
  }

  // What is learnt

  /** A connection to the node stands. */
  connected(address: string, name: string): void {
    const node = this.#known(address)
    node.name = name
    node.failures = 0
    node.downUntilMs = 0
  }

  /** What the node says of who leads. Whether that makes somebody else the leader. */
  learn(address: string, said: Leadership): boolean {
    const before = this.leader
    const node = this.#known(address)
    node.name = said.node
    node.said = said
    node.isDisproved = false
    node.failures = 0
    node.downUntilMs = 0
    for (const member of said.members) this.#believe(address, member)
    const { leader } = said
    if (leader !== undefined && !said.takesWrites) this.#hintAt(address, leader, said.epoch?.number ?? 0)
    return this.leader !== before
  }

  /** A round trip to the node. */
  measured(address: string, ms: number): void {
    const node = this.#known(address)
    node.rttMs = node.rttMs === undefined ? ms : node.rttMs + RTT_WEIGHT * (ms - node.rttMs)
  }

  /** It does not lead, and says that this address does. */
  notLeader(address: string, leader: string | undefined): void {
    const node = this.#known(address)
    node.isDisproved = true
    if (leader !== undefined) this.#hintAt(address, { name: '', address: leader }, numberOf(node))
  }

  /** The node could not be reached, or ended the connection. */
  failed(address: string, nowMs: number): void {
    const node = this.#known(address)
    node.failures += 1
    node.said = undefined
    node.downUntilMs = nowMs + pauseMs(node.failures, this.#options.random)
    if (this.#hint?.address === address) this.#hint = undefined
  }

  // What to do

  /** Where a write goes, when it was at `tried` already: to the leader, or to where others say that it is. */
  forWrite(nowMs: number, tried: ReadonlySet<string>): string | undefined {
    const { leader } = this
    const candidates = [leader, this.#hint?.address]
    return candidates.find((each) => each !== undefined && !tried.has(each) && !this.#isDown(each, nowMs))
  }

  /** A node that would send a write on to the leader, for who cannot reach that itself. */
  forForwarding(nowMs: number, tried: ReadonlySet<string>): string | undefined {
    const forwards = [...this.#nodes.values()].filter(({ said }) => said?.forwardsWrites === true)
    return forwards.find(({ address }) => !tried.has(address) && !this.#isDown(address, nowMs))?.address
  }

  /** Every node in the order in which a read tries them. */
  forRead(prefer: Preference, nowMs: number): readonly string[] {
    const leader = this.leader ?? this.#hint?.address
    const turn = this.#turn++
    const nodes = [...this.#nodes.values()]
    const inTurn = nodes.map((_, index) => nodes[(index + turn) % nodes.length] as Node)
    const rank = (node: Node): number => {
      if (prefer === 'leader') return node.address === leader ? 0 : 1
      if (prefer === 'follower') return node.address === leader ? 1 : 0
      // One that was never measured comes after all that were.
      if (prefer === 'nearest') return node.rttMs ?? Number.MAX_VALUE
      return 0
    }
    const down = (node: Node): number => (node.downUntilMs > nowMs ? 1 : 0)
    return inTurn.sort((a, b) => down(a) - down(b) || rank(a) - rank(b)).map(({ address }) => address)
  }

  /** Nodes that can be asked who leads now. */
  toAsk(nowMs: number): readonly string[] {
    return this.addresses.filter((address) => !this.#isDown(address, nowMs))
  }

  /** Milliseconds until a call that found nobody looks again, unless news come first. */
  pauseMs(nowMs: number, rounds: number): number {
    const until = [...this.#nodes.values()].map(({ downUntilMs }) => downUntilMs - nowMs)
    const pause = pauseMs(rounds, this.#options.random)
    return Math.max(1, Math.min(pause, ...until.filter((ms) => ms > 0)))
  }

  #isDown(address: string, nowMs: number): boolean {
    return (this.#nodes.get(address)?.downUntilMs ?? 0) > nowMs
  }

  #highest(): number {
    return Math.max(0, ...[...this.#nodes.values()].map(numberOf))
  }

  #hintAt(from: string, member: MemberAddress, epoch: number): void {
    const address = this.#addressOf(from, member)
    if (address === undefined || address === from) return
    if (this.#hint === undefined || epoch >= this.#hint.epoch) this.#hint = { address, epoch }
  }

  /** Where a member is, by its name or by what `from` says; `undefined` when that is not known or not believed. */
  #addressOf(from: string, member: MemberAddress): string | undefined {
    if (member.name !== '')
      for (const node of this.#nodes.values()) if (node.name === member.name) return node.address
    return this.#believe(from, member) ? member.address : undefined
  }

  /** Adds an address that a node names. */
  #believe(from: string, { name, address }: MemberAddress): boolean {
    if (this.#nodes.has(address)) return true
    if (address === '' || !this.#options.serves(address)) return false
    if (isEncrypted(from) && !isEncrypted(address)) {
      if (this.#refused.size < LEARNT_MAX) this.#refused.add(address)
      return false
    }
    // The caller's own address of a node is the better one.
    if (name !== '' && [...this.#nodes.values()].some((node) => node.name === name)) return false
    if (this.#nodes.size >= LEARNT_MAX) return false
    this.#nodes.set(address, newNode(address))
    return true
  }

  #known(address: string): Node {
    const node = this.#nodes.get(address) ?? newNode(address)
    this.#nodes.set(address, node)
    return node
  }
}

function newNode(address: string): Node {
  return {
    address,
    name: '',
    said: undefined,
    isDisproved: false,
    rttMs: undefined,
    failures: 0,
    downUntilMs: 0,
  }
}

function numberOf({ said }: Node): number {
  return said?.epoch?.number ?? 0
}

/** Whether an address is of an encrypted scheme. */
function isEncrypted(address: string): boolean {
  return /^(tls|wss):/i.test(address)
}

/** A pause that doubles, of which a random half is left out. */
function pauseMs(failures: number, random: Random): number {
  const whole = Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** Math.min(Math.max(failures - 1, 0), 16))
  return whole * (0.5 + random.uint32() / 2 ** 33)
}
