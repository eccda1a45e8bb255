/**
 * Where a new leader starts to give ids.
 *
 * Decides: whether it must set its counters, and what to; whether it may give ids before anybody else knows of its first ceilings. Leaves
 * to others: which ceilings a counter starts above (`firstIds`), the write.
 *
 * Validity conditions:
 * 1. A leader that starts again after its own last epoch goes on where it was: its log holds every id that it answered.
 * 2. Who led the last epoch says the history, so that a node which takes another's place need not be told.
 * 3. Two leaders have two numbers of epochs. One that may have led without this node's knowing, because its number was passed over or
 *    its first write is not here, gave ids above the same ceilings, up to its own first one: this leader starts above those. So does the
 *    next one after this, and the first ceilings need nobody's word.
 * 4. That holds while ceilings which some node has and another may lack are less apart than is passed over.
 */
import { FORMAT_CONTROL, type Log, type Lsn } from '@understudy/contracts'
import { ID_LEAP, ID_STEP, firstIds } from './id-ceilings.ts'
import type { BecomeLeaderOptions } from './leader.ts'

export interface IdStart {
  /** What the first write of the epoch does, before which nobody else may write. */
  readonly run: () => void
  /** Tables whose first ceilings are in force at once; filled by `run`. */
  readonly grants: ReadonlySet<string>
}

/** `undefined` when there is nothing to do. To be asked before the epoch begins. */
export function idStart<C, T>({
  storage,
  log,
  node,
  ids = {},
}: BecomeLeaderOptions<C, T>): IdStart | undefined {
  const { ids: table } = storage
  if (table === undefined || ids === false) return undefined
  const { ceilings: given = new Map<string, bigint>(), raise = false } = ids
  const last = log.history.at(-1)
  const isPromotion = last !== undefined && last.leader !== node
  if (!isPromotion && !raise && given.size === 0) return undefined
  const known = missedEpochs(log)
  const grants = new Set<string>()
  const run = (): void => {
    const stored = table.stored()
    const ceilings = new Map([...stored.ceilings].map(([name, { ceiling }]) => [name, ceiling]))
    let isAbove = false
    for (const [name, ceiling] of given) {
      if (ceiling <= (ceilings.get(name) ?? 0n)) continue
      ceilings.set(name, ceiling)
      isAbove = true
    }
    if (!isPromotion && !raise && !isAbove) return
    const skipped = last === undefined ? 0 : (log.history.at(-1)?.number ?? 0) - last.number - 1
    const missed = known + Math.max(0, skipped)
    const start = { counters: table.counters(), ceilings, isMember: !raise, acceptLoss: raise, missed }
    for (const [name, first] of firstIds(start)) {
      table.setCounter(name, first)
      const apart = (ceilings.get(name) ?? 0n) - (stored.ceilings.get(name)?.inForce ?? 0n)
      if (raise || apart <= ID_STEP / 4n) grants.add(name)
    }
    // The former leader may have given ids of tables that this node does not know.
    if (raise) table.putFloor(stored.floor + ID_LEAP * BigInt(missed + 1))
  }
  return { run, grants }
}

/** Epochs at the end of the history that a node began in the place of another one, and whose first write is not in the log. */
function missedEpochs(log: Log): number {
  const { history } = log
  let missed = 0
  let end = log.end.lsn
  for (let at = history.length - 1; at >= 0; at--) {
    const { number, leader, firstLsn } = history[at] as (typeof history)[number]
    // Of an epoch that was collected nobody can tell; its no-op alone is none.
    const isCollected = firstLsn < log.first && end > firstLsn
    if (isCollected || holdsWrite(log, firstLsn + 1, end)) return missed
    const before = history[at - 1]
    if (before !== undefined) missed += number - before.number - (before.leader === leader ? 1 : 0)
    end = firstLsn - 1
  }
  return missed
}

function holdsWrite(log: Log, from: Lsn, end: Lsn): boolean {
  if (from > end) return false
  for (const { format } of log.records(from, end)) if (format !== FORMAT_CONTROL) return true
  return false
}
