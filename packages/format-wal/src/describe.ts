/** Payloads for people and tools: plain data that JSON can carry. */
import { decodePayload } from './page-decoder.ts'

export interface DescribedPage {
  readonly page: number
  /** `whole`: against zeros. `runs`: against the image before. */
  readonly mode: 'whole' | 'runs'
  readonly runs: number
  /** Bytes in the runs. */
  readonly bytes: number
}

export interface DescribedPayload {
  readonly kind: 'pages' | 'base'
  readonly pageBytes: number
  readonly pageCount: number
  readonly payloadBytes: number
  readonly compressed: boolean
  /** Of the body before compression. */
  readonly plainBytes: number
  /** Missing for a base. */
  readonly pages?: readonly DescribedPage[]
}

/** Decodes a payload. Throws `RECORD_CORRUPT` or `FORMAT_VERSION`. */
export function describePayload(payload: Uint8Array): DescribedPayload {
  const { base, pageBytes, pageCount, compressed, body, pages } = decodePayload(payload)
  return {
    kind: base ? 'base' : 'pages',
    pageBytes,
    pageCount,
    payloadBytes: payload.length,
    compressed,
    plainBytes: body.length,
    ...(!base && {
      pages: pages.map(({ page, whole, runs, bytes }) => ({
        page,
        mode: whole ? 'whole' : 'runs',
        runs,
        bytes,
      })),
    }),
  }
}
