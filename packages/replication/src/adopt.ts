/**
 * A storage whose file others write, also while this node is away: whatever it holds is what the end of the log stands for.
 *
 * Decides: the position that such a storage begins with. Leaves to others: the base that must follow, from which followers
 * make their files equal.
 *
 * 1. Nothing of the log is applied: the file is the truth, not the log.
 * 2. A chain at the end of the log whose last part is missing is cut off; nobody was ever told that it is durable.
 * 3. The stored position spares reading the whole log when it is of this log; it may be any other database's.
 */
import { FLAG_CONTINUES, type Log, type LogRecord, type Lsn, type Storage } from '@understudy/contracts'

/** Everything in the log must be durable. The storage is at its end afterwards, and not `physical`. Throws what `begin` throws. */
export function adoptStorage<C, T>(log: Log, storage: Storage<C, T>): void {
  const incompleteFrom = findIncomplete(log, firstToRead(log, storage))
  if (incompleteFrom !== undefined) log.truncateAfter(incompleteFrom - 1)
  storage.begin()
  try {
    storage.mark(log.end)
    storage.commit()
  } finally {
    storage.rollback()
  }
}

function firstToRead<C, T>(log: Log, { applied }: Storage<C, T>): Lsn {
  const isOfLog =
    applied.lsn >= log.first && applied.lsn <= log.durable && log.crcAt(applied.lsn) === applied.crc
  return isOfLog ? applied.lsn + 1 : log.first
}

/** First LSN of a chain that the log ends in the middle of. */
function findIncomplete(log: Log, from: Lsn): Lsn | undefined {
  let chain: LogRecord | undefined
  for (const record of log.records(from, log.durable)) {
    const continues = (record.flags & FLAG_CONTINUES) !== 0
    if (!continues) chain = undefined
    else if (chain?.epoch !== record.epoch) chain = record
  }
  return chain?.lsn
}
