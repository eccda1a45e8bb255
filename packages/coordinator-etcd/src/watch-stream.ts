/**
 * Hears from etcd that something changed.
 *
 * 1. Only that: what it is, is read. So a stream needs no revision to go on from, and compaction takes nothing from it. Whenever
 *    one begins, something may have changed before.
 * 2. A stream that ends, or whose member does not answer other requests, is begun anew at another member.
 */
import type { Clock, Timer } from '@understudy/contracts'
import type { EtcdClient } from './client.ts'
import { isObject } from './refusals.ts'

const AGAIN_MS_FIRST = 50
const AGAIN_MS_MAX = 1000
/** A line is an event with the value of a key: a state at most, in base64. */
const LINE_BYTES_MAX = 4 * 1024 * 1024

export class WatchStream {
  readonly #client: EtcdClient
  readonly #range: { readonly key: string; readonly range_end: string }
  readonly #clock: Clock
  readonly #changed: () => void
  readonly #unlisten: () => void
  #connection = new AbortController()
  #endpoint: URL | undefined
  #timer: Timer | undefined
  #failures = 0
  #closed = false

  constructor(
    client: EtcdClient,
    range: { readonly key: string; readonly range_end: string },
    clock: Clock,
    changed: () => void,
  ) {
    this.#client = client
    this.#range = range
    this.#clock = clock
    this.#changed = changed
    this.#unlisten = client.onFailed((endpoint) => {
      if (endpoint === this.#endpoint) this.#connection.abort()
    })
    void this.#run()
  }

  close(): void {
    this.#closed = true
    this.#timer?.cancel()
    this.#unlisten()
    this.#connection.abort()
  }

  async #run(): Promise<void> {
    this.#connection = new AbortController()
    this.#endpoint = this.#client.endpoint
    const endpoint = this.#endpoint
    try {
      const body = { create_request: this.#range }
      const response = await this.#client.stream('/v3/watch', body, this.#connection.signal)
      await this.#hear(response as AsyncIterable<Buffer>)
    } catch {
      // Whoever reads says what is wrong; here it only matters that there is no stream.
    }
    this.#endpoint = undefined
    if (this.#closed) return
    // Not through `leave`, which would tell this one too: it has ended already.
    if (!this.#connection.signal.aborted) this.#client.leave(endpoint)
    this.#connection.abort()
    const delayMs = Math.min(AGAIN_MS_FIRST * 2 ** Math.min(this.#failures, 10), AGAIN_MS_MAX)
    this.#failures += 1
    this.#timer = this.#clock.schedule(delayMs, () => void this.#run())
  }

  async #hear(chunks: AsyncIterable<Buffer>): Promise<void> {
    let rest: Buffer[] = []
    let bytes = 0
    for await (const chunk of chunks) {
      if (this.#closed) return
      const end = chunk.lastIndexOf(0x0a)
      bytes += chunk.byteLength
      if (bytes > LINE_BYTES_MAX) throw new Error('a line is too long')
      if (end < 0) {
        rest.push(chunk)
        continue
      }
      const lines = Buffer.concat([...rest, chunk.subarray(0, end)])
      rest = [chunk.subarray(end + 1)]
      bytes = chunk.byteLength - end - 1
      for (const line of lines.toString().split('\n')) if (line !== '') this.#line(JSON.parse(line))
    }
  }

  #line(value: unknown): void {
    const result = isObject(value) ? value['result'] : undefined
    if (!isObject(result)) throw new Error('the stream ended with an error')
    if (result['canceled'] === true) {
      if (/auth|user|token/.test(String(result['cancel_reason']))) this.#client.forgetLogin()
      throw new Error(`the watch was cancelled: ${String(result['cancel_reason'])}`)
    }
    this.#failures = 0
    this.#changed()
  }
}
