/** Numbers that are handed out in order, and the highest beneath which all were acknowledged. Pure. */
export class AcknowledgedCounter {
  #next: number
  #newest: number
  readonly #above = new Set<number>()

  /** The first number that is handed out; those before it are acknowledged. */
  constructor(first: number) {
    this.#next = first
    this.#newest = first - 1
  }

  next(): number {
    return this.#next++
  }

  acknowledge(number: number): void {
    this.#above.add(number)
    while (this.#above.delete(this.#newest + 1)) this.#newest++
  }

  /** -1 when there is none. */
  get newest(): number {
    return this.#newest
  }
}
