/** What a log must refuse, on the real log. */
import { crc32 } from 'node:zlib'
import { isUnderstudyError, type Log } from '@understudy/contracts'
import { openLog } from '@understudy/log'
import { SeededRandom, SimulatedDisk } from '@understudy/testkit'
import { InvariantBreach } from '../simulation/breach.ts'
import { rawRecords } from '../simulation/raw-records.ts'

function logOf(disk: SimulatedDisk): Log {
  return openLog({
    directory: '/log',
    files: disk.mount(),
    random: disk.random,
    segmentBytes: 8192,
    tailCacheBytes: 0,
  })
}

/** A sound record that continues the chain and begins a lower epoch is not taken. */
export async function staleEpoch(): Promise<void> {
  const log = logOf(new SimulatedDisk({ random: new SeededRandom('stale') }))
  for (const runId of ['00000000000000aa', '00000000000000bb', '00000000000000cc'])
    log.startEpoch({ runId, leader: 'a', committedAtMs: 0 })
  log.syncNow()
  const last = log.read(3)
  if (last === undefined) throw new Error('nothing was read')
  const record = Buffer.from(last.bytes)
  record.writeUInt32LE(log.end.crc, 8)
  record.writeBigUInt64LE(4n, 16)
  record.writeBigUInt64LE(2n, 24)
  record.writeUInt32LE(crc32(record.subarray(4)), 0)
  try {
    log.appendEncoded(record)
  } catch (error) {
    if (isUnderstudyError(error)) return
    throw error
  }
  throw new InvariantBreach(
    'I4',
    `a record of epoch 2 was taken after epoch 3: ${JSON.stringify(log.history.map(({ number }) => number))}`,
  )
}

/** A bit that flipped on the disk is found before the record is handed out, and before the log goes on after it. */
export async function flippedRecord(): Promise<void> {
  const disk = new SimulatedDisk({ random: new SeededRandom('flip') })
  const log = logOf(disk)
  log.startEpoch({ runId: '00000000000000aa', leader: 'a', committedAtMs: 0 })
  for (let i = 0; i < 8; i++)
    log.append([{ format: 1, flags: 0, committedAtMs: 0, payload: new Uint8Array(200).fill(i) }])
  log.syncNow()
  const path = disk.paths.find((name) => name.endsWith('.segment')) ?? ''
  disk.flipBit(path, { offset: 4096 + 32 + 60 + 32 + 40 + 100, bit: 3 })
  expectRefused('reading', () => {
    for (let lsn = 1; lsn <= 9; lsn++)
      for (const { crc, computedCrc } of rawRecords(log.read(lsn)?.bytes ?? new Uint8Array()))
        if (crc !== computedCrc) return false
    return true
  })
  await log.close()
  expectRefused('opening', () => logOf(disk).end.lsn === 9)
}

function expectRefused(doing: string, isSound: () => boolean): void {
  let sound: boolean
  try {
    sound = isSound()
  } catch (error) {
    if (isUnderstudyError(error, 'LOG_CORRUPT')) return
    throw error
  }
  throw new InvariantBreach(
    'I11',
    `${doing} a log did not notice a flipped bit${sound ? '' : ' and handed out a damaged record'}`,
  )
}
