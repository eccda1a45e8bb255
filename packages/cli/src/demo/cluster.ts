/** The demo's three nodes: their processes, which die and come back, and what the display learns from their events. */
import { join } from 'node:path'
import type { Client } from '@understudy/client'
import { type Clock, type UnderstudyError } from '@understudy/contracts'
import { connectTo } from '../connections.ts'
import type { Display } from './display.ts'
import type { Monitored } from './monitor.ts'
import { NodeProcess, type ProcessEvent } from './node-process.ts'

/** So slow that a person sees the snapshots travel. */
const SNAPSHOT_BYTES_PER_SECOND = 12 * 1024 * 1024

/** For an answer, also on a machine that has much else to do. */
const TIMEOUT_MS = 60_000

export interface ClusterOptions {
  readonly directory: string
  /** Where each node listens, by name; it comes back there. */
  readonly addresses: ReadonlyMap<string, string>
  readonly clock: Clock
  readonly display: Display
}

export class Cluster {
  readonly #options: ClusterOptions
  readonly #processes = new Map<string, NodeProcess>()
  readonly #lost = Promise.withResolvers<never>()

  constructor(options: ClusterOptions) {
    this.#options = options
    this.#lost.promise.catch(() => {})
  }

  /** Rejects when a process ends that was not told to; never resolves. */
  get lost(): Promise<never> {
    return this.#lost.promise
  }

  /** For the monitor: a node keeps its name through all its processes. */
  monitored(name: string): Monitored {
    const processes = this.#processes
    return {
      name,
      get address() {
        return processes.get(name)?.address
      },
      get state() {
        const process = processes.get(name)
        return process === undefined ? 'absent' : process.running ? 'running' : 'killed'
      },
    }
  }

  /** Where a node keeps its data. */
  directory(name: string): string {
    return join(this.#options.directory, name)
  }

  /** Starts the process of a node, a first one or one after a kill; the very first one `founds` the cluster. */
  start(name: string, founds: boolean = false): NodeProcess {
    const { directory, addresses, clock } = this.#options
    const started = new NodeProcess(
      {
        name,
        directory: this.directory(name),
        members: [...addresses].map(([member, address]) => `${member}=${address}`).join(','),
        coordinator: join(directory, 'coordinator.db'),
        founds,
        snapshotBytesPerSecond: SNAPSHOT_BYTES_PER_SECOND,
      },
      clock,
      (event) => this.#show(name, event),
      (error: UnderstudyError) => this.#lost.reject(error),
    )
    this.#processes.set(name, started)
    return started
  }

  process(name: string): NodeProcess {
    const found = this.#processes.get(name)
    if (found === undefined) throw new Error(`no node ${name}`)
    return found
  }

  /** A client of each node, in the order given. The caller closes them. */
  connect(names: readonly string[]): Promise<Client[]> {
    return Promise.all(
      names.map((name) => connectTo(this.process(name).address ?? '', undefined, TIMEOUT_MS)),
    )
  }

  /** Ends every process. */
  async stop(): Promise<void> {
    await Promise.all([...this.#processes.values()].map((each) => each.stop()))
  }

  #show(name: string, event: ProcessEvent): void {
    const { display } = this.#options
    if (event.kind === 'snapshot') {
      const { receivedBytes, totalBytes } = event['progress'] as Record<
        'receivedBytes' | 'totalBytes',
        number
      >
      display.progress(`snapshot ${name}`, receivedBytes / MEBIBYTE, totalBytes / MEBIBYTE, 'MiB')
    }
    // Nobody asks a leader to stop here: one that does was too busy to keep its lease, and a person should see that.
    if (event.kind === 'stoppedLeading') {
      const { message } = event['error'] as { readonly message: string }
      display.note(`${name} stopped leading: ${message}`)
    }
    if (event.kind === 'failed') {
      const { code, message } = event['error'] as Record<'code' | 'message', string>
      display.note(`${name} failed: ${code} ${message}`)
    }
  }
}

const MEBIBYTE = 1024 * 1024
