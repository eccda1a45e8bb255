/**
 * The messages that begin and end a connection: Hello, Welcome, Refuse; and the choice of a version.
 *
 * 1. The bytes of Hello and Refuse stay readable by every version: fields are only ever added.
 * 2. A Hello always fits into `LIMITS.helloBytesMax`: of a long epoch history the oldest entries are left out. They are
 *    not needed to find where two logs part, unless they parted that many epochs ago, which ends in a snapshot.
 */
import { ERROR_CODES, UnderstudyError, type EpochEntry, type ErrorCode } from '@understudy/contracts'
import { LIMITS } from './limits.ts'
import type { FormatVersion, Hello, Purpose, Refuse, Verdict, Welcome } from './messages.ts'
import { checkHistory, historyFault, readEpoch, readPoint, writeEpoch, writePoint } from './points.ts'
import { FieldReader, FieldWriter, MAGIC, unsendable, violation } from './wire.ts'

/** The newest protocol version that this package speaks. */
export const PROTOCOL_VERSION = 1
/** The oldest one. */
export const PROTOCOL_VERSION_MIN = 1

const PURPOSES: readonly (Purpose | undefined)[] = [undefined, 'replicate', 'snapshot', 'client', 'member']
const ORIGIN_POINT = { epoch: 0, lsn: 0, crc: 0 }

/**
 * The version to answer a Hello with: the newest that both ends speak. Throws `PROTOCOL_VERSION` when there is none.
 */
export function negotiateVersion(hello: Pick<Hello, 'versionMin' | 'versionMax'>): number {
  const version = Math.min(PROTOCOL_VERSION, hello.versionMax)
  if (version >= PROTOCOL_VERSION_MIN && version >= hello.versionMin) return version
  throw new UnderstudyError(
    'PROTOCOL_VERSION',
    `The peer speaks protocol versions ${hello.versionMin} to ${hello.versionMax}, this node ${PROTOCOL_VERSION_MIN} to ${PROTOCOL_VERSION}. ` +
      'Nothing was exchanged; bring the older of the two to a newer release.',
    { versionMin: hello.versionMin, versionMax: hello.versionMax },
  )
}

export function encodeHello(typeByte: number, hello: Hello): Uint8Array {
  if (hello.versionMin < 1 || hello.versionMin > hello.versionMax)
    throw unsendable(`${hello.versionMin} to ${hello.versionMax} is no range of versions`)
  const fault = historyFault(hello.history)
  if (fault !== undefined) throw unsendable(`the epoch history is out of order: ${fault}`)
  const writer = new FieldWriter(typeByte)
  writer.fixed32(1, MAGIC)
  writer.u32(2, hello.versionMin)
  writer.u32(3, hello.versionMax)
  writer.u32(4, PURPOSES.indexOf(hello.purpose))
  writer.text(5, hello.cluster, LIMITS.nameBytesMax)
  writer.text(6, hello.node, LIMITS.nameBytesMax)
  writePoint(writer, 7, hello.end)
  writer.list(8, hello.formats, LIMITS.formatsMax, (format) => {
    writer.u32(1, format.id)
    writer.u32(2, format.version)
    if (format.fingerprint !== undefined) writer.text(3, format.fingerprint, LIMITS.nameBytesMax)
  })
  for (const entry of newestEpochs(hello.history, LIMITS.helloBytesMax - writer.length))
    writer.nested(9, entry)
  return writer.finish()
}

/** The newest entries, encoded, oldest first, whose fields take at most `bytesMax`. */
function newestEpochs(history: readonly EpochEntry[], bytesMax: number): Uint8Array[] {
  const entries: Uint8Array[] = []
  let room = bytesMax
  for (const entry of history.toReversed()) {
    const writer = new FieldWriter()
    writeEpoch(writer, entry)
    const bytes = writer.finish()
    // A byte for the field, one or two for the length.
    room -= bytes.length + (bytes.length < 128 ? 2 : 3)
    if (room < 0) break
    entries.push(bytes)
  }
  return entries.toReversed()
}

export function decodeHello(reader: FieldReader): Hello {
  let magic = 0
  let versionMin = 0
  let versionMax = 0
  let purpose = 0
  let cluster = ''
  let node = ''
  let end = ORIGIN_POINT
  const formats: FormatVersion[] = []
  const history: EpochEntry[] = []
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        magic = reader.fixed32()
        break
      case 2:
        versionMin = reader.u32()
        break
      case 3:
        versionMax = reader.u32()
        break
      case 4:
        purpose = reader.u32()
        break
      case 5:
        cluster = reader.text(LIMITS.nameBytesMax)
        break
      case 6:
        node = reader.text(LIMITS.nameBytesMax)
        break
      case 7:
        end = reader.message(readPoint)
        break
      case 8:
        reader.element(formats, LIMITS.formatsMax, readFormat)
        break
      case 9:
        reader.element(history, LIMITS.epochsMax, readEpoch)
        break
      default:
        reader.skip()
    }
  }
  if (magic !== MAGIC) throw violation('a Hello does not begin as one')
  if (versionMin < 1 || versionMin > versionMax)
    throw violation(`${versionMin} to ${versionMax} is no range of versions`)
  const purposeName = PURPOSES[purpose]
  if (purposeName === undefined) {
    // A purpose of a newer version: say that, when that is so, rather than that the bytes are wrong.
    negotiateVersion({ versionMin, versionMax })
    throw violation(`purpose ${purpose} of a Hello is unknown`)
  }
  checkHistory(history)
  return { type: 'hello', versionMin, versionMax, purpose: purposeName, cluster, node, history, end, formats }
}

