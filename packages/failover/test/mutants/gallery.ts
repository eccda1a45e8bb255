/** Broken builds: each lacks one thing that the rules of failover stand on, and the simulation finds it. */
import type { InvariantId } from '../simulation/checker.ts'
import type { Profile } from '../simulation/run.ts'

export interface Edit {
  /** In `src`. */
  readonly file: string
  readonly find: string
  readonly replace: string
}

export interface Mutant {
  readonly name: string
  /** What is wrong with it. */
  readonly what: string
  /** One of these is reported as broken. */
  readonly breaks: readonly InvariantId[]
  /** Where the harm shows soonest. */
  readonly profile?: Profile
  /** In the driver: faults on a cluster of members find it. Default: in the rules, which the simulation of the machines finds. */
  readonly isOfDriver?: boolean
  readonly edits: readonly Edit[]
}

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'promise-binds-nobody',
    what: 'A follower promises, and goes on acknowledging to the old leader.',
    breaks: ['E3'],
    edits: [{ file: 'promotion/voter.ts', find: 'leader.epoch < bound.epoch', replace: 'leader.epoch < 0' }],
  },
  {
    name: 'promise-not-durable',
    what: 'A promise is answered before it is written down.',
    breaks: ['E1', 'E2', 'E3'],
    edits: [
      {
        file: 'promotion/voter.ts',
        find: "return { kind: 'persist', promised: this.#bound as Promised }",
        replace: "this.#durable = this.#bound; return { kind: 'granted', promised: this.#bound as Promised }",
      },
    ],
  },
  {
    name: 'compared-before-stopped',
    what: 'Positions are compared while members still receive and acknowledge.',
    breaks: ['E2', 'E6'],
    profile: { hasCoordinator: false, isAsync: false, haste: true },
    edits: [
      {
        file: 'decide/decide.ts',
        find: 'if (receiving.length > 0) return',
        replace: 'if (receiving.length > 99) return',
      },
      {
        file: 'decide/decide.ts',
        find: 'const missing = whole.filter((member) => member.answers !== false && !isHeldFor(member, attempt))',
        replace: 'const missing = whole.filter((member) => member === chosen && !isHeldFor(member, attempt))',
      },
      {
        file: 'decide/decide.ts',
        find: 'const held = whole.filter((member) => member.answers !== false && isHeldFor(member, attempt))',
        replace: 'const held = whole',
      },
    ],
  },
  {
    name: 'r-plus-w-equals-n',
    what: 'As many may be missing as had to have a commit.',
    breaks: ['E2', 'E6'],
    edits: [
      { file: 'decide/proof.ts', find: 'missing.length < of.count', replace: 'missing.length <= of.count' },
    ],
  },
  {
    name: 'longest-log-wins',
    what: 'Logs are compared by LSN without the epoch: a stale tail beats acknowledged commits.',
    breaks: ['E2', 'E6'],
    edits: [
      {
        file: 'decide/candidates.ts',
        find: 'comparePositions(b.report.end, a.report.end) ||',
        replace: 'b.report.end.lsn - a.report.end.lsn ||',
      },
    ],
  },
  {
    name: 'tail-not-fetched',
    what: 'A candidate that is behind leads without the tail that another one has.',
    breaks: ['E2', 'E6'],
    edits: [
      {
        file: 'decide/decide.ts',
        find: 'if (comparePositions(best.report.end, end) > 0)',
        replace: 'if (comparePositions(best.report.end, end) > 1e9)',
      },
    ],
  },
  {
    name: 'claimed-without-compare-and-set',
    what: 'A candidate with promises leads without asking the coordinator.',
    breaks: ['E1', 'E4', 'E6'],
    edits: [
      {
        file: 'decide/decide.ts',
        find: "...(coordinator.kind === 'reachable' && { expectedRevision: coordinator.revision }),",
        replace: '',
      },
    ],
  },
  {
    name: 'lease-outlived',
    what: 'A leader shows things for a while after its lease.',
    breaks: ['E4'],
    edits: [{ file: 'leadership.ts', find: 'if (leaseMs > nowMs)', replace: 'if (leaseMs > nowMs - 1000)' }],
  },
  {
    name: 'word-of-nobody',
    what: 'Without a lease a leader goes on though not all followers said that they follow it.',
    breaks: ['E4'],
    edits: [
      {
        file: 'leadership.ts',
        find: '  if (missing.length > 0)',
        replace: '  if (missing.length > members.length)',
      },
    ],
  },
  {
    name: 'old-rule-forgotten',
    what: 'While a set changes an election looks at one of the two rules.',
    breaks: ['E2', 'E6'],
    edits: [
      {
        file: 'decide/rules.ts',
        find: 'return next === undefined ? [rule] : [rule, next]',
        replace: 'return [next ?? rule]',
      },
    ],
  },
  {
    name: 'published-is-enough',
    what: 'A leader that was published and never began counts as one that has everything.',
    breaks: ['E2', 'E6'],
    profile: { hasCoordinator: true, isAsync: true },
    edits: [
      {
        file: 'decide/proof.ts',
        find: 'return hasBegun ?',
        replace: 'return hasBegun || epoch > 0 ?',
      },
    ],
  },
  {
    name: 'leader-knows-it-leads',
    what: 'Without a coordinator a leader that was cut off takes itself for the last one.',
    breaks: ['E1', 'E2', 'E6'],
    profile: { hasCoordinator: false, isAsync: false },
    edits: [
      {
        file: 'decide/proof.ts',
        find: 'return inForce.rules.every(',
        replace: 'return last.number > 0 || inForce.rules.every(',
      },
    ],
  },
  {
    name: 'loss-not-named',
    what: 'An asynchronous failover does not say what it may lose.',
    breaks: ['E6'],
    edits: [
      {
        file: 'decide/decide.ts',
        find: "newest commits'],\n      loss,",
        replace: "newest commits'],\n      loss: {},",
      },
    ],
  },
  {
    name: 'forecast-with-the-dead',
    what: 'The forecast counts on the leader whose death it is about.',
    breaks: ['E5'],
    edits: [
      {
        file: 'decide/forecast.ts',
        find: '(member.name === leader ? withoutReport(member) : member)',
        replace: '(member.name === leader ? member : member)',
      },
    ],
  },
  {
    name: 'record-without-the-attempt',
    what: 'A record leaves out what was under way.',
    breaks: ['E8'],
    edits: [
      {
        file: 'promotion/promotion.ts',
        find: "return [{ kind: 'record', observations, decision }]",
        replace:
          "const { attempt: _, ...left } = observations; return [{ kind: 'record', observations: left, decision }]",
      },
    ],
  },
  {
    name: 'promise-kept-in-memory',
    what: 'The driver answers a promise that it did not write down.',
    breaks: ['E1', 'E2', 'E4'],
    isOfDriver: true,
    edits: [
      {
        file: 'member/promise-file.ts',
        find: 'writeStateFile(files, join(directory, FILE), FORMAT, promised)',
        replace: 'if (files === undefined) writeStateFile(files, join(directory, FILE), FORMAT, promised)',
      },
    ],
  },
  {
    name: 'lease-not-asked',
    what: 'A leader that had a lease shows things without asking whether it still has it.',
    breaks: ['E4'],
    isOfDriver: true,
    edits: [
      {
        file: 'member/reign.ts',
        find: 'if (lease === undefined || lease.isValid()) return true',
        replace: 'if (lease === undefined || clock !== undefined) return true',
      },
      {
        file: 'member/reign.ts',
        find: 'const { lease, promised, promise } = this.#options',
        replace: 'const { lease, promised, promise, clock } = this.#options',
      },
    ],
  },
]

/** Where it is looked for: what breaks safety is told from what only stands still. */
export function profileOf({ breaks, profile }: Mutant): Profile {
  return { ...profile, isSafetyOnly: !breaks.includes('E5') && !breaks.includes('E7') }
}
