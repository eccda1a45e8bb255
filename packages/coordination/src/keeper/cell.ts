/**
 * What the thread that renews and the thread that writes share: 24 bytes.
 *
 * 1. `validUntil` is written by the renewing thread and only ever raised, until one of them ends it; ended stays ended.
 * 2. Times are nanoseconds of `process.hrtime`, which is one clock for all threads of a process.
 */
const VALID_UNTIL = 0
const ALIVE_AT = 1
const WORDS = 2
const ENDED = 0n

export class LeaseCell {
  readonly memory: SharedArrayBuffer
  readonly #words: BigInt64Array<SharedArrayBuffer>

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(WORDS * 8)) {
    this.memory = memory
    this.#words = new BigInt64Array(memory)
  }

  /** 0 when it was ended. */
  get validUntilNs(): bigint {
    return Atomics.load(this.#words, VALID_UNTIL)
  }

  get aliveAtNs(): bigint {
    return Atomics.load(this.#words, ALIVE_AT)
  }

  /** Before the lease is handed out. */
  begin(validUntilNs: bigint): void {
    Atomics.store(this.#words, VALID_UNTIL, validUntilNs)
  }

  /** False: it was ended meanwhile. */
  extend(toNs: bigint): boolean {
    const before = this.validUntilNs
    if (before === ENDED) return false
    if (toNs <= before) return true
    return Atomics.compareExchange(this.#words, VALID_UNTIL, before, toNs) === before
  }

  end(): void {
    Atomics.store(this.#words, VALID_UNTIL, ENDED)
  }

  beat(nowNs: bigint): void {
    Atomics.store(this.#words, ALIVE_AT, nowNs)
  }
}
