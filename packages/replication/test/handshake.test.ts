import { expect, test } from 'vitest'
import * as fc from 'fast-check'
import { decideHandshake, type LeaderView } from '../src/index.ts'
import type { Hello } from '@understudy/protocol'
import { parseHistory } from './support/history.ts'
import { testScripts, type Command } from './support/script.ts'

function leaderView(command: Command): LeaderView {
  const { history, end, crcAt } = parseHistory(command.text('leader'))
  const first = command.number('first', 1)
  return {
    cluster: 'c',
    node: command.text('node', 'a'),
    versionMin: 1,
    versionMax: command.number('leaderVersion', 1),
    history,
    end,
    first,
    crcAt: (lsn) => (lsn >= first - 1 ? crcAt(lsn) : undefined),
    formats: [{ id: 1, version: 2 }],
    slotLost: command.text('slot', 'none') === 'lost',
  }
}

function helloOf(command: Command): Hello {
  const { history, end } = parseHistory(command.text('follower'))
  const versions = command.text('versions', '1-1').split('-').map(Number)
  const formats = command.text('formats', '1:2').split(',')
  return {
    type: 'hello',
    versionMin: versions[0] ?? 0,
    versionMax: versions[1] ?? 0,
    purpose: 'replicate',
    cluster: command.text('cluster', 'c'),
    node: command.text('name', 'f'),
    history: history.slice(command.number('leftOut', 0)),
    end: { ...end, crc: command.has('crc') ? 1 : end.crc },
    formats: formats.map((format) => ({
      id: Number(format.split(':')[0]),
      version: Number(format.split(':')[1]),
    })),
  }
}

testScripts('handshake', () => (command) => {
  const decision = decideHandshake(leaderView(command), helloOf(command))
  switch (decision.kind) {
    case 'continue':
      return [`continue from ${decision.from}`]
    case 'truncate':
      return [`truncate after ${decision.after}`]
    case 'snapshot':
      return [`snapshot: ${decision.reason}`]
    case 'refuse':
      return [
        `refuse ${decision.code}${decision.mustStopLeading ? ', stop leading' : ''}: ${decision.message}`,
      ]
  }
})

/** A history that grew by restarts and promotions, as a list of epochs with their lengths. */
const growth = fc.array(
  fc.record({ leader: fc.constantFrom('a', 'b', 'd'), records: fc.integer({ min: 1, max: 9 }) }),
  {
    minLength: 1,
    maxLength: 6,
  },
)

function historyText(
  epochs: readonly { readonly leader: string; readonly records: number }[],
  mark: string,
  from: number,
): string {
  let lsn = 1
  const entries = epochs.map(({ leader, records }, index) => {
    const entry = `${index + 1}${leader}${index >= from ? mark : ''}@${lsn}`
    lsn += records
    return entry
  })
  return `${entries.join(' ')} ..${lsn - 1}`
}

function decideFor(
  leaderText: string,
  node: string,
  followerText: string,
): ReturnType<typeof decideHandshake> {
  const ours = parseHistory(leaderText)
  const theirs = parseHistory(followerText)
  const view: LeaderView = {
    ...ours,
    cluster: 'c',
    node,
    versionMin: 1,
    versionMax: 1,
    first: 1,
    formats: [],
    slotLost: false,
  }
  const { history, end } = theirs
  return decideHandshake(view, {
    type: 'hello',
    versionMin: 1,
    versionMax: 1,
    purpose: 'replicate',
    cluster: 'c',
    node: 'f',
    history,
    end,
    formats: [],
  })
}

test('a follower that stopped anywhere in the leader’s own past goes on right there', () => {
  fc.assert(
    fc.property(growth, fc.nat(), (epochs, cut) => {
      const text = historyText(epochs, '', 0)
      const full = parseHistory(text)
      const endLsn = cut % (full.end.lsn + 1)
      const kept = full.history.filter((entry) => entry.firstLsn <= endLsn)
      const follower = `${text.split(' ').slice(0, kept.length).join(' ')} ..${endLsn}`
      expect(decideFor(text, epochs.at(-1)?.leader ?? '', follower)).toEqual({
        kind: 'continue',
        version: 1,
        from: endLsn + 1,
      })
    }),
  )
})

test('records flow only above the last record that both logs hold, whatever the histories', () => {
  fc.assert(
    fc.property(growth, growth, fc.nat({ max: 5 }), (ours, theirs, shared) => {
      // The follower shares the first epochs and then went on by itself, in other runs.
      const mixed = [...ours.slice(0, shared), ...theirs]
      const leaderText = historyText(ours, '', 0)
      const followerText = historyText(mixed, "'", Math.min(shared, ours.length))
      const leader = parseHistory(leaderText)
      const follower = parseHistory(followerText)
      const decision = decideFor(leaderText, ours.at(-1)?.leader ?? '', followerText)
      const last =
        decision.kind === 'continue'
          ? decision.from - 1
          : decision.kind === 'truncate'
            ? decision.after
            : undefined
      if (last === undefined) return
      expect(leader.crcAt(last)).toBe(follower.crcAt(last))
      expect(last).toBeLessThanOrEqual(leader.end.lsn)
      if (decision.kind === 'continue') expect(last).toBe(follower.end.lsn)
    }),
  )
})
