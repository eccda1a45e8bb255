/**
 * The thread that renews: an event loop and a coordinator of its own, so that nothing the main thread does delays a renewal, and
 * a main thread that does nothing any more gets none.
 */
import { parentPort, workerData } from 'node:worker_threads'
import type { Coordinator, CoordinatorRecipe, HeldLease } from '@understudy/contracts'
import { processClock } from '../process-clock.ts'
import { LeaseCell } from './cell.ts'
import { KeepingLoop } from './loop.ts'
import { plainError, type FromWorker, type ToWorker, type WorkerInput } from './messages.ts'

interface Kept {
  readonly lease: HeldLease
  readonly loop: KeepingLoop
}

const NS_PER_MS = 1e6

class KeeperThread {
  readonly #coordinator: Coordinator
  readonly #tell: (message: FromWorker) => void
  readonly #clock = processClock()
  readonly #kept = new Map<number, Kept>()
  readonly #acquiring = new Set<number>()
  /** Dropped before they were acquired. */
  readonly #dropped = new Set<number>()

  constructor(coordinator: Coordinator, tell: (message: FromWorker) => void) {
    this.#coordinator = coordinator
    this.#tell = tell
  }

  async acquire(message: ToWorker & { kind: 'acquire' }): Promise<void> {
    const { id, options, times, memory } = message
    const cell = new LeaseCell(memory)
    this.#acquiring.add(id)
    try {
      const lease = await this.#coordinator.acquire(options)
      this.#acquiring.delete(id)
      if (this.#dropped.delete(id)) {
        await lease.release().catch(() => undefined)
        return
      }
      cell.begin(this.#nsOf(lease.validUntilMs))
      const loop = new KeepingLoop({
        lease,
        clock: this.#clock,
        times,
        aliveAtMs: () => this.#msOf(cell.aliveAtNs),
        extend: (validUntilMs) => cell.extend(this.#nsOf(validUntilMs)),
        ended: (reason) => {
          cell.end()
          this.#kept.delete(id)
          this.#tell({ kind: 'lost', id, reason })
        },
      })
      this.#kept.set(id, { lease, loop })
      this.#tell({ kind: 'acquired', id, grant: lease.grant })
    } catch (error) {
      this.#acquiring.delete(id)
      this.#dropped.delete(id)
      this.#tell({ kind: 'refused', id, error: plainError(error) })
    }
  }

  async drop({ id, release }: ToWorker & { kind: 'drop' }): Promise<void> {
    const kept = this.#kept.get(id)
    this.#kept.delete(id)
    if (kept === undefined && this.#acquiring.has(id)) this.#dropped.add(id)
    kept?.loop.stop()
    try {
      if (release !== undefined) await kept?.lease.release(release)
      this.#tell({ kind: 'dropped', id })
    } catch (error) {
      this.#tell({ kind: 'dropped', id, error: plainError(error) })
    }
  }

  async close(): Promise<void> {
    for (const { loop } of this.#kept.values()) loop.stop()
    await this.#coordinator.close()
  }

  /** `Clock` of this thread adds what it saw of suspensions; what is shared does not. */
  #nsOf(clockMs: number): bigint {
    return process.hrtime.bigint() + BigInt(Math.floor((clockMs - this.#clock.monotonic()) * NS_PER_MS))
  }

  #msOf(ns: bigint): number {
    return this.#clock.monotonic() - Number(process.hrtime.bigint() - ns) / NS_PER_MS
  }
}

async function make({ module, factory, options }: CoordinatorRecipe): Promise<Coordinator> {
  const loaded = (await import(module)) as Record<
    string,
    (options: unknown) => Coordinator | Promise<Coordinator>
  >
  const create = loaded[factory]
  if (create === undefined) throw new Error(`${module} exports no ${factory}`)
  return create(options)
}

async function run(port: NonNullable<typeof parentPort>): Promise<void> {
  const tell = (message: FromWorker): void => port.postMessage(message)
  let thread: KeeperThread
  try {
    thread = new KeeperThread(await make((workerData as WorkerInput).recipe), tell)
  } catch (error) {
    tell({ kind: 'failed', error: plainError(error) })
    port.close()
    return
  }
  port.on('message', (message: ToWorker) => {
    if (message.kind === 'acquire') void thread.acquire(message)
    else if (message.kind === 'drop') void thread.drop(message)
    else void thread.close().finally(() => tell({ kind: 'closed' }))
  })
  tell({ kind: 'ready' })
}

if (parentPort !== null) await run(parentPort)
