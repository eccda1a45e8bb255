/** The gallery's part for the log formats: see mutants.ts. */
import type { Mutant } from './mutant.ts'

const REPLICATION = 'packages/replication/src'

/** Breaches that only the statement format or pages can have. */
export const FORMAT_MUTANTS: readonly Mutant[] = [
  {
    name: 'capture-skipped',
    what: 'What functions answered on the leader is not recorded.',
    scenario: 'capturedResults',
    breaks: ['I14'],
    edits: [
      {
        file: 'packages/format-statement/src/overrides.ts',
        find: "if (this.#mode === 'capture') {",
        replace: "if (this.#mode === 'capture' && code < 0) {",
      },
    ],
  },
  {
    name: 'override-missing',
    what: "random() stays SQLite's own on leader and follower.",
    scenario: 'capturedResults',
    breaks: ['I14'],
    edits: [
      {
        file: 'packages/format-statement/src/overrides.ts',
        find: "if (name === 'random') database.function(name, PLAIN, () => this.#answer(code, () => this.#own(name)))",
        replace: "if (name === 'random') return",
      },
    ],
  },
  {
    name: 'delta-on-any-base',
    what: 'A delta of a page is applied whatever it is laid over.',
    scenario: 'wrongPageBase',
    breaks: ['I5'],
    edits: [
      {
        file: 'packages/format-wal/src/applier.ts',
        find: 'if ((sum & 0xff) !== check) {',
        replace: 'if (check < 0) {',
      },
      {
        file: 'packages/format-wal/src/applier.ts',
        find: 'if (resultsRight && this.#replaced.sum === replaced) return',
        replace: 'if (resultsRight || this.#replaced.sum !== replaced + 0.5) return',
      },
    ],
  },
  {
    name: 'first-header-copy-first',
    what: 'The copies of the header of the wal-index are written in the order in which they are read.',
    scenario: 'headerOrder',
    breaks: ['I8'],
    edits: [
      {
        file: 'packages/sqlite-files/src/wal-index-write.ts',
        find: '  write(bytes, WAL_INDEX_COPY_BYTES)\n  write(bytes, 0)\n',
        replace: '  write(bytes, 0)\n  write(bytes, WAL_INDEX_COPY_BYTES)\n',
      },
    ],
  },
  {
    name: 'foreign-checkpoint-ignored',
    what: 'A log that began anew behind the back of a sidecar is read on as if nothing had been lost.',
    scenario: 'foreignCheckpoint',
    breaks: ['I5'],
    edits: [
      {
        file: 'packages/sqlite/src/pages.ts',
        find: 'if (this.#lost || !inNewLog) {',
        replace: 'if (false as boolean) {',
      },
    ],
  },
  {
    name: 'changed-file-settled',
    what: 'A start believes that the file is as its last record left it.',
    scenario: 'changedFile',
    breaks: ['I5'],
    edits: [
      {
        file: `${REPLICATION}/physical.ts`,
        find: '    checkHeld(options, whole)\n',
        replace: '',
      },
    ],
  },
  {
    name: 'settled-instead-of-logged',
    what: 'A transaction of pages that a crash kept out of the log gets the name of another record.',
    scenario: 'cluster',
    breaks: ['I5'],
    edits: [
      {
        file: `${REPLICATION}/leader.ts`,
        find: '    await logUnlogged({ log, storage, clock, recordBytesMax }, formats)\n',
        replace: '    storage.settle(point)\n',
      },
    ],
  },
  {
    name: 'base-before-durable',
    what: 'A base is logged before the pages that it stands for are durable.',
    scenario: 'cluster',
    breaks: ['I14'],
    edits: [
      {
        file: `${REPLICATION}/physical.ts`,
        find: '  await makeDurable(context, storage.applied.lsn)\n',
        replace: '',
      },
    ],
  },
  {
    name: 'escalation-ignored',
    what: 'A group that was escalated to another format is logged under the name of its own.',
    scenario: 'cluster',
    breaks: ['I5'],
    edits: [
      {
        file: `${REPLICATION}/commit-group.ts`,
        find: 'const id = recorder.finishedFormat ?? format.id',
        replace: 'const id = format.id',
      },
    ],
  },
]
