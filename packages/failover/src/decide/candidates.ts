/**
 * Who may lead, in which order, who is held to be compared with, and why the others are not.
 *
 * Decides: eligibility, and the order: those whose log the most advanced one goes on from, then epoch, LSN, then priority, then name. Leaves to others: proofs (proof), what is
 * done (decide).
 *
 * Validity conditions:
 * 1. Held is another thing than eligible: a node that may never lead still has records to give, and one whose database is
 *    broken may have a whole log. Only whole logs of this history are held.
 * 2. With two runs under one number there are two histories. The published run id tells them apart; without one nobody
 *    is chosen.
 */
import { comparePositions, formatPosition } from '@understudy/contracts'
import type { Rejected } from './decision.ts'
import type { AttemptView, Member, MemberReport, Observations } from './observations.ts'

export interface Reporting extends Member {
  readonly report: MemberReport
}

/** Members that answer with a whole log of this history, most advanced first. */
export function wholeLogs(observations: Observations): { whole: Reporting[]; rejected: Rejected[] } {
  const whole: Reporting[] = []
  const rejected: Rejected[] = []
  for (const member of observations.members) {
    const reason = brokenFor(member, observations)
    if (reason === undefined) whole.push(member as Reporting)
    else rejected.push({ name: member.name, reason })
  }
  whole.sort(byAdvance)
  return { whole, rejected }
}

function brokenFor(member: Member, { coordinator }: Observations): string | undefined {
  const { report } = member
  if (report === undefined) return member.refusal ?? 'does not answer'
  if (report.logDamaged) return 'its log is damaged: it may lack what it acknowledged'
  if (report.state === 'bootstrapping') return 'it has no copy of the database yet'
  if (coordinator.kind !== 'reachable' || coordinator.state === undefined) return undefined
  const { epoch, runId } = coordinator.state
  const own = report.history.find((entry) => entry.number === epoch)
  if (own !== undefined && own.runId !== runId)
    return `its epoch ${epoch} is of the run ${own.runId}, and ${runId} is published: another history`
  return undefined
}

/** Two members whose logs have different runs, or different records, under one number. */
export function forkAmong(whole: readonly Reporting[]): string | undefined {
  const runs = new Map<number, { readonly runId: string; readonly name: string }>()
  const points = new Map<string, { readonly crc: number; readonly name: string }>()
  for (const { name, report } of whole) {
    for (const entry of report.history) {
      const other = runs.get(entry.number)
      if (other !== undefined && other.runId !== entry.runId)
        return `epoch ${entry.number} of ${other.name} is the run ${other.runId}, of ${name} the run ${entry.runId}: two promotions`
      runs.set(entry.number, { runId: entry.runId, name })
    }
    const at = formatPosition(report.end)
    const other = points.get(at)
    if (other !== undefined && other.crc !== report.end.crc)
      return `${other.name} and ${name} have different records at ${at}`
    points.set(at, { crc: report.end.crc, name })
  }
  return undefined
}

/** Those of them that may lead, in the order in which they are chosen. */
export function candidates(
  observations: Observations,
  whole: readonly Reporting[],
): { eligible: Reporting[]; rejected: Rejected[] } {
  const eligible: Reporting[] = []
  const rejected: Rejected[] = []
  for (const member of whole) {
    const reason = unfitFor(member, observations)
    if (reason === undefined) eligible.push(member)
    else rejected.push({ name: member.name, reason })
  }
  const [best] = whole
  // One that parted has to undo before it can fetch: the others come first.
  const parted =
    best === undefined
      ? []
      : eligible.filter((member) => member !== best && !isBefore(member.report, best.report))
  return { eligible: [...eligible.filter((member) => !parted.includes(member)), ...parted], rejected }
}

/** Whether the log of `later` goes on from the end of `report`, as far as their histories say. */
function isBefore({ end }: MemberReport, later: MemberReport): boolean {
  if (end.lsn === 0) return true
  const at = later.history.findIndex((entry) => entry.number === end.epoch)
  const next = later.history[at + 1]
  if (at < 0) return false
  if (next === undefined) return true
  return next.firstLsn > end.lsn + 1 || (next.firstLsn === end.lsn + 1 && next.crcBefore === end.crc)
}

function unfitFor(member: Reporting, observations: Observations): string | undefined {
  const { intent, leader } = observations
  const { report } = member
  if (intent.kind !== 'automatic' && intent.target !== undefined && intent.target !== member.name)
    return `${intent.target} was named`
  if (intent.kind === 'switchover' && member.name === leader) return 'it hands over'
  if (member.neverPromote === true) return 'it is never promoted, as it was told'
  if (report.state === 'diverged') return 'its database differs from what its log says'
  if (report.deltaUnverified) return 'its pages are not verified yet'
  if (report.state === 'leading' && !report.receiversStopped) return 'it leads'
  if (member.answers === false) return member.refusal ?? 'it did not answer when asked'
  if (!report.idsProven && !acceptsLoss(observations))
    return 'it cannot prove the newest ceiling of ids: it could give one twice'
  return undefined
}

/** Whether it stopped, and promised this attempt and nothing after it. */
export function isHeldFor(member: Reporting, attempt: AttemptView): boolean {
  const { promised, receiversStopped } = member.report
  return receiversStopped && promised?.epoch === attempt.epoch && promised.runId === attempt.runId
}

/** The number of a new epoch: above all that anybody promised, wrote or published. */
export function nextEpoch({ members, coordinator }: Observations): number {
  let highest = 0
  for (const { report } of members)
    if (report !== undefined)
      highest = Math.max(
        highest,
        report.end.epoch,
        report.promised?.epoch ?? 0,
        report.history.at(-1)?.number ?? 0,
      )
  if (coordinator.kind === 'reachable')
    highest = Math.max(highest, coordinator.state?.epoch ?? 0, coordinator.lease?.epoch ?? 0)
  return highest + 1
}

export function acceptsLoss({ intent }: Observations): boolean {
  return intent.kind === 'promote' && intent.acceptLoss
}

function byAdvance(a: Reporting, b: Reporting): number {
  return (
    comparePositions(b.report.end, a.report.end) ||
    (b.priority ?? 0) - (a.priority ?? 0) ||
    (a.name < b.name ? -1 : 1)
  )
}
