/** Latencies of a measurement: HDR histograms in microseconds, as text where they travel or are kept. Pure. */
import {
  build,
  decodeFromCompressedBase64,
  encodeIntoCompressedBase64,
  type Histogram,
} from 'hdr-histogram-js'

export type { Histogram }

/** A histogram in the HDR format V2, compressed, base64. Values are microseconds. */
export type EncodedHistogram = string

/** One microsecond to an hour, three digits. */
const HIGHEST_US = 3_600_000_000

export function histogram(): Histogram {
  return build({ bitBucketSize: 32, highestTrackableValue: HIGHEST_US, numberOfSignificantValueDigits: 3 })
}

export function recordMs(into: Histogram, milliseconds: number): void {
  into.recordValue(Math.min(HIGHEST_US, Math.max(0, Math.round(milliseconds * 1000))))
}

export function encode(of: Histogram): EncodedHistogram {
  return encodeIntoCompressedBase64(of)
}

/** Throws what the library throws for text that is no histogram. */
export function decode(text: EncodedHistogram): Histogram {
  return decodeFromCompressedBase64(text)
}

/** All of them as one; `undefined` for none. */
export function merged(texts: readonly EncodedHistogram[]): Histogram | undefined {
  if (texts.length === 0) return undefined
  const sum = histogram()
  for (const text of texts) sum.add(decode(text))
  return sum
}

/** Milliseconds. */
export function percentileMs(of: Histogram, percentile: number): number {
  return of.getValueAtPercentile(percentile) / 1000
}
