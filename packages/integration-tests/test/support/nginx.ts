/** nginx of the operating system as a child process, in a folder of the test; ended with the test. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

/** Debian has it where only root looks. */
const PLACES = ['nginx', '/usr/sbin/nginx', '/usr/local/sbin/nginx']

/** The program; undefined where it is missing. */
export function findNginx(): string | undefined {
  return PLACES.find((place) => spawnSync(place, ['-v'], { stdio: 'ignore' }).status === 0)
}

export interface NginxOptions {
  readonly program: string
  readonly folder: string
  /** Address of the leader. */
  readonly upstream: string
  /** Texts: TLS ends at nginx. */
  readonly tls?: { readonly cert: string; readonly key: string }
}

export class Nginx {
  readonly port: number
  readonly #program: string
  readonly #folder: string
  #child: ChildProcess | undefined
  #log = ''

  constructor(options: NginxOptions, port: number) {
    this.port = port
    this.#program = options.program
    this.#folder = options.folder
    mkdirSync(this.#folder, { recursive: true })
    if (options.tls !== undefined) {
      writeFileSync(join(this.#folder, 'cert.pem'), options.tls.cert)
      writeFileSync(join(this.#folder, 'key.pem'), options.tls.key, { mode: 0o600 })
    }
    writeFileSync(join(this.#folder, 'nginx.conf'), configuration(options, port))
  }

  async start(): Promise<void> {
    const { signal, abort } = alive()
    const child = spawn(this.#program, ['-p', this.#folder, '-c', 'nginx.conf', '-e', 'stderr'], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.#child = child
    child.stderr.on('data', (text) => (this.#log += String(text)))
    child.once('error', abort).once('exit', abort)
    while (!(await takesConnections(this.port))) {
      if (signal.aborted) throw new Error(`nginx ended: ${this.#log}`)
    }
  }

  /** At once, as in a crash: connections break off. */
  async stop(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const gone = once(child, 'exit')
    child.kill('SIGTERM')
    await gone
  }
}

/** Starts nginx at a free port. */
export async function startNginx(options: NginxOptions): Promise<Nginx> {
  for (let attempt = 1; ; attempt++) {
    const nginx = new Nginx(options, await freePort())
    try {
      await nginx.start()
      onTestFinished(() => nginx.stop())
      return nginx
    } catch (error) {
      // Somebody may have taken the port since.
      if (attempt === 3) throw error
    }
  }
}

/** The part that the README of the transport tells users to write. */
function documented(): string {
  const readme = new URL('../../../transport-ws/README.md', import.meta.url)
  const block = /```nginx\n([^]*?)```/.exec(readFileSync(readme, 'utf8'))
  if (block?.[1] === undefined) throw new Error('The README has no configuration of nginx.')
  return block[1]
}

function configuration({ upstream, tls, folder }: NginxOptions, port: number): string {
  const location = documented().replace('127.0.0.1:7401', new URL(upstream).host)
  const secure = tls === undefined ? '' : 'ssl_certificate cert.pem; ssl_certificate_key key.pem;'
  return `
    daemon off;
    master_process off;
    pid ${join(folder, 'nginx.pid')};
    events {}
    http {
      access_log off;
      client_body_temp_path body;
      proxy_temp_path proxy;
      fastcgi_temp_path fastcgi;
      uwsgi_temp_path uwsgi;
      scgi_temp_path scgi;
      server {
        listen 127.0.0.1:${port}${tls === undefined ? '' : ' ssl'};
        ${secure}
        ${location}
      }
    }
  `
}

function alive(): { signal: AbortSignal; abort: () => void } {
  const controller = new AbortController()
  return { signal: controller.signal, abort: () => controller.abort() }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

function takesConnections(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  return new Promise((resolve) => {
    const answer = (value: boolean): void => {
      socket.destroy()
      // Not faster than the program can come up.
      setImmediate(() => resolve(value))
    }
    socket.once('connect', () => answer(true)).once('error', () => answer(false))
  })
}
