/** Broken builds of receipts and keys: each lies about a commit, or does a write twice. */
import type { Mutant } from './mutant.ts'

const REPLICATION = 'packages/replication/src'

export const RECEIPT_MUTANTS: readonly Mutant[] = [
  {
    name: 'receipt-lost-at-the-border-of-an-epoch',
    what: 'A node calls the last record of an epoch lost once the next epoch began.',
    scenario: 'acks',
    breaks: ['R1'],
    edits: [
      {
        file: `${REPLICATION}/verdict.ts`,
        find: 'if (next !== undefined && position.lsn >= next.firstLsn)',
        replace: 'if (next !== undefined && position.lsn >= next.firstLsn - 1)',
      },
    ],
  },
  {
    name: 'committed-before-acked',
    what: 'A leader calls committed what is durable in its own log.',
    scenario: 'acks',
    breaks: ['R1'],
    edits: [
      {
        file: `${REPLICATION}/commit-pipeline.ts`,
        find: '    return this.#acknowledged\n',
        replace: '    return this.#options.log.durable\n',
      },
    ],
  },
  {
    name: 'committed-once-shown',
    what: 'A follower calls committed what its leader lets it show, before the set has it.',
    scenario: 'acks',
    breaks: ['R1'],
    edits: [
      {
        file: `${REPLICATION}/acknowledged.ts`,
        find: 'if ((flags & FLAG_ASKS_APPLIED) !== 0) return proved',
        replace: 'void flags',
      },
    ],
  },
  {
    name: 'retry-runs-again',
    what: 'A write with a key that was done before runs again.',
    scenario: 'acks',
    breaks: ['I9', 'I10'],
    edits: [
      {
        file: `${REPLICATION}/keyed-writes.ts`,
        find: '    if (row === undefined) return false\n',
        replace: '    if (row === undefined || row !== undefined) return false\n',
      },
    ],
  },
  {
    name: 'retry-not-written-while-hidden',
    what: 'A retry is told NOT_WRITTEN while the first write is in an end of the log that is hidden.',
    scenario: 'acks',
    breaks: ['I9'],
    edits: [
      {
        file: `${REPLICATION}/keyed-writes.ts`,
        find: '    if (end === undefined) return false\n    reject(',
        replace: '    if (end === undefined || end !== undefined) return false\n    reject(',
      },
    ],
  },
]
