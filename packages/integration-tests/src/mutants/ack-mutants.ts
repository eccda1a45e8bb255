/** Broken builds of acks: each says, shows or forgets more than the set has. */
import type { Mutant } from './mutant.ts'

const REPLICATION = 'packages/replication/src'

export const ACK_MUTANTS: readonly Mutant[] = [
  {
    name: 'acked-before-fsync-of-a-follower',
    what: 'A follower acknowledges what it received as durable, and a set of it is satisfied.',
    scenario: 'acks',
    breaks: ['I16', 'A1', 'A2'],
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
    name: 'stranger-counts',
    what: 'Any follower counts for a set, whatever its name.',
    scenario: 'acks',
    breaks: ['A1', 'A2'],
    edits: [
      {
        file: `${REPLICATION}/ack-tracker.ts`,
        find: 'names.filter((name) => this.#members.get(name)?.streams === true)',
        replace: '[...this.#members.keys()].filter((name) => this.#members.get(name)?.streams === true)',
      },
    ],
  },
  {
    name: 'silent-degrade',
    what: 'A receipt says that it reached what was asked while the rule is lowered.',
    scenario: 'acks',
    breaks: ['A1'],
    edits: [
      {
        file: `${REPLICATION}/ack-gate.ts`,
        find: 'const isMet = this.#tracker.satisfied(rule, nowMs) >= point.lsn',
        replace: 'const isMet = this.isDegraded || this.#tracker.satisfied(rule, nowMs) >= point.lsn',
      },
    ],
  },
  {
    name: 'visible-before-acked',
    what: 'The leader commits a group that waits for acks; only the reply waits.',
    scenario: 'acks',
    breaks: ['A2'],
    edits: [
      {
        file: `${REPLICATION}/commit-pipeline.ts`,
        find: 'const isHidden = open && !this.#gate.showsFirst',
        replace: 'const isHidden = false',
      },
    ],
  },
  {
    name: 'high-watermark-before-acked',
    what: 'Followers may show what waits for acks.',
    scenario: 'acks',
    breaks: ['A2'],
    edits: [
      {
        file: `${REPLICATION}/commit-pipeline.ts`,
        find: 'if (isAsked) this.#highWatermark = point.lsn',
        replace: 'this.#highWatermark = point.lsn',
      },
    ],
  },
  {
    name: 'replaced-member-needs-nobody',
    what: 'While a chosen member is gone and none has its place, the leader alone is enough.',
    scenario: 'acks',
    breaks: ['A1', 'A2'],
    edits: [
      {
        file: `${REPLICATION}/ack-tracker.ts`,
        find: 'if (counting.length < count) return 0',
        replace: 'if (counting.length < count) return this.#end',
      },
    ],
  },
  {
    name: 'restart-shows-the-end',
    what: 'A start shows all of its log, acknowledged or not.',
    scenario: 'acks',
    breaks: ['A2'],
    edits: [
      {
        file: `${REPLICATION}/shown.ts`,
        find: 'return from === undefined ? undefined : { from, end }',
        replace: 'return from === undefined ? undefined : undefined',
      },
    ],
  },
  {
    name: 'exposed-commit-says-nothing',
    what: 'Groups committed under a lowered rule do not say so in their records.',
    scenario: 'acks',
    breaks: ['X1'],
    edits: [
      {
        file: `${REPLICATION}/ack-gate.ts`,
        find: 'return this.isDegraded && asksInVain(group) ? { flags: FLAG_UNMET, own: undefined } : ASKS_NOTHING',
        replace: 'return ASKS_NOTHING',
      },
    ],
  },
  {
    name: 'exposed-range-without-its-first-commit',
    what: 'The group that waited when the rule was lowered is not in the list.',
    scenario: 'acks',
    breaks: ['X1'],
    edits: [
      {
        file: `${REPLICATION}/exposure.ts`,
        find: 'if (tail?.isCommit !== true) return',
        replace: 'if (tail !== undefined) return',
      },
    ],
  },
  {
    name: 'set-grown-in-the-wrong-order',
    what: 'A record of a change says that the new rule alone holds, before anybody of the old one knows.',
    scenario: 'ackModel',
    breaks: ['A4'],
    edits: [
      {
        file: `${REPLICATION}/ack-change.ts`,
        find: "return { kind: 'change', rule: to, after: from }",
        replace: "return { kind: 'rule', rule: to }",
      },
    ],
  },
  {
    name: 'old-rule-dropped-while-it-changes',
    what: 'While the rule changes, what is committed need satisfy the new one only.',
    scenario: 'ackModel',
    breaks: ['A4'],
    edits: [
      {
        file: `${REPLICATION}/ack-change.ts`,
        find: 'return asking(to === undefined ? [rule] : [rule, to])',
        replace: 'return asking(to === undefined ? [rule] : [to])',
      },
    ],
  },
  {
    name: 'new-rule-not-asked-before-it-holds',
    what: 'A change ends once the old set has its record.',
    scenario: 'acks',
    breaks: ['A3'],
    edits: [
      {
        file: `${REPLICATION}/ack-gate.ts`,
        find: 'return asking(body.acceptLoss ? [body.acks.rule] : [this.rule, body.acks.rule])',
        replace: 'return asking(body.acceptLoss ? [body.acks.rule] : [this.rule])',
      },
    ],
  },
  {
    name: 'old-rule-not-asked-before-it-ends',
    what: 'A change ends once the new set has its record.',
    scenario: 'acks',
    breaks: ['A3', 'A1', 'A2'],
    edits: [
      {
        file: `${REPLICATION}/ack-gate.ts`,
        find: 'return asking(body.acceptLoss ? [body.acks.rule] : [this.rule, body.acks.rule])',
        replace: 'return asking([body.acks.rule])',
      },
    ],
  },
  {
    name: 'restart-forgets-the-old-rule',
    what: 'A start goes by the rule of its options, whatever the log says.',
    scenario: 'acks',
    breaks: ['A3'],
    edits: [
      {
        file: `${REPLICATION}/leader.ts`,
        find: 'startFrom(known, wanted?.rule)',
        replace: "startFrom(wanted === undefined ? known : { rule: { level: 'local' } }, wanted?.rule)",
      },
    ],
  },
  {
    name: 'restart-forgets-rules-of-writes',
    what: 'What a single write asked for is not asked for again at a start: the rule of the cluster decides.',
    scenario: 'acks',
    breaks: ['A2'],
    edits: [
      {
        file: `${REPLICATION}/leader.ts`,
        find: 'const former = own ?? (promoted === undefined ? [known.rule] : [])',
        replace: 'const former = promoted === undefined ? [known.rule] : []',
      },
    ],
  },
]
