/** What nodes say of receipts: by rules, and over many histories with failovers. */
import {
  FLAG_ASKS_APPLIED,
  FLAG_AWAITS_ACKS,
  type EpochEntry,
  type LogPoint,
  type ReceiptReference,
  type RecordDraft,
} from '@understudy/contracts'
import { SeededRandom } from '@understudy/testkit'
import { describe, expect, test } from 'vitest'
import { acknowledgedOnFollower, checkedReceipt, verdictOf, type VerdictView } from '../src/index.ts'
import { outcomeOf } from './support/pipeline.ts'
import { MemoryLog } from './support/memory-log.ts'

interface Stored extends LogPoint {
  readonly runId: string
}

const runIdOf = (epoch: number): string => String(epoch).padStart(16, '0')

/** Epochs 1 (records 1–4), 3 (from 5, by a promotion that cut record 5 of epoch 1 off). The log holds records from 4 on. */
const HISTORY: readonly EpochEntry[] = [
  { number: 1, runId: runIdOf(1), leader: 'a', firstLsn: 1, crcBefore: 0 },
  { number: 3, runId: runIdOf(3), leader: 'b', firstLsn: 5, crcBefore: 104 },
]
const VIEW: VerdictView = {
  cluster: 'c',
  history: HISTORY,
  end: { epoch: 3, lsn: 8, crc: 108 },
  crcAt: (lsn) => (lsn >= 4 && lsn <= 8 ? 100 + lsn : undefined),
  acknowledged: 6,
}
const receipt = (epoch: number, lsn: number, more: Partial<ReceiptReference> = {}): ReceiptReference => ({
  cluster: 'c',
  position: { epoch, lsn },
  crc: 100 + lsn,
  runId: runIdOf(epoch),
  ...more,
})
const told = (of: ReceiptReference, view: Partial<VerdictView> = {}): string => {
  const { verdict, epoch } = verdictOf(of, { ...VIEW, ...view })
  return epoch === undefined ? verdict : `${verdict} in epoch ${epoch}`
}
const withoutRun = { cluster: 'c', crc: 102 }

test.each([
  ['held and acknowledged', receipt(3, 6), 'committed'],
  ['held and not acknowledged', receipt(3, 7), 'unknown'],
  ['above the end', receipt(3, 9), 'unknown'],
  ['of an epoch that the node has not heard of', receipt(4, 9), 'unknown'],
  ['below what the log holds', receipt(1, 2), 'committed'],
  ['the last record of an epoch', receipt(1, 4), 'committed'],
  ['cut off by a promotion', receipt(1, 5), 'lost in epoch 3'],
  ['of an epoch that the history does not have', receipt(2, 5), 'lost in epoch 3'],
  ['of another run of an epoch', receipt(3, 6, { runId: 'f'.repeat(16) }), 'lost in epoch 3'],
  ['below what the log holds, without a run', { ...withoutRun, position: { epoch: 1, lsn: 2 } }, 'unknown'],
  ['without a run, held', { ...withoutRun, crc: 106, position: { epoch: 3, lsn: 6 } }, 'committed'],
  [
    'without a run, another record',
    { ...withoutRun, crc: 1, position: { epoch: 3, lsn: 6 } },
    'lost in epoch 3',
  ],
] as const)('%s', (_, of, expected) => {
  expect(told(of)).toBe(expected)
})

test.each([
  ['of another cluster', receipt(3, 6, { cluster: 'd' }), 'FOREIGN_CLUSTER'],
  ['with another CRC in the same run', receipt(3, 6, { crc: 1 }), 'INVALID_ARGUMENT'],
  ['before the first record of its run', receipt(3, 4), 'INVALID_ARGUMENT'],
])('a receipt %s is an error', async (_, of, code) => {
  expect(await outcomeOf(Promise.resolve().then(() => told(of)))).toBe(code)
})

test.each([
  [null, 'cluster'],
  [{ cluster: 'c' }, 'position'],
  [{ cluster: 'c', position: { epoch: 0, lsn: 1 }, crc: 1 }, 'position'],
  [{ cluster: 'c', position: { epoch: 1, lsn: 1.5 }, crc: 1 }, 'position'],
  [{ cluster: 'c', position: { epoch: 1, lsn: 1 }, crc: -1 }, 'crc'],
  [{ cluster: 'c', position: { epoch: 1, lsn: 1 }, crc: 1, runId: 'x' }, 'runId'],
])('what is no receipt is told apart: %j', (value, field) => {
  expect(() => checkedReceipt(value)).toThrow(`field ${field}`)
})

/** A cluster as one sequence of records, of which a promotion cuts off an end that was not acknowledged. */
class Cluster {
  readonly records: Stored[] = []
  history: EpochEntry[] = []
  acknowledged = 0
  readonly receipts: ReceiptReference[] = []
  readonly random: SeededRandom
  #crc = 0

  constructor(random: SeededRandom) {
    this.random = random
    this.promote(0)
  }

  promote(keep: number): void {
    this.records.length = keep
    this.history = this.history.filter(({ firstLsn }) => firstLsn <= keep)
    // Epochs that nobody here has heard of leave gaps.
    const number = (this.receipts.at(-1)?.position.epoch ?? 0) + this.random.between(1, 3)
    const runId = this.random.uint32().toString(16).padStart(16, '0')
    const crcBefore = this.records.at(-1)?.crc ?? 0
    this.history.push({ number, runId, leader: 'x', firstLsn: keep + 1, crcBefore })
    this.append()
  }

