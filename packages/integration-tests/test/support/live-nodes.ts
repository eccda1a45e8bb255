/** Real nodes over TCP in a temporary folder: started, waited for with an end, closed and removed after each test. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isUnderstudyError, type ErrorCode, type UnderstudyError } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import { createNode, type NodeEvent, type NodeOptions, type UnderstudyNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'

/** A node and everything it told. */
export interface LiveNode {
  readonly node: UnderstudyNode
  readonly events: readonly NodeEvent[]
}

export class LiveNodes implements AsyncDisposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'understudy-live-'))
  readonly #open: UnderstudyNode[] = []
  readonly #mounts: string[] = []

  directory(name: string): string {
    return join(this.folder, name)
  }

  async start(options: Partial<NodeOptions> & { readonly name: string }): Promise<LiveNode> {
    const events: NodeEvent[] = []
    const node = await createNode({
      directory: this.directory(options.name),
      role: options.leader === undefined ? 'leader' : 'follower',
      format: rowFormat(),
      transport: tcp(),
      ...(options.leader === undefined && { listen: 'tcp://127.0.0.1:0' }),
      ...options,
      onEvent(event) {
        events.push(event)
        options.onEvent?.(event)
      },
    })
    this.#open.push(node)
    return { node, events }
  }

  /** A leader with a table `t (id, v)` of `rows` rows. */
  async leader(
    rows: number,
    options: Partial<NodeOptions> & { readonly name?: string } = {},
  ): Promise<LiveNode> {
    const live = await this.start({ name: 'a', ...options })
    await live.node.write((tx) => tx.exec('create table t (id integer primary key, v text)'))
    await insertRows(live.node, rows)
    return live
  }

  /** A follower that shows everything its leader has. */
  async follower(leader: LiveNode, options: Partial<NodeOptions> = {}): Promise<LiveNode> {
    const live = await this.start({ name: 'b', leader: leader.node.address!, ...options })
    await live.node.read((tx) => tx.get('select 1'), { after: leader.node.applied, timeoutMs: 10_000 })
    return live
  }

  /** Mounts a file system in memory; needs root. */
  mount(name: string, options: string): string {
    const path = this.directory(name)
    spawnSync('mkdir', ['-p', path])
    const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path], {
      encoding: 'utf8',
    })
    if (status !== 0) throw new Error(`mount failed: ${stderr}`)
    this.#mounts.push(path)
    return path
  }

  remount(path: string, options: string): void {
    const { status, stderr } = spawnSync('mount', ['-o', `remount,${options}`, path], { encoding: 'utf8' })
    if (status !== 0) throw new Error(`remount failed: ${stderr}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.#open.toReversed()) await node.close().catch(() => {})
    for (const path of this.#mounts) spawnSync('umount', ['-l', path])
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** Whether file systems can be mounted here. */
export function canMount(): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false
  const folder = mkdtempSync(join(tmpdir(), 'understudy-mount-'))
  const isMounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder]).status === 0
  if (isMounted) spawnSync('umount', [folder])
  rmSync(folder, { recursive: true, force: true })
  return isMounted
}

export async function insertRows(node: UnderstudyNode, count: number): Promise<void> {
  for (let i = 0; i < count; i++)
    await node.write((tx) => tx.run('insert into t (v) values (?)', [`row ${i}`]))
}

export async function countRows(node: UnderstudyNode): Promise<number> {
  return Number((await node.read((tx) => tx.get('select count(*) as n from t')))?.['n'])
}

/** The error of a promise that must reject with one of ours, within `timeoutMs`. */
export async function refusal(
  promise: Promise<unknown>,
  timeoutMs: number = 10_000,
): Promise<UnderstudyError> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`no answer in ${timeoutMs} ms`)), timeoutMs)
  try {
    const value = await Promise.race([promise, late.promise])
    throw new Error(`it was not refused, but gave ${String(value)}`)
  } catch (error) {
    if (isUnderstudyError(error)) return error
    throw error
  } finally {
    clearTimeout(timer)
  }
}

/** Polls until `check` gives a value; rejects after `timeoutMs`. */
export async function eventually<T>(
  what: string,
  check: () => T | undefined | Promise<T | undefined>,
  timeoutMs: number = 10_000,
): Promise<T> {
  const until = performance.now() + timeoutMs
  for (;;) {
    const value = await check()
    if (value !== undefined) return value
    if (performance.now() > until) throw new Error(`waited ${timeoutMs} ms for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** The failure a node stops with. */
export function failureOf({ node }: LiveNode, timeoutMs?: number): Promise<UnderstudyError> {
  return eventually(`${node.name} to fail`, () => node.failure, timeoutMs)
}

/** The code of an error and of everything that caused it. */
export function codesOf(error: unknown): ErrorCode[] {
  const codes: ErrorCode[] = []
  for (let at = error; at instanceof Error; at = at.cause) if (isUnderstudyError(at)) codes.push(at.code)
  return codes
}
