/** The bodies of the messages that authenticate: see authentication.ts. */
import { LIMITS } from './limits.ts'
import type { AuthBegin, AuthChallenge, AuthDone, AuthProof } from './messages.ts'
import { FieldWriter, MAGIC, unsendable, violation, type FieldReader } from './wire.ts'

const MECHANISMS: readonly (AuthBegin['mechanism'] | undefined)[] = [undefined, 'secret', 'certificate']
const NONE: Uint8Array = new Uint8Array()

export function encodeAuthBegin(typeByte: number, begin: AuthBegin): Uint8Array {
  const writer = new FieldWriter(typeByte)
  writer.fixed32(1, MAGIC)
  writer.u32(2, begin.version)
  writer.u32(3, MECHANISMS.indexOf(begin.mechanism))
  writer.text(4, begin.name, LIMITS.nameBytesMax)
  writer.fixedBytes(5, whole(begin.nonce), LIMITS.authBytes)
  writer.u32(6, begin.compression ? 1 : 0)
  return writer.finish()
}

export function decodeAuthBegin(reader: FieldReader): AuthBegin {
  let magic = 0
  let version = 0
  let mechanism = 0
  let name = ''
  let nonce: Uint8Array = NONE
  let compression = false
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        magic = reader.fixed32()
        break
      case 2:
        version = reader.u32()
        break
      case 3:
        mechanism = reader.u32()
        break
      case 4:
        name = reader.text(LIMITS.nameBytesMax)
        break
      case 5:
        nonce = reader.fixedBytes(LIMITS.authBytes)
        break
      case 6:
        compression = reader.u32(1) === 1
        break
      default:
        reader.skip()
    }
  }
  const mechanismName = MECHANISMS[mechanism]
  if (magic !== MAGIC) throw violation('an AuthBegin does not begin as one')
  if (version < 1) throw violation('an AuthBegin names no version')
  if (mechanismName === undefined) throw violation(`mechanism ${mechanism} of an AuthBegin is unknown`)
  return {
    type: 'authBegin',
    version,
    mechanism: mechanismName,
    name,
    nonce: received(nonce, 'an AuthBegin'),
    compression,
  }
}

/** AuthChallenge and AuthProof: 32 bytes in field 1. */
export function encodeAuthBytes(typeByte: number, bytes: Uint8Array): Uint8Array {
  const writer = new FieldWriter(typeByte)
  writer.fixedBytes(1, whole(bytes), LIMITS.authBytes)
  return writer.finish()
}

export function decodeAuthChallenge(reader: FieldReader): AuthChallenge {
  return { type: 'authChallenge', nonce: received(readBytes(reader), 'an AuthChallenge') }
}

export function decodeAuthProof(reader: FieldReader): AuthProof {
  return { type: 'authProof', proof: received(readBytes(reader), 'an AuthProof') }
}

export function encodeAuthDone(typeByte: number, done: AuthDone): Uint8Array {
  const writer = new FieldWriter(typeByte)
  writer.fixedBytes(1, done.signature, LIMITS.authBytes)
  writer.u32(2, done.compression ? 1 : 0)
  return writer.finish()
}

export function decodeAuthDone(reader: FieldReader): AuthDone {
  let signature: Uint8Array = NONE
  let compression = false
  while (reader.next()) {
    if (reader.field === 1) signature = reader.fixedBytes(LIMITS.authBytes)
    else if (reader.field === 2) compression = reader.u32(1) === 1
    else reader.skip()
  }
  return { type: 'authDone', signature, compression }
}

function readBytes(reader: FieldReader): Uint8Array {
  let bytes: Uint8Array = NONE
  while (reader.next()) {
    if (reader.field === 1) bytes = reader.fixedBytes(LIMITS.authBytes)
    else reader.skip()
  }
  return bytes
}

function whole(bytes: Uint8Array): Uint8Array {
  if (bytes.length === 0) throw unsendable('a nonce or proof is missing')
  return bytes
}

function received(bytes: Uint8Array, where: string): Uint8Array {
  if (bytes.length === 0) throw violation(`${where} has no nonce or proof`)
  return bytes
}
