/**
 * Which texts have been sent before, and how long ago: so that a text that comes again gets a number, and a reader of the
 * log that began somewhere finds each number's text within the last 16 MiB or so.
 */

/** Texts that are remembered while they have no number. */
const REMEMBERED_MAX = 4096
/** Longer texts get none: they would fill the dictionary. */
const TEXT_MAX = 4096
const REPEAT_BYTES = 16 * 1024 * 1024

export class SeenTexts {
  readonly #once = new Set<string>()
  #sentAt = new Map<number, number>()
  #bytes = 0

  /** A payload of about this size is made. */
  advance(bytes: number): void {
    this.#bytes += bytes + 16
  }

  /** Whether a text without a number should get one: it is met for the second time, or more than once in its group. */
  deservesNumber(text: string, uses: number): boolean {
    if (text.length > TEXT_MAX) return false
    if (uses > 1 || this.#once.delete(text)) return true
    this.#once.add(text)
    if (this.#once.size > REMEMBERED_MAX) {
      const [oldest] = this.#once
      if (oldest !== undefined) this.#once.delete(oldest)
    }
    return false
  }

  /** The text of this number stands in the payload. */
  sent(number: number): void {
    this.#sentAt.set(number, this.#bytes)
    if (this.#sentAt.size <= REMEMBERED_MAX * 2) return
    const recent = [...this.#sentAt].slice(-REMEMBERED_MAX)
    this.#sentAt = new Map(recent)
  }

  /** Whether the text must stand beside its number once more. */
  mustRepeat(number: number): boolean {
    const at = this.#sentAt.get(number)
    if (at !== undefined && this.#bytes - at < REPEAT_BYTES) return false
    this.#sentAt.delete(number)
    this.sent(number)
    return true
  }
}
