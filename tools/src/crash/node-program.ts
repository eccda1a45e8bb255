/**
 * One node as a process of its own, for the crash tests: takes settings as its argument, requests over IPC; tells every
 * acknowledgement to its observer as it comes.
 *
 * Decides nothing about crashes: it is killed.
 */
import { SCHEMA, applyWrite, readState } from './workload.ts'
import { formatPosition, isUnderstudyError, parsePosition } from '@understudy/contracts'
import { createNode, type NodeEvent, type UnderstudyNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'
import { formatOptions } from './formats.ts'
import type { Reply, Request, Settings, Tidings } from './node-process.ts'

const settings = JSON.parse(process.argv[2] as string) as Settings
const acks: number[] = []
let loading: Promise<void> | undefined
const work = { isPaused: true }

function tell(message: Tidings): void {
  process.send?.(message)
}

function told(error: unknown): { code: string; message: string } {
  if (isUnderstudyError(error)) return { code: error.code, message: error.message }
  return {
    code: 'UNEXPECTED',
    message: error instanceof Error ? (error.stack ?? error.message) : String(error),
  }
}

function onEvent(event: NodeEvent): void {
  if (event.kind === 'failed') tell({ type: 'failed', error: told(event.error) })
  else if (event.kind === 'leading')
    tell({ type: 'event', kind: 'leading', redone: event.redoneTo.lsn - event.redoneFrom.lsn })
  else if (event.kind === 'state') tell({ type: 'event', kind: event.state, redone: 0 })
  else tell({ type: 'event', kind: event.kind, redone: 0 })
}

/** Acknowledgements leave in one message for each turn of the event loop. */
function acknowledge(writer: number, serial: number): void {
  if (acks.length === 0) setImmediate(() => tell({ type: 'acks', pairs: acks.splice(0) }))
  acks.push(writer, serial)
}

async function runWriter(node: UnderstudyNode, writer: number, from: number, pauseMs: number): Promise<void> {
  for (let serial = from + 1; !work.isPaused; serial++) {
    try {
      await node.write((tx) => applyWrite(tx, writer, serial))
    } catch (error) {
      tell({ type: 'writeFailed', error: told(error) })
      return
    }
    acknowledge(writer, serial)
    if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs * (0.5 + (serial % 11) / 10)))
  }
}

async function load(node: UnderstudyNode): Promise<void> {
  work.isPaused = false
  const serials = new Map((await node.read((tx) => readState(tx, false))).progress)
  const writers = Array.from({ length: settings.writers }, (_, writer) =>
    runWriter(node, writer, serials.get(writer) ?? 0, settings.pauseMs),
  )
  loading = Promise.all(writers).then(() => {})
}

async function answer(node: UnderstudyNode, request: Request): Promise<Reply> {
  switch (request.ask) {
    case 'state':
      return { state: await node.read((tx) => readState(tx, request.thorough)) }
    case 'load':
      await load(node)
      return {}
    case 'pause':
      work.isPaused = true
      await loading
      return {}
    case 'status':
      return { status: node.status() }
    case 'mark':
      return { position: formatPosition(await node.mark()) }
    case 'digest': {
      const at = parsePosition(request.at)
      if (at === undefined) throw new Error(`no position: ${request.at}`)
      return { tables: await node.digest(at, { timeoutMs: request.timeoutMs }) }
    }
    case 'stop':
      work.isPaused = true
      await node.close()
      return {}
  }
}

async function serve(node: UnderstudyNode, request: Request & { readonly id: number }): Promise<void> {
  const reply = await answer(node, request).catch((error: unknown): Reply => ({ error: told(error) }))
  tell({ type: 'reply', id: request.id, reply })
  if (request.ask === 'stop') process.disconnect()
}

// Without its observer nobody would ever stop it.
process.once('disconnect', () => process.exit())
try {
  const node = await createNode({ ...settings.node, ...formatOptions(), transport: tcp(), onEvent })
  const isNew =
    settings.node.role === 'leader' &&
    !(await node.read((tx) => tx.get("select 1 from sqlite_schema where name = 'bulk'")))
  if (isNew) await node.write((tx) => SCHEMA.forEach((sql) => tx.exec(sql)))
  process.on('message', (request) => void serve(node, request as Request & { id: number }))
  tell({ type: 'ready', address: node.address })
} catch (error) {
  tell({ type: 'failed', error: told(error) })
  process.exitCode = 1
  process.disconnect()
}
