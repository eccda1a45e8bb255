/**
 * Rounds in which those that are compared take turns.
 *
 * Decides: that a round measures all of them one after another and the next round in the opposite order, so that a
 * disturbance of the machine meets all of them. Leaves to others: what is measured.
 */
import { summarize, type Summary } from './statistics.ts'

/** The values of each round, by what was measured. */
export class Samples {
  readonly #values = new Map<string, number[]>()

  push(key: string, value: number): void {
    const values = this.#values.get(key)
    if (values === undefined) this.#values.set(key, [value])
    else values.push(value)
  }

  of(key: string): readonly number[] {
    return this.#values.get(key) ?? []
  }

  /** Every list with its spread, as plain data. */
  all(): Readonly<Record<string, Summary>> {
    return Object.fromEntries([...this.#values].map(([key, values]) => [key, summarize(values)]))
  }
}

/** Calls `measure` for each name in each round. */
export async function inTurns<N>(
  rounds: number,
  names: readonly N[],
  measure: (name: N, round: number) => Promise<void>,
): Promise<void> {
  for (let round = 1; round <= rounds; round++)
    for (const name of round % 2 === 1 ? names : names.toReversed()) await measure(name, round)
}
