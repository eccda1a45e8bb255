/** Virtual time, and a network whose links can be cut one way. One seed gives one run. */
import type { SeededRandom } from '@understudy/testkit/random'

interface Scheduled {
  readonly atMs: number
  readonly order: number
  readonly run: () => void
}

export class World {
  nowMs = 0
  readonly random: SeededRandom
  /** `a>b`: what a sends does not reach b. */
  readonly cut: Set<string> = new Set()
  delayMsMax = 5
  readonly #heap: Scheduled[] = []
  #order = 0

  constructor(random: SeededRandom) {
    this.random = random
  }

  after(delayMs: number, run: () => void): void {
    const heap = this.#heap
    const item = { atMs: this.nowMs + delayMs, order: this.#order++, run }
    let at = heap.length
    heap.push(item)
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = heap[parent] as Scheduled
      if (!isBefore(item, above)) break
      heap[at] = above
      at = parent
    }
    heap[at] = item
  }

  /** Delivers after a while, unless the link is cut when it is sent or when it would arrive. */
  send(from: string, to: string, deliver: () => void): void {
    const link = `${from}>${to}`
    if (this.cut.has(link)) return
    this.after(1 + this.random.fraction() * this.delayMsMax, () => {
      if (!this.cut.has(link)) deliver()
    })
  }

  run(untilMs: number): void {
    for (;;) {
      const next = this.#heap[0]
      if (next === undefined || next.atMs > untilMs) break
      this.#pop()
      this.nowMs = next.atMs
      next.run()
    }
    this.nowMs = untilMs
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop() as Scheduled
    if (heap.length === 0) return
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Scheduled, heap[child] as Scheduled)) child++
      if (!isBefore(heap[child] as Scheduled, last)) break
      heap[at] = heap[child] as Scheduled
      at = child
    }
    heap[at] = last
  }
}

function isBefore(a: Scheduled, b: Scheduled): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}
