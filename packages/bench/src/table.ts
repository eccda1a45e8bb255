/** The table that every figure is measured on, and its rows. The same rows for every side of a comparison. */
import type { SQLInputValue } from 'node:sqlite'

export const CREATE_TABLE =
  'create table kv (id integer primary key autoincrement, k text, v text, n integer)'
export const INSERT = 'insert into kv (k, v, n) values (?, ?, ?)'

const VALUE_CHARACTERS = 100
const VALUES = 1024

/** Makes rows: a key of its own for each, a value of 100 bytes. */
export class Rows {
  #values: readonly string[]
  #next = 0

  constructor() {
    this.#values = Array.from({ length: VALUES }, (_, index) => valueOf(index))
  }

  /** Values for `INSERT`. */
  next(): SQLInputValue[] {
    const at = this.#next++
    return [`key-${at}`, this.#values[at % VALUES] as string, at]
  }
}

/** 100 characters that a compressor would not make much of: a linear congruential generator (Numerical Recipes) in base 36. */
export function valueOf(seed: number): string {
  let state = seed
  let text = ''
  while (text.length < VALUE_CHARACTERS) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    text += state.toString(36)
  }
  return text.slice(0, VALUE_CHARACTERS)
}
