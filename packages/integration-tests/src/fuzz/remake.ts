/**
 * Damage behind the decoder: a sound message with one value that is legal on the wire and wrong for the receiver.
 *
 * Numbers become limits or neighbours of themselves (an LSN with a gap, going back, far ahead), names become those that
 * objects, files and SQL treat specially, lists are repeated, cut and turned round.
 */
import { decodeMessage, encodeMessage, type Message } from '@understudy/protocol'
import type { SeededRandom } from '@understudy/testkit'

const NUMBERS: readonly number[] = [0, 1, 2, 3, 255, 256, 65_536, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1]
export const NAMES: readonly string[] = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  '',
  'local',
  'sqlite_master',
  '../../../../tmp/understudy-fuzz-escape',
  '/tmp/understudy-fuzz-escape',
  '..',
  '.',
  'a\u0000b',
  `"'\`;--`,
  '\uFFFD\u202E',
  'n'.repeat(255),
]
const TEXTS: readonly string[] = [
  ...NAMES,
  'select 1',
  "attach 'understudy-fuzz-escape' as x",
  'pragma journal_mode=delete',
  'begin',
  'commit',
  'rollback',
  'select ' + '('.repeat(2000) + '1' + ')'.repeat(2000),
  'select 1;'.repeat(20),
  "vacuum into 'understudy-fuzz-escape'",
]

interface Leaf {
  readonly holder: Record<string | number, unknown>
  readonly key: string | number
}

/** `undefined` when the frame is no message, or what became of it cannot be sent. */
export function remake(frame: Uint8Array, random: SeededRandom): Uint8Array | undefined {
  let message: Message
  try {
    message = decodeMessage(frame)
  } catch {
    return undefined
  }
  const leaves: Leaf[] = []
  collect(message, leaves)
  if (leaves.length === 0) return undefined
  for (let n = random.chance(0.3) ? 2 : 1; n > 0; n--) replace(random.pick(leaves), random)
  try {
    return Uint8Array.from(Buffer.concat(encodeMessage(message)))
  } catch {
    return undefined
  }
}

function collect(value: object, leaves: Leaf[]): void {
  const holder = value as Record<string | number, unknown>
  for (const key of Object.keys(holder)) {
    if (key === 'type' || key === 'kind') continue
    const inside = holder[key]
    leaves.push({ holder, key })
    if (typeof inside === 'object' && inside !== null && !(inside instanceof Uint8Array))
      collect(inside, leaves)
  }
}

function replace({ holder, key }: Leaf, random: SeededRandom): void {
  const value = holder[key]
  if (typeof value === 'number')
    holder[key] = random.chance(0.5) ? random.pick(NUMBERS) : value + random.between(-2, 2)
  else if (typeof value === 'bigint') holder[key] = BigInt(random.pick(NUMBERS))
  else if (typeof value === 'boolean') holder[key] = !value
  else if (typeof value === 'string') holder[key] = random.pick(TEXTS)
  else if (value instanceof Uint8Array) holder[key] = random.bytes(random.pick([0, 1, 16, 32, value.length]))
  else if (Array.isArray(value)) holder[key] = relist(value, random)
}

function relist(list: readonly unknown[], random: SeededRandom): unknown[] {
  switch (random.below(4)) {
    case 0:
      return []
    case 1:
      return list.toReversed()
    case 2:
      return [...list, ...list]
    default:
      return list.flatMap((item) => Array.from({ length: 1 + random.below(40) }, () => item))
  }
}
