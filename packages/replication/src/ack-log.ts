/**
 * What a log says of acks: the rules in force at its end, and what a group there that waits for acks must satisfy.
 *
 * Decides: where to look. Leaves to others: what a record means (ack-change), which records may be hidden (shown).
 *
 * Validity conditions:
 * 1. A leader keeps the newest record of a rule above its own slot, and writes it again before the slot passes it (`keepsFrom` of the
 *    pipeline): what lies below the slot says nothing that is not said again above it.
 * 2. An epoch begins with the rule `local` unless a record of it comes right after its first one. An epoch of its first record alone
 *    says nothing: the record of its rule may have been torn off.
 * 3. A group whose rules are not those of the cluster says so in its first record; in its last where it is of pages.
 */
import {
  CONTROL_ACKS,
  CONTROL_EPOCH,
  CONTROL_GROUP_ACKS,
  FORMAT_CONTROL,
  LOCAL_SLOT,
  type Log,
  type LogRecord,
  type Lsn,
} from '@understudy/contracts'
import { parseAckRecord, parseGroupRules, stateAfter, type AckRecord, type AckState } from './ack-change.ts'
import { LOCAL, type AckRule } from './ack-rule.ts'

/** Records that are looked at in one go, from the end backwards. */
const WINDOW = 4096

/** The rules in force at the end of what is durable; `local` when it does not say. Throws `FORMAT_VERSION`. */
export function ackStateOf(log: Log): AckState {
  return knownAckState(log) ?? { rule: LOCAL }
}

/** The same, `undefined` when the log does not reach back to where it was said, as after a snapshot. */
export function knownAckState(log: Log): AckState | undefined {
  if (log.durable === 0) return { rule: LOCAL }
  const bottom = Math.max(log.first, (log.slots.get(LOCAL_SLOT)?.lsn ?? 0) + 1)
  for (let to = log.durable; to >= bottom; to -= WINDOW) {
    const from = Math.max(bottom, to - WINDOW + 1)
    const found = newestOf(log, from, to)
    if (found !== undefined) return found
  }
  return bottom === 1 ? { rule: LOCAL } : undefined
}

/**
 * The same for one who asks all the time: only what came since the last time is read. Most records are of rows, and the newest one of a rule may
 * lie many megabytes back.
 */
export class AckStates {
  #seen:
    | { readonly log: Log; readonly lsn: Lsn; readonly crc: number; readonly state: AckState | undefined }
    | undefined

  /** `local` when the log does not say. */
  of(log: Log): AckState {
    return this.known(log) ?? { rule: LOCAL }
  }

  known(log: Log): AckState | undefined {
    const seen = this.#seen
    const { durable } = log
    const goesOn =
      seen?.log === log && seen.lsn >= log.first && seen.lsn <= durable && log.crcAt(seen.lsn) === seen.crc
    if (goesOn && seen.lsn === durable) return seen.state
    const state = goesOn ? (newestOf(log, seen.lsn + 1, durable) ?? seen.state) : knownAckState(log)
    const crc = log.crcAt(durable)
    this.#seen = crc === undefined ? undefined : { log, lsn: durable, crc, state }
    return state
  }
}

/** The newest record from `from` on that says the rule of the cluster; `asks`: whether that asks for acks. */
export function newestAckRecord(
  log: Log,
  from: Lsn,
): { readonly lsn: Lsn; readonly asks: boolean } | undefined {
  let newest: { readonly lsn: Lsn; readonly asks: boolean } | undefined
  for (const record of log.records(Math.max(from, log.first))) {
    if (record.format !== FORMAT_CONTROL) continue
    const said = ackRecordOf(record)
    if (said !== undefined)
      newest = { lsn: record.lsn, asks: said.kind === 'change' || said.rule.of !== undefined }
  }
  return newest
}

/** The rules of a group, when they are not those of the cluster. */
export function groupRulesOf(
  log: Log,
  { from, end }: { readonly from: Lsn; readonly end: Lsn },
): AckRule[] | undefined {
  return groupRulesAt(log, from) ?? groupRulesAt(log, end)
}

function groupRulesAt(log: Log, lsn: Lsn): AckRule[] | undefined {
  if (lsn < log.first) return undefined
  for (const { format, payload } of log.records(lsn, lsn))
    if (format === FORMAT_CONTROL && payload[0] === CONTROL_GROUP_ACKS)
      return parseGroupRules(textOf(payload))
  return undefined
}

/** What a record says of the rule of the cluster. */
export function ackRecordOf({
  format,
  payload,
}: Pick<LogRecord, 'format' | 'payload'>): AckRecord | undefined {
  if (format !== FORMAT_CONTROL || payload[0] !== CONTROL_ACKS) return undefined
  return parseAckRecord(textOf(payload))
}

function newestOf(log: Log, from: Lsn, to: Lsn): AckState | undefined {
  let found: AckState | undefined
  let began = log.history.some(({ firstLsn }) => firstLsn === from - 1)
  for (const record of log.records(from, to)) {
    const said = ackRecordOf(record)
    const isEpoch = record.format === FORMAT_CONTROL && record.payload[0] === CONTROL_EPOCH
    if (said !== undefined) found = stateAfter(said)
    else if (began && !isEpoch) found = { rule: LOCAL }
    began = isEpoch
  }
  return found
}

function textOf(payload: Uint8Array): string {
  return Buffer.from(payload.buffer, payload.byteOffset + 1, payload.length - 1).toString()
}
