/**
 * What must hold of a directory after its program was killed at some syscall, or met an error there.
 *
 * Each check opens the directory as a restart does, compares all of it with what was acknowledged, and then uses it once
 * more: a log takes a record, a node a commit, a follower the rest of the stream.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { FORMAT_CONTROL, LOCAL_SLOT, type LogRecord } from '@understudy/contracts'
import { nodeFiles, openLog } from '@understudy/log'
import { createNode, readNodeState, type UnderstudyNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'
import { formatOptions } from './formats.ts'
import { within } from './node-process.ts'
import { LOG_SEGMENT_BYTES, ROW_FORMAT, payloadOf, rowOf } from './syscall-shapes.ts'

const NOWHERE = 'tcp://127.0.0.1:1'

/** The highest number that a program acknowledged; -1 when nothing was. */
export function lastAck(lines: readonly string[]): number {
  const numbers = lines.map((line) => /^ack (\d+)$/.exec(line)?.[1])
  return Math.max(-1, ...numbers.filter((text) => text !== undefined).map(Number))
}

/** The log holds what was acknowledged, every record is the right one, and it goes on. */
export async function checkLog(directory: string, acked: number): Promise<void> {
  await using log = openLog({ directory, segmentBytes: LOG_SEGMENT_BYTES })
  if (log.end.lsn < acked) throw new Error(`record ${acked} was acknowledged, the log ends at ${log.end.lsn}`)
  const needed = (log.slots.get(LOCAL_SLOT)?.lsn ?? 0) + 1
  if (log.first > needed) throw new Error(`the log begins at ${log.first}, its slot needs ${needed}`)
  checkRecords([...log.records(log.first, log.end.lsn)], log.first, log.end.lsn)
  const next = log.end.lsn + 1
  if (log.history.length === 0) log.startEpoch({ runId: '00112233aabbccdd', leader: 'a', committedAtMs: 1 })
  else log.append([{ format: ROW_FORMAT, flags: 0, committedAtMs: 1, payload: payloadOf(next) }])
  log.syncNow()
  if (log.durable !== next) throw new Error(`the log did not go on to ${next}`)
}

function checkRecords(records: readonly LogRecord[], first: number, last: number): void {
  if (records.length !== last - first + 1)
    throw new Error(`${records.length} records from ${first} to ${last}`)
  for (const [at, { lsn, format, payload }] of records.entries()) {
    if (lsn !== first + at) throw new Error(`record ${lsn} stands where ${first + at} should`)
    if (format !== FORMAT_CONTROL && !Buffer.from(payload).equals(payloadOf(lsn)))
      throw new Error(`record ${lsn} holds other bytes`)
  }
}

/** The leader starts, holds every acknowledged row and at most one more, is sound, and takes another commit. */
export async function checkLeader(directory: string, acked: number): Promise<void> {
  await using node = await createNode({
    name: 'a',
    directory,
    role: 'leader',
    ...formatOptions(),
    transport: tcp(),
    segmentBytes: LOG_SEGMENT_BYTES,
  })
  const count = await checkRows(node, acked)
  if (count > acked + 1) throw new Error(`${count} rows, though only ${acked} were acknowledged`)
  await node.write((tx) => {
    tx.exec('create table if not exists t (id integer primary key, v text)')
    tx.run('insert into t values (?, ?)', [count + 1, rowOf(count + 1)])
  })
  await checkRows(node, count + 1)
}

/** Returns how many rows there are: 1 to n without a gap, at least `acked`. */
async function checkRows(node: UnderstudyNode, acked: number): Promise<number> {
  const { rows, integrity } = await node.read((tx) => ({
    rows:
      tx.get("select 1 from sqlite_schema where name = 't'") === undefined
        ? []
        : tx.all('select id, v from t order by id'),
    integrity: tx.get('pragma integrity_check'),
  }))
  if (integrity?.['integrity_check'] !== 'ok')
    throw new Error(`integrity check: ${JSON.stringify(integrity)}`)
  if (rows.length < acked) throw new Error(`row ${acked} was acknowledged, ${rows.length} are there`)
  for (const [at, row] of rows.entries())
    if (row['id'] !== at + 1 || row['v'] !== rowOf(at + 1))
      throw new Error(`row ${at + 1} is ${JSON.stringify(row)}`)
  return rows.length
}

/**
 * A follower's directory names no generation, or one that is whole: the rows of one of `counts`, old or new. Then it
 * becomes equal to its leader.
 */
export async function checkFollower(
  directory: string,
  leader: UnderstudyNode,
  counts: readonly number[],
): Promise<void> {
  const common = {
    name: 'b',
    directory,
    role: 'follower',
    ...formatOptions(),
    transport: tcp(),
    segmentBytes: LOG_SEGMENT_BYTES,
  } as const
  const state = existsSync(directory) ? readNodeState(nodeFiles(), directory) : undefined
  if (state !== undefined && state.generation > 0) {
    await using alone = await within(
      createNode({ ...common, leader: NOWHERE }),
      10_000,
      'a follower without its leader',
    )
    const count = await checkRows(alone, 0)
    if (!counts.includes(count))
      throw new Error(`generation ${state.generation} holds ${count} rows, not ${counts.join(' or ')}`)
  } else if (counts.length > 1) {
    throw new Error(`the old generation is gone: ${join(directory, 'node.state')} names none`)
  }
  const again = await within(
    createNode({ ...common, leader: leader.address! }),
    20_000,
    'the follower to start again',
  )
  try {
    await within(
      again.read((tx) => tx.get('select 1'), { after: leader.applied, timeoutMs: 15_000 }),
      20_000,
      'it to catch up',
    )
    const count = await checkRows(again, Math.max(...counts))
    if (count !== Math.max(...counts)) throw new Error(`the follower ends with ${count} rows`)
  } finally {
    await again.close()
  }
}
