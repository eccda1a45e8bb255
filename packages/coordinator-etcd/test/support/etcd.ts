/**
 * Members of etcd as child processes, in folders of the test, at free ports of loopback; ended by their process ids.
 *
 * etcd wants to know its ports before it starts (its JSON gateway dials its own), so one may be taken meanwhile: then the
 * cluster is started once more.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Whether etcd is installed; the line that says so is printed once by each file. */
export const HAS_ETCD: boolean = spawnSync('etcd', ['--version'], { stdio: 'ignore' }).status === 0
export const WHY_SKIPPED = 'needs etcd: apt-get install etcd-server'

export interface EtcdOptions {
  readonly members?: number
  /** More arguments for each member. */
  readonly arguments?: readonly string[]
  /** Default http. */
  readonly clientScheme?: 'http' | 'https'
}

export class Member {
  readonly name: string
  readonly url: string
  readonly #program: readonly string[]
  #child: ChildProcess | undefined
  #log = ''

  constructor(name: string, url: string, program: readonly string[]) {
    this.name = name
    this.url = url
    this.#program = program
  }

  get log(): string {
    return this.#log
  }

  start(): void {
    const child = spawn('etcd', this.#program, { stdio: ['ignore', 'ignore', 'pipe'] })
    child.stderr.on('data', (text) => (this.#log += String(text)))
    this.#child = child
  }

  get ended(): boolean {
    return this.#child === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child?.kill(name)
  }

  async kill(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGKILL')
    await gone
  }
}

export class EtcdCluster implements AsyncDisposable {
  readonly members: readonly Member[]
  readonly #folder: string

  constructor(members: readonly Member[], folder: string) {
    this.members = members
    this.#folder = folder
  }

  get endpoints(): string[] {
    return this.members.map(({ url }) => url)
  }

  /** The member that leads, as `of` says. */
  async leader(of: Member = this.members[0]!): Promise<Member> {
    for (;;) {
      const status = await post(of.url, '/v3/maintenance/status', {})
      const own = (status?.['header'] as { member_id?: string } | undefined)?.member_id
      const leader = status?.['leader']
      if (own !== undefined && typeof leader === 'string' && leader !== '0') {
        if (leader === own) return of
        for (const member of this.members) {
          if (member === of || member.ended) continue
          const other = await post(member.url, '/v3/maintenance/status', {})
          if ((other?.['header'] as { member_id?: string } | undefined)?.member_id === leader) return member
        }
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const member of this.members) member.signal('SIGCONT')
    await Promise.all(this.members.map((member) => member.kill()))
    rmSync(this.#folder, { recursive: true })
  }
}

/** Starts a cluster, and waits until it takes writes. */
export async function startEtcd(options: EtcdOptions = {}): Promise<EtcdCluster> {
  for (let attempt = 1; ; attempt++) {
    const cluster = await prepared(options)
    for (const member of cluster.members) member.start()
    if (await comesUp(cluster)) return cluster
    const log = cluster.members.map((member) => member.log).join('\n')
    await cluster[Symbol.asyncDispose]()
    if (attempt === 3) throw new Error(`etcd does not come up:\n${log}`)
  }
}

async function prepared({
  members: count = 1,
  arguments: more = [],
  clientScheme = 'http',
}: EtcdOptions): Promise<EtcdCluster> {
  const folder = mkdtempSync(join(tmpdir(), 'etcd-'))
  const ports = await freePorts(2 * count)
  const names = Array.from({ length: count }, (_, at) => `m${at}`)
  const peer = (at: number): string => `http://127.0.0.1:${ports[count + at]}`
  const members = names.map((name, at) => {
    const data = join(folder, name)
    mkdirSync(data, { mode: 0o700 })
    const url = `${clientScheme}://127.0.0.1:${ports[at]}`
    const program = [
      ['--name', name],
      ['--data-dir', data],
      ['--logger', 'zap'],
      ['--log-level', 'error'],
      ['--listen-client-urls', url],
      ['--advertise-client-urls', url],
      ['--listen-peer-urls', peer(at)],
      ['--initial-advertise-peer-urls', peer(at)],
      ['--initial-cluster', names.map((each, of) => `${each}=${peer(of)}`).join(',')],
      ['--initial-cluster-token', folder],
    ].flat()
    return new Member(name, url, [...program, ...more])
  })
  return new EtcdCluster(members, folder)
}

/** Each member answers with a revision that the quorum knows. */
async function comesUp(cluster: EtcdCluster): Promise<boolean> {
  for (const member of cluster.members) {
    if (member.url.startsWith('https:')) {
      while (!member.log.includes('') || !(await takesConnections(member.url))) if (member.ended) return false
      continue
    }
    while ((await post(member.url, '/v3/kv/range', { key: 'AA==' })) === undefined)
      if (member.ended) return false
  }
  return true
}

/** What etcd answers; undefined: nothing, or an error. */
export async function post(
  url: string,
  path: string,
  body: unknown,
): Promise<Record<string, unknown> | undefined> {
  try {
    const response = await fetch(new URL(path, url), {
      method: 'POST',
      body: JSON.stringify(body),
      // Not longer than an election takes.
      signal: AbortSignal.timeout(3000),
    })
    const json = (await response.json()) as Record<string, unknown>
    return response.ok ? json : undefined
  } catch {
    // Not faster than the program can come up.
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
    return undefined
  }
}

async function takesConnections(url: string): Promise<boolean> {
  const { connect } = await import('node:net')
  const socket = connect(Number(new URL(url).port), '127.0.0.1')
  return new Promise((resolve) => {
    const answer = (value: boolean): void => {
      socket.destroy()
      setImmediate(() => resolve(value))
    }
    socket.once('connect', () => answer(true)).once('error', () => answer(false))
  })
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as { port: number }).port)
  for (const server of servers) server.close()
  await Promise.all(servers.map((server) => once(server, 'close')))
  return ports
}
