/**
 * Clients: write unique values to the leader of the moment, and hold every answer against the history.
 *
 * Decides: what is written and when, which answers are allowed. Leaves to others: remembering (ledger).
 */
import { isUnderstudyError } from '@understudy/contracts'
import { drawSpan, type MemoryTransaction, type SeededRandom } from '@understudy/testkit'
import type { LeaderHost, Leading } from './leader.ts'
import { counterKey, keyOf } from './ledger.ts'
import { CLUSTER, type World } from './world.ts'

const SHARED_KEYS = 8
/** Part of the writes that have a key. */
const KEYED = 0.4

/** A write, to be sent again as it was. */
interface Sent {
  readonly id: string
  readonly value: string
  readonly kind: 'succeeds' | 'throws' | 'loses'
  readonly key: string | undefined
  readonly body: (tx: MemoryTransaction) => void
  readonly isAgain: boolean
}

export class Client {
  readonly #name: string
  readonly #world: World
  readonly #leader: LeaderHost
  readonly #random: SeededRandom
  #next = 0
  /** Writes with a key that may be done or not. */
  readonly #unknown: Sent[] = []
  #isOpen = true

  constructor(world: World, leader: LeaderHost, name: string) {
    this.#world = world
    this.#leader = leader
    this.#name = name
    this.#random = world.random.fork(name)
    this.#think()
  }

  stop(): void {
    this.#isOpen = false
  }

  #think(): void {
    const { shape, clock } = this.#world
    clock.schedule(drawSpan(this.#random, shape.thinkMs), () => {
      if (!this.#isOpen) return
      const { leading } = this.#leader
      const burst = this.#random.between(1, shape.burstMax)
      if (leading !== undefined) for (let i = 0; i < burst; i++) this.#turn(leading)
      this.#think()
    })
  }

  #turn(leading: Leading): void {
    const dice = this.#random.below(100)
    if (this.#unknown.length > 0 && dice < 40) this.#sendAgain(leading)
    else if (dice < 3) this.#mark(leading)
    else if (dice < 6) this.#writeNothing(leading)
    else this.#write(leading, dice < 10 ? 'throws' : dice < 12 ? 'loses' : 'succeeds')
  }

  #write(leading: Leading, kind: 'succeeds' | 'throws' | 'loses'): void {
    const { ledger } = this.#world
    const id = `${this.#name}-${this.#next++}`
    const value = this.#value(id)
    const shared = `s/${this.#random.below(SHARED_KEYS)}`
    const isDelete = this.#random.chance(0.3)
    const key = this.#random.chance(KEYED) ? id : undefined
    ledger.sent(id, value)
    const body = (tx: MemoryTransaction): void => {
      tx.set(keyOf(id), value)
      const counter = counterKey(this.#name)
      tx.set(counter, String(Number(tx.get(counter) ?? 0) + 1))
      if (isDelete) tx.delete(shared)
      else tx.set(shared, id)
      if (kind === 'throws') throw new Refusal()
      if (kind === 'loses') tx.lose()
    }
    this.#send(leading, { id, value, kind, key, body, isAgain: false })
  }

  /** Sends a write whose outcome is not known again, to whoever leads now: by its key it is done once. */
  #sendAgain(leading: Leading): void {
    const sent = this.#unknown.shift()
    if (sent === undefined) return
    this.#world.tally.add('write sent again')
    this.#world.ledger.sentAgain(sent.id)
    this.#send(leading, { ...sent, isAgain: true })
  }

  #isUnknown(sent: Sent): void {
    this.#world.ledger.unknown(sent.id)
    if (sent.key !== undefined) this.#unknown.push(sent)
  }

  #send(leading: Leading, sent: Sent): void {
    const { ledger, tally } = this.#world
    const { id, value, key, body } = sent
    const died = (): void => this.#isUnknown(sent)
    this.#leader.onEnd(died)
    const answered = (check: () => void): void => {
      this.#leader.offEnd(died)
      if (this.#leader.leading === leading) this.#world.check(check)
    }
    const { ownRules } = this.#world.shape
    const own = ownRules !== undefined && this.#random.chance(0.3) ? this.#random.pick(ownRules) : undefined
    const options = { ...(own?.of && { ack: own.level, of: own.of }), ...(key !== undefined && { key }) }
    leading.pipeline.write(body, options).then(
      ({ receipt, replayed }) =>
        answered(() => {
          ledger.acknowledged(id, receipt.position)
          this.#world.receipts.keep(receipt)
          tally.add(replayed === true ? 'write answered by its key' : 'write acknowledged')
          if (replayed !== true) this.#leader.expectAnswered(leading.data, receipt, keyOf(id), value, own)
          this.#world.note(`ack ${id} ${receipt.position.epoch}/${receipt.position.lsn}`)
        }),
      (error: unknown) => answered(() => this.#refused(sent, error)),
    )
  }

  #refused(sent: Sent, error: unknown): void {
    const { ledger, tally } = this.#world
    const { id, kind } = sent
    if (isUnderstudyError(error, 'OUTCOME_UNKNOWN')) {
      tally.add('write of unknown outcome')
      this.#isUnknown(sent)
      return
    }
    // A node that failed takes nothing on, and says nothing of what was written before.
    if (sent.isAgain && isUnderstudyError(error, 'LOG_FAILED')) return this.#isUnknown(sent)
    if (isUnderstudyError(error, 'WRITTEN_NOT_ACKED')) {
      tally.add('write not acked in time')
      ledger.written(id, error.position)
      this.#world.receipts.keepError(error, CLUSTER)
      if (sent.key !== undefined) this.#unknown.push(sent)
      return
    }
    ledger.refused(id)
    tally.add('write refused')
    this.#world.note(`refused ${id}`)
    const isOwn = error instanceof Refusal && kind === 'throws'
    const isKnown =
      isUnderstudyError(error, 'NOT_WRITTEN') ||
      isUnderstudyError(error, 'OVERLOADED') ||
      isUnderstudyError(error, 'LOG_FAILED')
    if (!isOwn && !isKnown) throw error
  }

  /** A write that changes nothing is answered, too. */
  #writeNothing({ pipeline }: Leading): void {
    pipeline.write((tx) => tx.get(counterKey(this.#name))).catch(() => undefined)
  }

  #mark({ pipeline }: Leading): void {
    pipeline.mark().catch(() => undefined)
  }

  #value(id: string): string {
    const { shape } = this.#world
    const isBig = this.#random.chance(shape.bigValueChance)
    const length = this.#random.below(isBig ? shape.bigValueBytesMax : shape.valueBytesMax)
    return `${id}:${this.#random
      .uint32()
      .toString(36)
      .repeat(Math.ceil(length / 6))
      .slice(0, length)}`
  }
}

class Refusal extends Error {
  override readonly name: string = 'Refusal'
}
