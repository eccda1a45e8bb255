/**
 * What the end of a log may hold that nobody may see yet: the group that waited for acks when its leader stopped.
 *
 * Decides: up to where a log proves, by itself, that its records may be shown. Leaves to others: showing them, acks.
 *
 * Validity conditions:
 * 1. A leader appends no group before the one before it is acknowledged, or the rule was lowered by a record. So in each
 *    epoch only the last group can lack acks, and any record of the epoch after it proves that it does not.
 * 2. An epoch's first record and the record of its ack rule right after it prove nothing: they are written before what a former
 *    epoch left is acknowledged.
 */
import {
  CONTROL_ACKS,
  FLAG_AWAITS_ACKS,
  FLAG_CONTINUES,
  FLAG_JOINS_GROUP,
  FORMAT_CONTROL,
  type Log,
  type LogRecord,
  type Lsn,
} from '@understudy/contracts'

/** The last LSN of a log that may be shown without asking anybody. */
export function shownUpTo(log: Log): Lsn {
  const tail = awaitingTail(log)
  return tail === undefined ? log.durable : tail.from - 1
}

/** The group that may lack acks; records of epochs that began after it may follow. */
export function awaitingTail(log: Log): { readonly from: Lsn; readonly end: Lsn } | undefined {
  const end = lastGroupEnd(log)
  const from = beginOfAwaiting(log, end)
  return from === undefined ? undefined : { from, end }
}

/** The last LSN up to `upTo` that is not of the beginning of an epoch: the end of a group. */
export function lastGroupEnd(log: Log, upTo: Lsn = log.durable): Lsn {
  let end = upTo
  for (const { firstLsn } of log.history.toReversed()) {
    if (firstLsn > end) continue
    if (end > firstLsn + 1 || (end === firstLsn + 1 && !isAckRule(recordAt(log, end)))) break
    end = firstLsn - 1
  }
  return end
}

/** First LSN of a chain that the log ends in the middle of. */
export function unfinishedFrom(log: Log): Lsn | undefined {
  let record = recordAt(log, log.durable)
  if (record === undefined || (record.flags & FLAG_CONTINUES) === 0) return undefined
  for (;;) {
    const before = recordAt(log, record.lsn - 1)
    if (before === undefined || before.epoch !== record.epoch || (before.flags & FLAG_CONTINUES) === 0)
      return record.lsn
    record = before
  }
}

export function beginOfAwaiting(log: Log, end: Lsn): Lsn | undefined {
  let record = recordAt(log, end)
  if (record === undefined || (record.flags & FLAG_AWAITS_ACKS) === 0) return undefined
  while ((record.flags & FLAG_JOINS_GROUP) !== 0) {
    const before = recordAt(log, record.lsn - 1)
    if (before === undefined) break
    record = before
  }
  return record.lsn
}

function isAckRule(record: LogRecord | undefined): boolean {
  return record?.format === FORMAT_CONTROL && record.payload[0] === CONTROL_ACKS
}

/** `undefined` when it was collected: then a checkpoint holds it, so that it was shown. */
function recordAt(log: Log, lsn: Lsn): LogRecord | undefined {
  if (lsn < log.first) return undefined
  for (const record of log.records(lsn, lsn)) return record
  return undefined
}
