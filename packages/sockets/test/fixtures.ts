/**
 * The certificates of the testkit and a clock that is moved by hand. The testkit has both as code, but stands in the
 * same layer as this package.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Clock, Timer } from '@understudy/contracts'

/** The text of a certificate (`server`), an authority (`ca`) or a key (`server.key`). */
export function pem(name: string): string {
  const file = name.endsWith('.key') ? name : `${name}.pem`
  return readFileSync(new URL(`../../testkit/certificates/${file}`, import.meta.url), 'utf8')
}

export function certificateTexts(name: string): { cert: string; key: string; ca: string } {
  return { cert: pem(name), key: pem(`${name}.key`), ca: pem('ca') }
}

interface PemFile {
  readonly file: string
}

/** Writes a certificate, its key and `ca` into `folder`, over those that are there. */
export function certificateFiles(folder: string, name: string): { cert: PemFile; key: PemFile; ca: PemFile } {
  const texts = certificateTexts(name)
  const write = (option: 'cert' | 'key' | 'ca', mode: number): PemFile => {
    const file = join(folder, `${option}.pem`)
    writeFileSync(file, texts[option], { mode })
    return { file }
  }
  return { cert: write('cert', 0o644), key: write('key', 0o600), ca: write('ca', 0o644) }
}

/** Time stands still but for `advance`. */
export class ManualClock implements Clock {
  readonly #startMs: number
  readonly #waiting = new Set<{ atMs: number; run: () => void }>()
  #timeMs = 0

  constructor(startMs: number = Date.UTC(2025, 0, 1)) {
    this.#startMs = startMs
  }

  /** Calls that wait for their time. */
  get pending(): number {
    return this.#waiting.size
  }

  now(): number {
    return this.#startMs + this.#timeMs
  }

  monotonic(): number {
    return this.#timeMs
  }

  schedule(delayMs: number, run: () => void): Timer {
    const call = { atMs: this.#timeMs + delayMs, run }
    this.#waiting.add(call)
    return { cancel: () => this.#waiting.delete(call) }
  }

  advance(ms: number): void {
    this.#timeMs += ms
    for (const call of this.#waiting) {
      if (call.atMs > this.#timeMs) continue
      this.#waiting.delete(call)
      call.run()
    }
  }
}
