/** The message between members of a cluster: its bytes follow the type byte as they are. */
import { LIMITS } from './limits.ts'
import type { MemberWord } from './messages.ts'
import { plainView, unsendable, violation } from './wire.ts'

export function encodeMemberWord(typeByte: number, { bytes }: MemberWord): Uint8Array[] {
  if (bytes.length === 0 || bytes.length > LIMITS.memberWordBytesMax)
    throw unsendable(`a word of ${bytes.length} bytes, not 1 to ${LIMITS.memberWordBytesMax}`)
  return [Uint8Array.of(typeByte), bytes]
}

export function decodeMemberWord(frame: Uint8Array): MemberWord {
  const length = frame.length - 1
  if (length < 1 || length > LIMITS.memberWordBytesMax)
    throw violation(`a word of ${length} bytes, not 1 to ${LIMITS.memberWordBytesMax}`)
  return { type: 'memberWord', bytes: plainView(frame, 1) }
}
