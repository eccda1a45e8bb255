/**
 * The small programs that are killed at every syscall: `node syscall-programs.ts <kind> <directory> [leader]`.
 *
 * Each prints `ack n` the moment something is acknowledged, in one write of its own, and `error CODE` when something is
 * refused; it ends with exit code 0 when nothing interferes. What it writes follows from numbers alone, so that the
 * checks (`syscall-checks.ts`) know what must be there.
 */
import fs from 'node:fs'
import { LOCAL_SLOT, isUnderstudyError } from '@understudy/contracts'
import { openLog } from '@understudy/log'
import { createNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'
import { formatOptions } from './formats.ts'
import { LOG_SEGMENT_BYTES, ROW_FORMAT, payloadOf, rowOf, type ProgramKind } from './syscall-shapes.ts'

const COMMITS = 6
const [kind = '', directory = '', leader = ''] = process.argv.slice(2)

function say(line: string): void {
  fs.writeSync(1, `${line}\n`)
}

function sayError(error: unknown): void {
  const codes: string[] = []
  for (let at: unknown = error; at instanceof Error; at = at.cause)
    if (isUnderstudyError(at)) codes.push(at.code)
  say(`error ${codes.join(' ') || `UNEXPECTED ${String(error)}`}`)
}

function breathe(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 5))
}

/** Appends and syncs; with `collects`, over several segments of which the oldest go. */
async function runLog(appends: number, collects: boolean): Promise<void> {
  const log = openLog({ directory, segmentBytes: LOG_SEGMENT_BYTES })
  if (log.slots.get(LOCAL_SLOT) === undefined) log.slots.reserve(LOCAL_SLOT, 0)
  log.startEpoch({ runId: '00112233aabbccdd', leader: 'a', committedAtMs: 1 })
  log.syncNow()
  say(`ack ${log.durable}`)
  for (let i = 0; i < appends; i++) {
    const drafts = [1, 2].map((n) => ({
      format: ROW_FORMAT,
      flags: 0,
      committedAtMs: 1,
      payload: payloadOf(log.end.lsn + n),
    }))
    const { lsn } = log.append(drafts)
    if (i % 2 === 0) log.syncNow()
    else await log.sync()
    say(`ack ${lsn}`)
    if (collects && i % 3 === 2) {
      log.slots.advance(LOCAL_SLOT, lsn - 4)
      log.collect()
    }
    // Lets the log prepare its next segment, as a server does between two requests.
    if (collects) await breathe()
  }
  await log.close()
}

async function runCommits(): Promise<void> {
  const node = await createNode({
    name: 'a',
    directory,
    role: 'leader',
    ...formatOptions(),
    transport: tcp(),
    segmentBytes: LOG_SEGMENT_BYTES,
  })
  try {
    await node.write((tx) =>
      tx.exec(
        'create table if not exists t (id integer primary key, v text); create index if not exists t_v on t (v)',
      ),
    )
    say('ack 0')
    for (let id = 1; id <= COMMITS; id++) {
      try {
        await node.write((tx) => tx.run('insert into t values (?, ?)', [id, rowOf(id)]))
        say(`ack ${id}`)
      } catch (error) {
        sayError(error)
        id--
        if (node.failure !== undefined || process.argv.includes('--stop-at-error')) break
      }
      if (id === 3) await node.checkpoint()
    }
    if (node.failure !== undefined) {
      await node
        .write((tx) => tx.run('insert into t values (?, ?)', [COMMITS + 1, rowOf(COMMITS + 1)]))
        .then(() => say(`ack ${COMMITS + 1}`), sayError)
      say(`failed ${node.failure.code}`)
    }
  } finally {
    await node.close()
  }
}

async function runFollower(): Promise<void> {
  const isStreaming = Promise.withResolvers<void>()
  const node = await createNode({
    name: 'b',
    directory,
    role: 'follower',
    leader,
    ...formatOptions(),
    transport: tcp(),
    segmentBytes: LOG_SEGMENT_BYTES,
    onEvent: (event) => {
      if (event.kind === 'bootstrapped') say('bootstrapped')
      if (event.kind === 'state' && event.state === 'streaming') isStreaming.resolve()
      if (event.kind === 'failed') isStreaming.reject(event.error)
    },
  })
  await isStreaming.promise
  await node.close()
}

const PROGRAMS: Readonly<Record<ProgramKind, () => Promise<void>>> = {
  append: () => runLog(3, false),
  rotation: () => runLog(10, true),
  commit: runCommits,
  bootstrap: runFollower,
  renewal: runFollower,
}

try {
  await PROGRAMS[kind as ProgramKind]()
} catch (error) {
  sayError(error)
  process.exitCode = 3
}
