/**
 * Where a node keeps its things.
 *
 * ```
 * data/a/
 *   lock                      held while a node uses the directory
 *   node.state                which of the following counts
 *   generation-1/
 *     database.sqlite         with its -wal and -shm
 *     log/                    segments, slots
 *   generation-2/             a bootstrap in progress; counts only once node.state says so
 *     damage.txt              what was found damaged in it: such a generation is kept for a person to look at
 * ```
 *
 * A bootstrap builds the next generation beside the current one; switching is one atomic replacement of node.state.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Files } from '@understudy/contracts'

const GENERATION = /^generation-(\d+)$/

export interface GenerationPaths {
  readonly directory: string
  readonly database: string
  readonly log: string
}

export function generationPaths(directory: string, generation: number): GenerationPaths {
  const root = join(directory, `generation-${generation}`)
  return { directory: root, database: join(root, 'database.sqlite'), log: join(root, 'log') }
}

const DAMAGE_NOTE = 'damage.txt'

/** Notes in a generation that it is damaged; durable when it returns. */
export function noteDamage(files: Files, generation: GenerationPaths, text: string): void {
  const handle = files.open(join(generation.directory, DAMAGE_NOTE), { create: true, write: true })
  try {
    handle.truncate(0)
    handle.write([Buffer.from(`${text}\n`)], 0)
    handle.dataSyncNow()
  } finally {
    handle.close()
  }
  files.syncDirectory(generation.directory)
}

/** Whether `directory` holds data of a node, whole or in the making. */
export function hasGenerations(files: Files, directory: string): boolean {
  return files.exists(directory) && files.list(directory).some((name) => GENERATION.test(name))
}

/** Removes every generation but `keep` and damaged ones: what a finished or a given-up bootstrap left. The rest of the directory is not ours to touch. */
export function removeOtherGenerations(files: Files, directory: string, keep: readonly number[]): void {
  for (const name of files.list(directory)) {
    const match = GENERATION.exec(name)
    if (match === null || keep.includes(Number(match[1]))) continue
    if (files.exists(join(directory, name, DAMAGE_NOTE))) continue
    rmSync(join(directory, name), { recursive: true, force: true })
  }
}
