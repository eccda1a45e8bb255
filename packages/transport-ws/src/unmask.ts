/** Takes the mask of a client off a payload (RFC 6455, section 5.3), four bytes at a time. */

/** Below this setting up costs more than it saves. */
const WORDS_BYTES_MIN = 64
const WORD_BYTES = 4

/** Changes `payload` in place; `mask` has four bytes. */
export function unmask(payload: Uint8Array, mask: Uint8Array): void {
  const { length } = payload
  if (length < WORDS_BYTES_MIN) {
    bytewise(payload, mask, 0, length)
    return
  }
  // Words lie at multiples of four of the memory, not of the payload.
  const head = (WORD_BYTES - (payload.byteOffset % WORD_BYTES)) % WORD_BYTES
  const count = Math.floor((length - head) / WORD_BYTES)
  const turned = new Uint8Array(WORD_BYTES)
  for (let i = 0; i < WORD_BYTES; i++) turned[i] = mask[(head + i) & 3]!
  const word = new Int32Array(turned.buffer)[0]!
  const words = new Int32Array(payload.buffer, payload.byteOffset + head, count)
  bytewise(payload, mask, 0, head)
  for (let i = 0; i < count; i++) words[i] = words[i]! ^ word
  bytewise(payload, mask, head + count * WORD_BYTES, length)
}

function bytewise(payload: Uint8Array, mask: Uint8Array, from: number, to: number): void {
  for (let i = from; i < to; i++) payload[i] = payload[i]! ^ mask[i & 3]!
}
