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
  /** Of the leader; it comes back there. */
  readonly leaderAddress: string
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
  monitored(name: string, role: 'leader' | 'follower'): Monitored {
    const processes = this.#processes
    return {
      name,
      role,
      get address() {
        return processes.get(name)?.address
      },
      get state() {
        const process = processes.get(name)
        return process === undefined ? 'absent' : process.running ? 'running' : 'killed'
      },
    }
  }

  /** Starts the process of a node, a first one or one after a kill. */
  start(name: string, role: 'leader' | 'follower'): NodeProcess {
    const { directory, leaderAddress, clock } = this.#options
    const options =
      role === 'leader'
        ? { listen: leaderAddress }
        : {
            listen: 'tcp://127.0.0.1:0',
            leader: leaderAddress,
            snapshotBytesPerSecond: SNAPSHOT_BYTES_PER_SECOND,
          }
    const started = new NodeProcess(
      { name, directory: join(directory, name), ...options },
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

  /** Ends every process: followers first, so that none of them tries to reach a leader that is gone. */
  async stop(): Promise<void> {
    const processes = [...this.#processes.values()].toReversed()
    await Promise.all(processes.map((each) => each.stop()))
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
    if (event.kind === 'failed') {
      const { code, message } = event['error'] as Record<'code' | 'message', string>
      display.note(`${name} failed: ${code} ${message}`)
    }
  }
}

const MEBIBYTE = 1024 * 1024
