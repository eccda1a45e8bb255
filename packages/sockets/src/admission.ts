/**
 * Counts the connections of a listener, in all and from each address.
 *
 * 1. A connection counts from the moment it is accepted, handshakes included, until its release is called.
 * 2. IPv4 addresses count each; IPv6 addresses by their first 64 bits, which one host can have all of.
 */
import { networkOf } from './ip.ts'

const CHANNELS_MAX = 1024
const CHANNELS_PER_ADDRESS_MAX = 256

export interface AdmissionLimits {
  /** Default 1,024. */
  readonly channelsMax?: number | undefined
  /** Default 256. */
  readonly channelsPerAddressMax?: number | undefined
}

export class Admission {
  readonly #channelsMax: number
  readonly #channelsPerAddressMax: number
  readonly #byAddress = new Map<string, number>()
  #open = 0

  constructor(limits: AdmissionLimits = {}) {
    this.#channelsMax = limits.channelsMax ?? CHANNELS_MAX
    this.#channelsPerAddressMax = limits.channelsPerAddressMax ?? CHANNELS_PER_ADDRESS_MAX
  }

  /** Connections that were admitted and not released. */
  get open(): number {
    return this.#open
  }

  /**
   * Counts a connection; the function returned releases it, once however often it is called. Undefined: it is one too
   * many. Without an address, as of a UNIX socket, only the number of all counts.
   */
  admit(address: string | undefined): (() => void) | undefined {
    if (this.#open >= this.#channelsMax) return undefined
    const key = address === undefined ? undefined : networkOf(address)
    if (key !== undefined) {
      const count = this.#byAddress.get(key) ?? 0
      if (count >= this.#channelsPerAddressMax) return undefined
      this.#byAddress.set(key, count + 1)
    }
    this.#open++
    let released = false
    return () => {
      if (released) return
      released = true
      this.#release(key)
    }
  }

  #release(key: string | undefined): void {
    this.#open--
    if (key === undefined) return
    const count = this.#byAddress.get(key) ?? 0
    // Entries of nobody are dropped: the map is no larger than the connections.
    if (count <= 1) this.#byAddress.delete(key)
    else this.#byAddress.set(key, count - 1)
  }
}
