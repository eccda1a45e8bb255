/** What else can go wrong with a machine: a disk that is full, and no time to run. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { endChild } from './children.ts'

/** A disk of its own in memory, which can be filled. Needs root. */
export class SmallDisk {
  readonly path: string
  readonly #ballast: string

  constructor(path: string, mebibytes: number) {
    this.path = path
    this.#ballast = join(path, 'ballast')
    mkdirSync(path, { recursive: true })
    const args = ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=0700`, 'tmpfs', path]
    const { status, stderr } = spawnSync('mount', args, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`mount failed: ${stderr}`)
  }

  /** Not a byte is left for others. */
  fill(): void {
    const { bavail, bsize } = statfsSync(this.path)
    for (let size = bavail * bsize; size >= 1; size = Math.floor(size / 2)) {
      try {
        writeFileSync(this.#ballast, Buffer.alloc(size), { flag: 'a' })
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
      }
    }
  }

  empty(): void {
    rmSync(this.#ballast, { force: true })
  }

  unmount(): void {
    spawnSync('umount', ['-l', this.path])
  }
}

/** Processes that do nothing and take all the time that they get. */
export class Burners {
  readonly #children: ChildProcess[]

  constructor(each: number = 4) {
    const count = each * availableParallelism()
    const program = [
      '-e',
      'process.stdin.once("close", () => process.exit()).resume(); const burn = () => { const end = Date.now() + 50; while (Date.now() < end); setImmediate(burn) }; burn()',
    ]
    this.#children = Array.from({ length: count }, () =>
      spawn(process.execPath, program, { stdio: ['pipe', 'ignore', 'ignore'] }),
    )
  }

  async stop(): Promise<void> {
    for (const child of this.#children) await endChild(child)
  }
}
