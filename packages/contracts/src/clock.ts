/** Time, as everything in Understudy sees it. The real one is `systemClock()`; testkit has a simulated one. */
export interface Clock {
  /** Wall clock, milliseconds since the Unix epoch. May jump; only ever shown to people or written beside data. */
  now(): number
  /** Milliseconds that only grow, with a fraction; the origin is arbitrary. Every deadline uses this. */
  monotonic(): number
  /** Calls `run` once after `delayMs` (≥ 0). Never calls it synchronously. */
  schedule(delayMs: number, run: () => void): Timer
}

/** A scheduled call. */
export interface Timer {
  /** The call will not happen; no effect when it has. */
  cancel(): void
}

/** Randomness: run ids, jitter. Seeded in simulations. */
export interface Random {
  /** A uniform integer in [0, 2^32). */
  uint32(): number
}
