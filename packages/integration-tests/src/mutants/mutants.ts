/**
 * The gallery: deliberately broken builds, each with the scenario that must catch it and the invariant that it breaks.
 *
 * A mutant replaces texts of real source files while they are loaded. Each text must occur exactly once in its file.
 */
import { ACK_MUTANTS } from './ack-mutants.ts'
import { RECEIPT_MUTANTS } from './receipt-mutants.ts'
import { FORMAT_MUTANTS } from './format-mutants.ts'
import type { Mutant } from './mutant.ts'

const LOG = 'packages/log/src'
const REPLICATION = 'packages/replication/src'

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'no-log-fsync',
    what: 'The log says that it synced and does not.',
    scenario: 'cluster',
    breaks: ['I1', 'I3', 'W1'],
    edits: [
      {
        file: `${LOG}/active-segment.ts`,
        find: 'return this.#syncer.dataSync()',
        replace: 'return Promise.resolve()',
      },
      {
        file: `${LOG}/active-segment.ts`,
        find: 'syncNow(): void {\n    this.#writer.dataSyncNow()',
        replace: 'syncNow(): void {',
      },
    ],
  },
  {
    name: 'no-directory-fsync',
    what: 'Segments and the state file get their names without a sync of the directory.',
    scenario: 'cluster',
    breaks: ['I1', 'I3', 'W1'],
    edits: [{ file: `${LOG}/failures.ts`, find: '    files.syncDirectory(directory)\n', replace: '' }],
  },
  {
    name: 'send-before-fsync',
    what: 'Heartbeats send along what the log holds, synced or not.',
    scenario: 'chains',
    breaks: ['W1', 'I3'],
    edits: [
      {
        file: `${REPLICATION}/sender.ts`,
        find: "this.#step({ kind: 'progress', durable: log.durable,",
        replace: "this.#step({ kind: 'progress', durable: log.end.lsn,",
      },
      {
        file: `${REPLICATION}/sender.ts`,
        find: "limits.heartbeatMs, () => {\n      this.#step({ kind: 'tick' })",
        replace: "limits.heartbeatMs, () => {\n      this.wake()\n      this.#step({ kind: 'tick' })",
      },
    ],
  },
  {
    name: 'retention-beyond-checkpoint',
    what: "A checkpoint lets go of the log up to its end, not up to the checkpoint's position.",
    scenario: 'tightLogs',
    breaks: ['I15', 'I1'],
    edits: [
      {
        file: 'packages/node/src/checkpointer.ts',
        find: 'log.slots.advance(LOCAL_SLOT, Math.min(this.keepsFrom(point.lsn), this.#rewindsFrom() ?? point.lsn))',
        replace: 'log.slots.advance(LOCAL_SLOT, log.durable)',
      },
    ],
  },
  {
    name: 'local-slot-can-be-lost',
    what: "The cap of followers' slots holds for the node's own, too.",
    scenario: 'tightLogs',
    breaks: ['I15'],
    edits: [
      {
        file: `${LOG}/slots.ts`,
        find: 'if (name === LOCAL_SLOT || !over) lowest',
        replace: 'if (!over) lowest',
      },
    ],
  },
  {
    name: 'apply-twice',
    what: 'A follower applies each record twice.',
    scenario: 'cluster',
    breaks: ['I10'],
    edits: [
      {
        file: `${REPLICATION}/apply-loop.ts`,
        find: '    this.#prepared().applier.apply(transaction.payload)\n',
        replace:
          '    this.#prepared().applier.apply(transaction.payload)\n    this.#prepared().applier.apply(transaction.payload)\n',
      },
    ],
  },
  {
    name: 'position-outside-the-transaction',
    what: 'The leader commits without the position of its record.',
    scenario: 'cluster',
    breaks: ['I10'],
    edits: [{ file: `${REPLICATION}/commit-group.ts`, find: '    storage.mark(point)\n', replace: '' }],
  },
  {
    name: 'reply-before-fsync',
    what: 'A group is committed and answered as soon as it stands in the log.',
    scenario: 'cluster',
    breaks: ['W1'],
    edits: [
      {
        file: `${REPLICATION}/commit-pipeline.ts`,
        find: 'return this.#makeDurable(outcome.point, outcome.open)',
        replace: 'return this.#durable(outcome.point, outcome.open)',
      },
    ],
  },
  {
    name: 'commit-before-fsync',
    what: 'The leader shows a group before its record is durable; the answer waits.',
    scenario: 'cluster',
    breaks: ['W1', 'I1'],
    edits: [
      {
        file: `${REPLICATION}/commit-pipeline.ts`,
        find: '    this.#pace.sync(\n',
        replace: '    if (open) this.#context.storage.commit()\n    this.#pace.sync(\n',
      },
      {
        file: `${REPLICATION}/commit-pipeline.ts`,
        find: 'open ? storage.commit() : storage.settle(point)',
        replace: 'open ? undefined : storage.settle(point)',
      },
    ],
  },
  {
    name: 'ack-before-sync',
    what: 'A follower reports what it received as durable.',
    scenario: 'cluster',
    breaks: ['I16'],
    edits: [
      {
        file: `${REPLICATION}/receiver-machine.ts`,
        find: 'received: this.#received,\n      durable: this.#durable,\n      applied: this.#applied,\n    }\n    return [isAwaited',
        replace:
          'received: this.#received,\n      durable: this.#received,\n      applied: this.#applied,\n    }\n    return [isAwaited',
      },
    ],
  },
  {
    name: 'apply-before-sync',
    what: 'A follower applies what it received before its own log is durable.',
    scenario: 'cluster',
    breaks: ['W1', 'I1', 'I3'],
    edits: [
      {
        file: `${REPLICATION}/receiver-machine.ts`,
        find: 'Math.min(this.#durable, this.#highWatermark)',
        replace: 'Math.min(this.#received, this.#highWatermark)',
      },
    ],
  },
  {
    name: 'failed-sync-forgotten',
    what: 'What a failed sync may have dropped is not written again at the next start.',
    scenario: 'cluster',
    breaks: ['I1', 'I3', 'W1'],
    edits: [{ file: `${LOG}/recover.ts`, find: 'if (unproven) rewrite(', replace: 'if (false) rewrite(' }],
  },
  {
    name: 'crc-ignored',
    what: 'A record counts as sound whatever its checksum says.',
    scenario: 'flippedRecord',
    breaks: ['I11'],
    edits: [
      {
        file: `${LOG}/record.ts`,
        find: 'if (crc32(bytes.subarray(offset + 4, offset + length)) !== view.getUint32(offset, true)) return undefined',
        replace: '',
      },
    ],
  },
  {
    name: 'epoch-check-off',
    what: 'A record of a lower epoch is taken when it fits the chain.',
    scenario: 'staleEpoch',
    breaks: ['I4'],
    edits: [{ file: `${LOG}/record.ts`, find: 'if (record.epoch < point.epoch) {', replace: 'if (false) {' }],
  },
  {
    name: 'off-by-one-truncation',
    what: 'A start of leading cuts one record too many off the end.',
    scenario: 'chains',
    breaks: ['I1', 'I3', 'W1'],
    edits: [
      {
        file: `${REPLICATION}/leader.ts`,
        find: 'log.truncateAfter(redone.incompleteFrom - 1)',
        replace: 'log.truncateAfter(redone.incompleteFrom - 2)',
      },
    ],
  },
  {
    name: 'unfinished-chain-kept',
    what: 'A start of leading keeps a transaction whose last part was lost.',
    scenario: 'chains',
    breaks: ['I8'],
    edits: [
      {
        file: `${REPLICATION}/leader.ts`,
        find: 'if (redone.incompleteFrom !== undefined) log',
        replace: 'if (false) log',
      },
    ],
  },
  {
    name: 'high-watermark-ignored',
    what: 'A follower applies everything durable, also what a failover could take back.',
    scenario: 'highWatermark',
    breaks: ['W1'],
    edits: [
      {
        file: `${REPLICATION}/receiver-machine.ts`,
        find: 'Math.min(this.#durable, this.#highWatermark)',
        replace: 'this.#durable',
      },
    ],
  },
  {
    name: 'snapshot-chunk-crc-ignored',
    what: 'A chunk of a snapshot is written whatever its checksum says.',
    scenario: 'damagedChunk',
    breaks: ['I11'],
    edits: [
      {
        file: 'packages/bootstrap/src/receive-session.ts',
        find: 'if (crc32(bytes) !== crc) throw corruptChunk(offset, start)',
        replace: '',
      },
    ],
  },
  {
    name: 'overlay-of-a-backfilled-wal',
    what: 'A snapshot reads frames that its reader does not pin, and trusts what it finds.',
    scenario: 'backfilledLog',
    breaks: ['I5'],
    edits: [
      {
        file: 'packages/sqlite/src/snapshot.ts',
        find: 'if (header.nBackfill === header.mxFrame) return overlay',
        replace: '',
      },
      {
        file: 'packages/sqlite/src/snapshot.ts',
        find: 'let frame = header.nBackfill + 1;',
        replace: 'let frame = 1;',
      },
      {
        file: 'packages/sqlite/src/snapshot.ts',
        find: '!sameSalts(this.#descriptors.walIndex().salts, this.#header.salts)',
        replace: 'false',
      },
      {
        file: 'packages/sqlite/src/snapshot.ts',
        find: 'if (header.page !== run.firstPage + index || !sameSalts(header.salts, this.#header.salts))',
        replace: 'if (false)',
      },
    ],
  },
  {
    name: 'deferred-constraint-unchecked',
    what: 'A deferred foreign key is left for COMMIT to check, after the append.',
    scenario: 'deferredConstraint',
    breaks: ['I9'],
    edits: [
      { file: 'packages/sqlite/src/writer.ts', find: 'if (!this.#canDefer()) return', replace: 'return' },
    ],
  },
  {
    name: 'schema-fingerprint-ignored',
    what: 'Rows are applied to a table whose columns stand in another order.',
    scenario: 'anotherSchema',
    breaks: ['I5'],
    edits: [
      {
        file: 'packages/format-row/src/applier.ts',
        find: 'if (fingerprint[index] !== expected[index]) throw',
        replace: 'if (false) throw',
      },
      // The names of columns in the record are looked at, too.
      { file: 'packages/format-row/src/applier.ts', find: '      this.#checkTable(table)\n', replace: '' },
    ],
  },
  {
    name: 'triggers-fire-on-apply',
    what: 'The triggers of a follower stay in place while rows are applied.',
    scenario: 'firingTriggers',
    breaks: ['I10'],
    edits: [
      {
        file: 'packages/format-row/src/triggers.ts',
        find: '    database.exec(`drop trigger main.${quote(name)}`)\n',
        replace: '',
      },
    ],
  },
  ...FORMAT_MUTANTS,
  ...ACK_MUTANTS,
  ...RECEIPT_MUTANTS,
]