function readFormat(reader: FieldReader): FormatVersion {
  let id = 0
  let version = 0
  let fingerprint = ''
  while (reader.next()) {
    if (reader.field === 1) id = reader.u32()
    else if (reader.field === 2) version = reader.u32()
    else if (reader.field === 3) fingerprint = reader.text(LIMITS.nameBytesMax)
    else reader.skip()
  }
  return fingerprint === '' ? { id, version } : { id, version, fingerprint }
}

export function encodeWelcome(typeByte: number, welcome: Welcome): Uint8Array {
  if (welcome.version < 1) throw unsendable(`${welcome.version} is no version`)
  const fault = historyFault(welcome.history)
  if (fault !== undefined) throw unsendable(`the epoch history is out of order: ${fault}`)
  const writer = new FieldWriter(typeByte)
  writer.u32(1, welcome.version)
  writer.text(2, welcome.cluster, LIMITS.nameBytesMax)
  writer.text(3, welcome.node, LIMITS.nameBytesMax)
  writePoint(writer, 4, welcome.end)
  writeVerdict(writer, welcome.verdict)
  writer.u32(8, welcome.heartbeatMs, LIMITS.durationMsMax)
  writer.u32(9, welcome.deadlineMs, LIMITS.durationMsMax)
  writer.list(10, welcome.history, LIMITS.epochsMax, (entry) => writeEpoch(writer, entry))
  return writer.finish()
}

function writeVerdict(writer: FieldWriter, verdict: Verdict): void {
  switch (verdict.kind) {
    case 'continue':
      writer.u64(5, verdict.from, { always: true })
      break
    case 'truncate':
      writer.u64(6, verdict.after, { always: true })
      break
    case 'snapshot':
      writer.text(7, cutText(verdict.reason), LIMITS.messageBytesMax, { always: true })
      break
  }
}

export function decodeWelcome(reader: FieldReader): Welcome {
  let version = 0
  let cluster = ''
  let node = ''
  let end = ORIGIN_POINT
  let verdict: Verdict | undefined
  let heartbeatMs = 0
  let deadlineMs = 0
  const history: EpochEntry[] = []
  while (reader.next()) {
    switch (reader.field) {
      case 1:
        version = reader.u32()
        break
      case 2:
        cluster = reader.text(LIMITS.nameBytesMax)
        break
      case 3:
        node = reader.text(LIMITS.nameBytesMax)
        break
      case 4:
        end = reader.message(readPoint)
        break
      case 5:
        verdict = { kind: 'continue', from: reader.u64() }
        break
      case 6:
        verdict = { kind: 'truncate', after: reader.u64() }
        break
      case 7:
        verdict = { kind: 'snapshot', reason: reader.text(LIMITS.messageBytesMax) }
        break
      case 8:
        heartbeatMs = reader.u32(LIMITS.durationMsMax)
        break
      case 9:
        deadlineMs = reader.u32(LIMITS.durationMsMax)
        break
      case 10:
        reader.element(history, LIMITS.epochsMax, readEpoch)
        break
      default:
        reader.skip()
    }
  }
  if (version < 1) throw violation('a Welcome names no version')
  if (verdict === undefined) throw violation('a Welcome has no verdict that this version knows')
  checkHistory(history)
  return { type: 'welcome', version, cluster, node, history, end, verdict, heartbeatMs, deadlineMs }
}

/** Writes the fields of a Refuse, also as the error of a Response. */
export function writeRefusal(writer: FieldWriter, refusal: { code: ErrorCode; message: string }): void {
  writer.text(1, refusal.code, LIMITS.nameBytesMax)
  writer.text(2, cutText(refusal.message), LIMITS.messageBytesMax)
}

/**
 * Reads what `writeRefusal` wrote. A code that this version does not know, sent by a newer one, becomes `PEER_ERROR`,
 * and the message begins with it. `more` reads the other fields that it knows.
 */
export function readRefusal(
  reader: FieldReader,
  more: () => boolean = () => false,
): { code: ErrorCode; message: string } {
  let code = ''
  let message = ''
  while (reader.next()) {
    if (reader.field === 1) code = reader.text(LIMITS.nameBytesMax)
    else if (reader.field === 2) message = reader.text(LIMITS.messageBytesMax)
    else if (!more()) reader.skip()
  }
  if (Object.hasOwn(ERROR_CODES, code)) return { code: code as ErrorCode, message }
  if (!/^[A-Z][A-Z0-9_]*$/.test(code)) throw violation('an error has no code')
  return { code: 'PEER_ERROR', message: cutText(`${code}: ${message}`) }
}

export function encodeRefuse(typeByte: number, refuse: Refuse): Uint8Array {
  const writer = new FieldWriter(typeByte)
  writeRefusal(writer, refuse)
  return writer.finish()
}

/** Cuts a text for people to what fits on the wire, at a whole character. */
function cutText(text: string): string {
  const bytesMax = LIMITS.messageBytesMax
  if (Buffer.byteLength(text) <= bytesMax) return text
  // A string of n UTF-16 units has at most 3n bytes; a cut surrogate becomes U+FFFD, which has 3 bytes too.
  return text.slice(0, Math.floor(bytesMax / 3))
}
