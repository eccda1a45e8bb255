/** `xorshift32`: the same numbers in each run, for tests that need many, cheaply. For simulations there is `SeededRandom`. */
export function randomNumbers(seed: number): (below: number) => number {
  // From 0 it would give nothing else.
  let state = seed | 0 || 1
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}
