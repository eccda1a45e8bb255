/** What a node tells while it runs: as lines for people, as JSON for machines. */
import pc from 'picocolors'
import { formatPosition } from '@understudy/contracts'
import type { NodeEvent } from '@understudy/node'
import { describeMemberEvent } from './failover-report.ts'
import { bytes, describeError, errorFields, json, type Output } from './output.ts'

const ONCE: ReadonlySet<NodeEvent['kind']> = new Set(['decided', 'stoppedLeading', 'steppedDown', 'leader'])

/** Each event as one object. */
export function showJson(output: Output): (event: NodeEvent) => void {
  return (event) => {
    const plain =
      'error' in event && event.error !== undefined ? { ...event, error: errorFields(event.error) } : event
    output.out(json(plain))
  }
}

/** A line where something changed; a snapshot at each tenth. */
export function showText(output: Output): (event: NodeEvent) => void {
  let shownPercent = -10
  let last: string | undefined
  return (event) => {
    if (event.kind === 'snapshot') {
      const { receivedBytes, totalBytes, bytesPerSecond } = event.progress
      const percent = totalBytes === 0 ? 0 : Math.floor((100 * receivedBytes) / totalBytes)
      if (percent < shownPercent + 10 && percent !== 100) return
      shownPercent = percent === 100 ? -10 : percent
      output.out(`snapshot ${percent} % of ${bytes(totalBytes)}, ${bytes(bytesPerSecond)}/s`)
      return
    }
    const line = describeEvent(event)
    if (line === undefined) return
    // The same refusal, found again and again, is one line; so is a new leader, who is published before it leads, and the
    // end of a reign, which node and member tell.
    if (ONCE.has(event.kind) && line === last) return
    if (ONCE.has(event.kind)) last = line
    output.out(line)
  }
}

function describeEvent(event: Exclude<NodeEvent, { kind: 'snapshot' }>): string | undefined {
  switch (event.kind) {
    case 'listening':
    case 'closed':
      return undefined
    case 'redo':
      return `redo: applied ${formatPosition(event.applied)} of ${event.upTo}`
    case 'leading':
      return event.redoneFrom.lsn === event.redoneTo.lsn
        ? `leads epoch ${event.epoch}`
        : `leads epoch ${event.epoch}, redone from ${formatPosition(event.redoneFrom)} to ${formatPosition(event.redoneTo)}`
    case 'lostTail':
      return `${pc.yellow('lost tail')} after ${event.common} through ${event.end} is kept in ${event.path}: see understudy lost-tail`
    case 'damaged':
      return `${pc.yellow(event.error.code)} ${event.error.message} The damaged data is kept; a snapshot of the leader replaces it.`
    case 'snapshotRetry':
      return `${pc.yellow(event.error.code)} ${event.error.message} Trying again in ${Math.round(event.delayMs)} ms.`
    case 'bootstrapped':
      return `snapshot complete at ${formatPosition(event.point)}: ${bytes(event.bytes)}, of which ${bytes(event.transferredBytes)} travelled`
    case 'state':
      return `${event.state}${event.error === undefined ? '' : `: ${pc.yellow(event.error.code)} ${event.error.message}`}`
    case 'followerJoined':
      return `follower ${event.name} connected: ${event.verdict}`
    case 'followerLeft':
      return `follower ${event.name} left${event.error === undefined ? '' : `: ${event.error.code}`}`
    case 'followerChanged':
      return `follower ${event.name} is ${event.state}${event.syncState === 'async' ? '' : `, ${event.syncState}`}`
    case 'followerForgotten':
      return `follower ${event.name} was forgotten`
    case 'slot':
      return describeSlot(event)
    case 'acks':
      return event.degraded
        ? `${pc.yellow('acks lowered')} to ${event.effective}: followers do not acknowledge`
        : `acks in force: ${event.effective}`
    case 'rebased':
      return `begins anew at ${formatPosition(event.point)}: followers make their files equal to this database`
    case 'refused': {
      const { credential, reason } = event.error.details
      const more = [credential, reason].filter((each) => typeof each === 'string').join(': ')
      return `${event.remote} was turned away: ${event.error.code}${more === '' ? '' : ` (${more})`}`
    }
    case 'requestFailed':
      return `a request failed: ${describeError(event.error)}`
    case 'stoppedLeading':
      return describeMemberEvent({ kind: 'steppedDown', error: event.error })
    case 'leader':
    case 'follows':
    case 'steppedDown':
    case 'decided':
    case 'trouble':
      return describeMemberEvent(event)
    case 'failed':
      return `${pc.red(event.error.code)} ${event.error.message}`
  }
}

function describeSlot({ name, state, lsn }: Extract<NodeEvent, { kind: 'slot' }>): string {
  if (state === 'lost') return `${pc.yellow('slot lost')}: ${name} must bootstrap again`
  if (state === 'unreserved')
    return `${pc.yellow('slot over its cap')}: the log after ${lsn} is not kept for ${name} any more`
  return `the log is kept for ${name} again`
}
