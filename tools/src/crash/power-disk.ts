/**
 * A disk whose power can be cut: ext4 in a file, mounted through a loop device, with the shutdown ioctl of ext4.
 *
 * From the ioctl on nothing reaches the image any more, not even the file system's own log (`EXT4_GOING_FLAGS_NOLOGFLUSH`),
 * so after mounting it again it holds what was synced and whatever else had been written back by then. Linux, root.
 * Source of the ioctl: `EXT4_IOC_SHUTDOWN`, `_IOR('X', 125, __u32)`, in fs/ext4/ext4.h.
 */
import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sleep } from './node-process.ts'

/** Sparse; more than a database, its log and a write-ahead log of 64 MiB, from which on it begins anew. */
const IMAGE_BYTES = 256 * 1024 * 1024
const CUTTER = `
import fcntl, os, struct, sys
for line in sys.stdin:
    folder = os.open(line.strip(), os.O_RDONLY)
    try:
        fcntl.ioctl(folder, 0x8004587d, struct.pack('I', 2))
        print('cut', flush=True)
    except OSError as error:
        print(error, flush=True)
    os.close(folder)
`

/** Why power cannot be cut here; `undefined` when it can. Tries it once, in `folder`. */
export async function whyNoPowerCuts(folder: string): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'it needs Linux'
  if (process.getuid?.() !== 0) return 'it needs root'
  for (const tool of ['mkfs.ext4', 'mount', 'umount', 'python3'])
    if (spawnSync('which', [tool]).status !== 0) return `${tool} is not installed`
  const disk = new PowerDisk(join(folder, 'probe'))
  try {
    disk.format()
    disk.mount()
    await disk.cut()
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message.split('\n', 2).join(' ') : String(error)
  } finally {
    await disk.dispose()
  }
}

export class PowerDisk {
  /** Where it is mounted. */
  readonly path: string
  readonly #image: string
  #cutter: ChildProcess | undefined
  #answers: AsyncIterator<string> | undefined
  #lines: Interface | undefined
  #isMounted = false
  readonly #onExit = (): void => {
    if (this.#isMounted) spawnSync('umount', ['-l', this.path])
  }

  constructor(folder: string) {
    mkdirSync(folder, { recursive: true })
    this.path = join(folder, 'mount')
    this.#image = join(folder, 'image')
    mkdirSync(this.path, { recursive: true })
    // Also when a signal or an error that nobody caught ends the process.
    process.once('exit', this.#onExit)
  }

  /** Makes it empty. */
  format(): void {
    writeFileSync(this.#image, '')
    truncateSync(this.#image, IMAGE_BYTES)
    execFileSync('mkfs.ext4', ['-q', '-F', '-m', '0', this.#image], { stdio: ['ignore', 'ignore', 'pipe'] })
  }

  mount(): void {
    execFileSync('mount', ['-o', 'loop', this.#image, this.path], { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#isMounted = true
  }

  /** Everything written so far reaches the disk. */
  sync(): void {
    execFileSync('sync', ['-f', this.path])
  }

  /** Resolves once nothing more can reach the disk. */
  async cut(): Promise<void> {
    this.arm()
    this.#cutter?.stdin?.write(`${this.path}\n`)
    const answer = await this.#answers?.next()
    if (answer?.value !== 'cut') throw new Error(`the power could not be cut: ${String(answer?.value)}`)
  }

  /** Starts what cuts, so that cutting takes no time later. */
  arm(): void {
    if (this.#cutter !== undefined) return
    const cutter = spawn('python3', ['-u', '-c', CUTTER], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#cutter = cutter
    this.#lines = createInterface({ input: cutter.stdout })
    this.#answers = this.#lines[Symbol.asyncIterator]()
  }

  /** Once every process that used it is dead. */
  async unmount(): Promise<void> {
    for (let attempt = 0; this.#isMounted; attempt++) {
      const { status, stderr } = spawnSync('umount', [this.path], { encoding: 'utf8' })
      if (status === 0) this.#isMounted = false
      else if (attempt > 100) throw new Error(`umount failed: ${stderr}`)
      else await sleep(20)
    }
  }

  async dispose(): Promise<void> {
    this.#lines?.close()
    this.#cutter?.kill()
    try {
      await this.unmount()
    } finally {
      this.#onExit()
      this.#isMounted = false
      process.off('exit', this.#onExit)
    }
  }
}