  append(): void {
    const { number, runId } = this.history.at(-1) as EpochEntry
    const record = { epoch: number, lsn: this.records.length + 1, crc: ++this.#crc, runId }
    this.records.push(record)
    const { epoch, lsn, crc } = record
    this.receipts.push({ cluster: 'c', position: { epoch, lsn }, crc, runId })
  }

  step(): void {
    const dice = this.random.below(10)
    if (dice < 6) this.append()
    else if (dice < 9) this.acknowledged = this.random.between(this.acknowledged, this.records.length)
    else this.promote(this.random.between(this.acknowledged, this.records.length))
  }

  /** A node with a prefix of it, whose log begins anywhere, and which knows less of acks than there is. */
  node(): VerdictView {
    const { random } = this
    const end = random.between(1, this.records.length)
    const first = random.between(1, end + 1)
    const records = this.records.slice(0, end)
    return {
      cluster: 'c',
      history: this.history.filter(({ firstLsn }) => firstLsn <= end),
      end: records[end - 1] as Stored,
      crcAt: (lsn) => (lsn < first ? undefined : records[lsn - 1]?.crc),
      acknowledged: random.between(0, Math.min(end, this.acknowledged)),
    }
  }
}

test.each(Array.from({ length: 60 }, (_, seed) => seed))(
  'over histories, seed %i: committed stays, and lost is gone',
  (seed) => {
    const cluster = new Cluster(new SeededRandom(seed))
    const nodes: VerdictView[] = []
    for (let step = 0; step < 60; step++) {
      cluster.step()
      nodes.push(cluster.node())
    }
    let committed = 0
    for (const of of cluster.receipts) {
      const isHeld = cluster.records[of.position.lsn - 1]?.crc === of.crc
      const verdicts = nodes.map((node) => verdictOf(of, node).verdict)
      if (verdicts.includes('committed')) {
        committed++
        expect(isHeld).toBe(true)
        expect(verdicts).not.toContain('lost')
      }
      if (verdicts.includes('lost')) expect(isHeld).toBe(false)
      const { runId: _, ...bare } = of
      for (const [index, node] of nodes.entries()) {
        const { verdict } = verdictOf(bare, node)
        if (verdict !== 'unknown') expect(verdict).toBe(verdicts[index])
      }
    }
    expect(committed).toBeGreaterThan(0)
  },
)

describe('up to where a follower knows of acks', () => {
  const log = (...flags: number[]): MemoryLog => {
    const made = new MemoryLog()
    made.startEpoch({ runId: runIdOf(1), leader: 'a', committedAtMs: 0 })
    for (const each of flags) {
      const draft: RecordDraft = { format: 1, flags: each, committedAtMs: 0, payload: Buffer.from('x') }
      made.append([draft])
    }
    made.syncNow()
    return made
  }

  test('what comes before a group that waits is acknowledged, and that group when the leader says so', () => {
    const waits = log(FLAG_AWAITS_ACKS, FLAG_AWAITS_ACKS)
    expect([0, 2, 3].map((hwm) => acknowledgedOnFollower(waits, hwm))).toEqual([2, 2, 3])
  })

  test('that a group is shown that followers show first proves nothing', () => {
    const shown = log(FLAG_AWAITS_ACKS | FLAG_ASKS_APPLIED, FLAG_AWAITS_ACKS | FLAG_ASKS_APPLIED)
    expect([0, 3].map((hwm) => acknowledgedOnFollower(shown, hwm))).toEqual([2, 2])
  })

  test('the first group of an epoch proves nothing of what a former epoch left, the next one does', () => {
    const made = log(FLAG_AWAITS_ACKS, FLAG_AWAITS_ACKS)
    made.startEpoch({ runId: runIdOf(2), leader: 'a', committedAtMs: 0 })
    made.syncNow()
    const next = (): void => {
      made.append([{ format: 1, flags: FLAG_AWAITS_ACKS, committedAtMs: 0, payload: Buffer.from('y') }])
      made.syncNow()
    }
    // A leader that shows commits before they are acknowledged has a high watermark above them when it starts.
    expect([0, 4].map((hwm) => acknowledgedOnFollower(made, hwm))).toEqual([2, 2])
    next()
    expect([0, 4, 5].map((hwm) => acknowledgedOnFollower(made, hwm))).toEqual([2, 2, 5])
    next()
    expect(acknowledgedOnFollower(made, 0)).toBe(5)
  })

  test('the end of a snapshot proves nothing, until a group comes after it', () => {
    const made = log(FLAG_AWAITS_ACKS)
    made.resetTo({ epoch: 1, lsn: 7, crc: 1 }, made.history)
    expect(acknowledgedOnFollower(made, 7)).toBe(0)
    made.append([{ format: 1, flags: FLAG_AWAITS_ACKS, committedAtMs: 0, payload: Buffer.from('y') }])
    made.syncNow()
    expect([7, 8].map((hwm) => acknowledgedOnFollower(made, hwm))).toEqual([7, 8])
  })

  test('without acks all that is durable is', () => {
    expect(acknowledgedOnFollower(log(0, 0), 0)).toBe(3)
  })
})
