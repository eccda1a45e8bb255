/** One server of etcd at a place of the network: its connections can be cut, it can be killed, paused and started again. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { endChild, within } from './children.ts'
import type { FaultNetwork } from './network.ts'

export const HAS_ETCD: boolean = spawnSync('etcd', ['--version'], { stdio: 'ignore' }).status === 0

export class EtcdServer implements AsyncDisposable {
  /** Of the place. */
  readonly name: string
  readonly #command: { readonly file: string; readonly args: readonly string[] }
  #child: ChildProcess | undefined

  /** Listens where the network says that a node at `place` would. */
  constructor(network: FaultNetwork, place: string, folder: string) {
    this.name = place
    const data = join(folder, place)
    mkdirSync(data, { recursive: true, mode: 0o700 })
    const listen = network.listenAddress(place)
    network.listens(place, listen)
    const { host } = new URL(listen)
    // One member talks to nobody: any port will do for that.
    const peer = 'http://127.0.0.1:0'
    const program = [
      ['etcd', '--name', place, '--data-dir', data, '--logger', 'zap', '--log-level', 'info'],
      ['--listen-client-urls', `http://${host}`, '--advertise-client-urls', `http://${host}`],
      [
        '--listen-peer-urls',
        peer,
        '--initial-advertise-peer-urls',
        peer,
        '--initial-cluster',
        `${place}=${peer}`,
      ],
    ].flat()
    this.#command = network.command(place, program)
  }

  /** Resolves once it takes requests. */
  async start(): Promise<void> {
    const child = spawn(this.#command.file, this.#command.args, { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#child = child
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const last: string[] = []
    child.once('exit', () => reject(new Error(`etcd ended:\n${last.join('\n')}`)))
    createInterface({ input: child.stderr }).on('line', (line) => {
      last.push(line)
      if (last.length > 20) last.shift()
      if (line.includes('serving client traffic')) resolve()
    })
    await within(promise, 20_000, () => `etcd to serve; it said last:\n${last.join('\n')}`)
  }

  pause(): void {
    this.#child?.kill('SIGSTOP')
  }

  resume(): void {
    this.#child?.kill('SIGCONT')
  }

  async kill(): Promise<void> {
    if (this.#child !== undefined) await endChild(this.#child)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
  }
}
