/** The package `log` alone: a durable, checksummed log of your own records, and what becomes of a damaged tail. */
import { mkdtemp, open, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isUnderstudyError } from '@understudy/contracts'
import { openLog } from '@understudy/log'

const folder = await mkdtemp(join(tmpdir(), 'understudy-'))
const directory = join(folder, 'log')
const encode = (text: string): Uint8Array => new TextEncoder().encode(text)
const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
const record = (
  text: string,
): { format: number; flags: number; committedAtMs: number; payload: Uint8Array } => ({
  format: 32_768, // formats from 32768 on are yours
  flags: 0,
  committedAtMs: Date.now(),
  payload: encode(text),
})

const log = openLog({ directory })
log.startEpoch({ runId: '00c0ffee00c0ffee', leader: 'example', committedAtMs: Date.now() })
log.append([record('one'), record('two')])
await log.sync() // many callers share one fdatasync
for (const { lsn, payload } of log.records(2)) console.log(`${lsn}: ${decode(payload)}`)
log.append([record('three, never synced')])
const { end, durable } = log
console.log(`appended up to ${end.lsn}, durable up to ${durable}`)

// A crash: the log is not closed, and the last record is torn.
const [segment = ''] = (await readdir(directory)).filter((name) => name.endsWith('.segment'))
await flip(join(directory, segment), 'three')
const reopened = openLog({ directory })
console.log(`after the crash: up to ${reopened.end.lsn}; a torn tail that was never synced is cut`)
await reopened.close()

// Damage to what was synced is another matter: it is reported, and the file is kept as it is.
await flip(join(directory, segment), 'two')
try {
  openLog({ directory })
} catch (error) {
  if (!isUnderstudyError(error, 'LOG_CORRUPT')) throw error
  console.log(
    `${error.code} in ${String(error.details['segment']).split('/').at(-1)} at LSN ${String(error.details['lsn'])}`,
  )
}
await log.close().catch(() => {})
await rm(folder, { recursive: true })

/** Flips a bit of the first byte of `text` in a file. */
async function flip(path: string, text: string): Promise<void> {
  const file = await open(path, 'r+')
  const bytes = await file.readFile()
  const at = bytes.indexOf(text)
  await file.write(Uint8Array.of((bytes[at] ?? 0) ^ 1), 0, 1, at)
  await file.close()
}
