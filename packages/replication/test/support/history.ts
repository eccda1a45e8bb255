/**
 * Histories in short: `1a@1 2b@301 ..500` is epoch 1 of node a from LSN 1, epoch 2 of node b from LSN 301, and the log
 * ends at 500. A quote makes another run: `2b'@301`. The CRC of an LSN follows from the epoch's run that wrote it, so two
 * histories agree on a record exactly when the same run wrote it.
 */
import { crc32 } from 'node:zlib'
import { epochAt, type EpochEntry, type EpochHistory, type LogPoint } from '@understudy/contracts'

export interface TestHistory {
  readonly history: EpochHistory
  readonly end: LogPoint
  readonly crcAt: (lsn: number) => number
}

export function parseHistory(text: string): TestHistory {
  const history: EpochEntry[] = []
  const crcAt = (lsn: number): number => {
    const entry = epochAt(history, lsn)
    return entry === undefined || lsn === 0 ? 0 : crc32(`${entry.runId}/${lsn}`)
  }
  let endLsn = 0
  for (const token of text.split(' ').filter((part) => part !== '')) {
    const epoch = /^(\d+)([a-z])('*)@(\d+)$/.exec(token)
    if (epoch === null) {
      endLsn = Number(token.replace('..', ''))
      continue
    }
    const [, number = '', leader = '', marks = '', first = ''] = epoch
    const firstLsn = Number(first)
    const runId = crc32(`${number}${leader}${marks}`).toString(16).padStart(16, '0')
    history.push({ number: Number(number), runId, leader, firstLsn, crcBefore: crcAt(firstLsn - 1) })
  }
  const end = { epoch: epochAt(history, endLsn)?.number ?? 0, lsn: endLsn, crc: crcAt(endLsn) }
  return { history, end, crcAt }
}
