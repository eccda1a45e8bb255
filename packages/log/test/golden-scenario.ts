/** The calls that made the golden files of format version 1, with every random number and time fixed. */
import { FORMAT_CONTROL, type Files, type Log } from '@understudy/contracts'
import { openLog } from '../src/index.ts'
import { draft, RUN } from './helpers.ts'

export const GOLDEN_FILES = [
  '00000000000000000008.segment',
  '00000000000000000014.segment',
  'log.state',
] as const

export async function writeGolden(files: Files, directory: string): Promise<void> {
  const log = open(files, directory)
  log.resetTo({ epoch: 2, lsn: 7, crc: 0xdeadbeef }, [
    { number: 1, runId: RUN[0], leader: 'a', firstLsn: 1, crcBefore: 0 },
    { number: 2, runId: RUN[1], leader: 'bé', firstLsn: 5, crcBefore: 0x01020304 },
  ])
  log.startEpoch({ runId: RUN[2], leader: 'c', committedAtMs: 1_700_000_000_123.5 })
  log.append([draft('first part', 1), draft('second part')])
  log.syncNow()
  log.append([{ format: 65_535, flags: 0, committedAtMs: -1, payload: new Uint8Array(0) }])
  log.append([draft(new Uint8Array(3500).map((_, i) => i))])
  log.append([{ format: FORMAT_CONTROL, flags: 0, committedAtMs: 0, payload: Uint8Array.of(2, 9) }])
  log.append([draft(new Uint8Array(600).fill(7))])
  log.slots.reserve('local', 9)
  log.slots.reserve('follower é', 13)
  await log.close()
}

function open(files: Files, directory: string): Log {
  let salt = 0x1111_1111
  return openLog({ directory, files, segmentBytes: 8192, random: { uint32: () => (salt += 0x0101_0101) } })
}
