/**
 * A keeper whose renewing happens on a thread of its own.
 *
 * 1. The main thread says that it lives from a timer: an event loop that turns fires it, one that is blocked does not.
 * 2. A thread that ends, however it ends, ends the leases.
 */
import { extname } from 'node:path'
import { Worker } from 'node:worker_threads'
import { UnderstudyError, type CoordinatorRecipe, type SeenLease, type Timer } from '@understudy/contracts'
import { unavailable, type LossReason } from '../errors.ts'
import { LeaseCell } from './cell.ts'
import type { KeeperSettings, KeepRequest, LeaseKeeper } from './keeper.ts'
import { Kept, type KeptLease } from './kept-lease.ts'
import { sharedValidity } from './shared-validity.ts'
import { revivedError, type FromWorker, type ToWorker, type WorkerInput } from './messages.ts'

const NS_PER_MS = 1e6
const TIMEOUT_MS = 2000
/** The main thread says so often, in each stall limit, that it lives. */
const SIGNS_PER_STALL = 4

export async function startThreadKeeper(
  recipe: CoordinatorRecipe,
  settings: KeeperSettings,
): Promise<LeaseKeeper> {
  const workerData: WorkerInput = { recipe }
  const url = new URL(`./keeper-worker${extname(import.meta.url)}`, import.meta.url)
  const worker = new Worker(url, { workerData, name: 'understudy-lease' })
  try {
    await ready(worker)
  } catch (error) {
    await worker.terminate()
    throw error
  }
  return new ThreadKeeper(worker, settings)
}

function ready(worker: Worker): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  worker.once('message', (message: FromWorker) => {
    if (message.kind === 'ready') resolve()
    else if (message.kind === 'failed') reject(revivedError(message.error))
  })
  worker.once('error', (error) => reject(unavailable('keeper', 'its thread did not start', error)))
  worker.once('exit', () => reject(unavailable('keeper', 'its thread ended before it began')))
  return promise
}

interface Entry {
  readonly cell: LeaseCell
  kept?: Kept
  readonly acquired: PromiseWithResolvers<string>
  readonly dropped: PromiseWithResolvers<void>
}

class ThreadKeeper implements LeaseKeeper {
  readonly #worker: Worker
  readonly #settings: KeeperSettings
  readonly #entries = new Map<number, Entry>()
  readonly #exited: Promise<void>
  #nextId = 1
  #sign: Timer | undefined
  #closed = false

  constructor(worker: Worker, settings: KeeperSettings) {
    this.#worker = worker
    this.#settings = settings
    worker.on('message', (message: FromWorker) => this.#hear(message))
    worker.on('error', () => this.#gone())
    this.#exited = new Promise((resolve) => {
      worker.on('exit', () => {
        this.#gone()
        resolve()
      })
    })
    this.#signal()
  }

  async acquire({ holder, epoch, seen, timeoutMs = TIMEOUT_MS }: KeepRequest): Promise<KeptLease> {
    if (this.#closed) throw new UnderstudyError('CLOSED', 'The keeper is closed. Start another one.')
    const { ttlMs, marginMs, stallMs } = this.#settings
    const id = this.#nextId++
    const cell = new LeaseCell()
    cell.beat(process.hrtime.bigint())
    const entry: Entry = { cell, acquired: Promise.withResolvers(), dropped: Promise.withResolvers() }
    this.#entries.set(id, entry)
    const inThread = seen && this.#forThread(seen)
    this.#post({
      kind: 'acquire',
      id,
      options: { holder, epoch, ttlMs, marginMs, timeoutMs, ...(inThread && { seen: inThread }) },
      times: { ttlMs, stallMs },
      memory: cell.memory,
    })
    const grant = await entry.acquired.promise
    const kept = new Kept({
      terms: { grant, holder, epoch, ttlMs },
      validity: sharedValidity(cell),
      drop: (release) => this.#drop(id, entry, release),
    })
    entry.kept = kept
    return kept
  }

  async close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true
      this.#sign?.cancel()
      for (const { kept, cell } of this.#entries.values()) {
        cell.end()
        kept?.ended('was closed')
      }
      this.#post({ kind: 'close' })
    }
    await this.#exited
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #hear(message: FromWorker): void {
    // What it still has to wait for, such as the end of a lease that is no longer renewed, nobody waits for.
    if (message.kind === 'closed') void this.#worker.terminate()
    if (!('id' in message)) return
    const entry = this.#entries.get(message.id)
    if (entry === undefined) return
    switch (message.kind) {
      case 'acquired':
        entry.acquired.resolve(message.grant)
        break
      case 'refused':
        this.#entries.delete(message.id)
        entry.acquired.reject(revivedError(message.error))
        break
      case 'lost':
        this.#lost(message.id, entry, message.reason)
        break
      case 'dropped':
        this.#entries.delete(message.id)
        if (message.error === undefined) entry.dropped.resolve()
        else entry.dropped.reject(revivedError(message.error))
        break
    }
  }

  #lost(id: number, entry: Entry, reason: LossReason): void {
    this.#entries.delete(id)
    // A release under way has nothing left to do.
    entry.dropped.resolve()
    entry.cell.end()
    // Lost before it was handed out: whoever gets it finds the cell ended.
    entry.kept?.ended(reason)
  }

  async #drop(id: number, entry: Entry, release: { timeoutMs: number } | undefined): Promise<void> {
    if (!this.#entries.has(id)) return
    this.#post({ kind: 'drop', id, ...(release && { release }) })
    await entry.dropped.promise
  }

  /** The thread is gone; nothing of it is renewed any more. */
  #gone(): void {
    this.#closed = true
    this.#sign?.cancel()
    for (const [id, entry] of this.#entries) {
      entry.acquired.reject(unavailable('keeper', 'its thread ended'))
      this.#lost(id, entry, 'thread ended')
    }
  }

  #signal(): void {
    const { clock, stallMs } = this.#settings
    const nowNs = process.hrtime.bigint()
    for (const { cell } of this.#entries.values()) cell.beat(nowNs)
    this.#sign = clock.schedule(stallMs / SIGNS_PER_STALL, () => this.#signal())
  }

  #post(message: ToWorker): void {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    this.#worker.postMessage(message)
  }

  /** Suspensions that only this thread's clock knows of are left out: the thread waits longer then. */
  #forThread(seen: SeenLease): SeenLease {
    const agoMs = this.#settings.clock.monotonic() - seen.seenAtMs
    const seenAtMs = Number(process.hrtime.bigint()) / NS_PER_MS - agoMs
    return { ...seen, seenAtMs, freeAtMs: seenAtMs + (seen.freeAtMs - seen.seenAtMs) }
  }
}
