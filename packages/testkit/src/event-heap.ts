/**
 * A binary heap of scheduled calls by (time, tie, sequence).
 *
 * Cancelled calls stay in place, without what they would run, until they come up or make up more than half of the
 * heap: deadlines that are renewed at every message cost no search.
 */

export interface ScheduledEvent {
  readonly atMs: number
  readonly tie: number
  readonly sequence: number
  /** `undefined` once it ran or was cancelled. */
  run: (() => void) | undefined
}

export class EventHeap {
  #events: ScheduledEvent[] = []
  #cancelled = 0

  /** Events that are not cancelled. */
  get size(): number {
    return this.#events.length - this.#cancelled
  }

  push(event: ScheduledEvent): void {
    this.#events.push(event)
    this.#rise(this.#events.length - 1)
  }

  /** The next event that is not cancelled, left in place. */
  peek(): ScheduledEvent | undefined {
    for (;;) {
      const first = this.#events[0]
      if (first === undefined || first.run !== undefined) return first
      this.#removeFirst()
      this.#cancelled -= 1
    }
  }

  /** Takes the next event; a later `cancel` of it has no effect. */
  pop(): ScheduledEvent | undefined {
    const first = this.peek()
    if (first === undefined) return undefined
    this.#removeFirst()
    const taken = { ...first }
    first.run = undefined
    return taken
  }

  cancel(event: ScheduledEvent): void {
    if (event.run === undefined) return
    event.run = undefined
    this.#cancelled += 1
    if (this.#cancelled < 1024 || this.#cancelled * 2 < this.#events.length) return
    const kept = this.#events.filter((candidate) => candidate.run !== undefined)
    this.#events = []
    this.#cancelled = 0
    for (const each of kept.sort(compareEvents)) this.#events.push(each)
  }

  #removeFirst(): void {
    const last = this.#events.pop()
    if (last === undefined || this.#events.length === 0) return
    this.#events[0] = last
    this.#sink()
  }

  #rise(from: number): void {
    const events = this.#events
    const event = events[from] as ScheduledEvent
    let at = from
    while (at > 0) {
      const parentAt = (at - 1) >> 1
      const parent = events[parentAt] as ScheduledEvent
      if (compareEvents(parent, event) <= 0) break
      events[at] = parent
      at = parentAt
    }
    events[at] = event
  }

  #sink(): void {
    const events = this.#events
    const event = events[0] as ScheduledEvent
    let at = 0
    for (;;) {
      let childAt = at * 2 + 1
      const left = events[childAt]
      if (left === undefined) break
      let child = left
      const right = events[childAt + 1]
      if (right !== undefined && compareEvents(right, left) < 0) {
        child = right
        childAt += 1
      }
      if (compareEvents(event, child) <= 0) break
      events[at] = child
      at = childAt
    }
    events[at] = event
  }
}

function compareEvents(a: ScheduledEvent, b: ScheduledEvent): number {
  return a.atMs - b.atMs || a.tie - b.tie || a.sequence - b.sequence
}
