/**
 * The generators of keys of YCSB (Cooper et al., "Benchmarking Cloud Serving Systems with YCSB", 2010; constants as its core
 * package publishes them): zipfian, scrambled zipfian, latest. Pure.
 *
 * Decides: which of the items is next. Zipfian numbers are made by the algorithm of Gray et al., "Quickly Generating Billion-Record Synthetic
 * Databases", 1994. Leaves to others: what an item is.
 */
import type { Random } from '@understudy/contracts'
import { fnv64Modulo } from './fnv.ts'
import { unit } from './random.ts'

export const ZIPFIAN_CONSTANT = 0.99
/** The scrambled generator draws from ten billion items, whatever the number of records, so that the shape stays when records are added. */
export const SCRAMBLED_ITEMS = 10_000_000_000
/** Sum of 1 / i^0.99 for i up to ten billion, as YCSB publishes it. */
export const SCRAMBLED_ZETA = 26.46902820178302

/** Item 0 is the most popular one, item 1 the next. */
export class Zipfian {
  readonly #theta: number
  readonly #alpha: number
  readonly #zeta2: number
  #items: number
  #zeta: number
  #eta: number

  constructor(items: number, { theta = ZIPFIAN_CONSTANT, zeta }: { theta?: number; zeta?: number } = {}) {
    this.#items = items
    this.#theta = theta
    this.#alpha = 1 / (1 - theta)
    this.#zeta2 = zetaOf(0, 2, theta)
    this.#zeta = zeta ?? zetaOf(0, items, theta)
    this.#eta = this.#etaNow()
  }

  /** From 0 to `items` - 1; more items than before are added to the sum, as YCSB does it. */
  next(random: Random, wanted?: number): number {
    const items = wanted ?? this.#items
    if (items > this.#items) {
      this.#zeta += zetaOf(this.#items, items, this.#theta)
      this.#items = items
      this.#eta = this.#etaNow()
    }
    const u = unit(random)
    const uz = u * this.#zeta
    if (uz < 1) return 0
    if (uz < 1 + 0.5 ** this.#theta) return 1
    return Math.floor(this.#items * (this.#eta * u - this.#eta + 1) ** this.#alpha)
  }

  #etaNow(): number {
    return (1 - (2 / this.#items) ** (1 - this.#theta)) / (1 - this.#zeta2 / this.#zeta)
  }
}

/** The popular items are spread over all of them by a hash. */
export class ScrambledZipfian {
  readonly #zipfian = new Zipfian(SCRAMBLED_ITEMS, { zeta: SCRAMBLED_ZETA })
  readonly #items: number

  constructor(items: number) {
    this.#items = items
  }

  next(random: Random): number {
    return fnv64Modulo(this.#zipfian.next(random), this.#items)
  }
}

/** The newest item is the most popular one. */
export class Latest {
  readonly #zipfian: Zipfian

  constructor(items: number) {
    this.#zipfian = new Zipfian(items)
  }

  /** `newest`: the highest item that may be drawn. */
  next(random: Random, newest: number): number {
    return Math.max(0, newest - this.#zipfian.next(random, newest + 1))
  }
}

/** Sum of 1 / i^theta for i from `from` + 1 to `to`. */
function zetaOf(from: number, to: number, theta: number): number {
  let sum = 0
  for (let index = from; index < to; index++) sum += 1 / (index + 1) ** theta
  return sum
}
