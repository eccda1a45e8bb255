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
 *     sidecar.txt             in the place of a database: the path of the one that another program writes
 *   generation-2/             a bootstrap in progress; counts only once node.state says so
 *     damage.txt              what was found damaged in it: such a generation is kept for a person to look at
 * ```
 *
 * A bootstrap builds the next generation beside the current one; switching is one atomic replacement of node.state.
 */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { UnderstudyError, type Files } from '@understudy/contracts'

const GENERATION = /^generation-(\d+)$/

export interface GenerationPaths {
  readonly directory: string
  readonly database: string
  readonly log: string
}

/** `sidecar`: the database of another program, in the place of one of this generation. */
export function generationPaths(directory: string, generation: number, sidecar?: string): GenerationPaths {
  const root = join(directory, `generation-${generation}`)
  return { directory: root, database: sidecar ?? join(root, 'database.sqlite'), log: join(root, 'log') }
}

const SIDECAR_NOTE = 'sidecar.txt'

/** Notes which database the log of a generation is about; durable when it returns. */
export function noteSidecar(files: Files, generation: string, sidecar: string): void {
  writeNote(files, generation, SIDECAR_NOTE, sidecar)
}

/** Throws `INVALID_ARGUMENT` unless the log of a generation is about this database; `undefined` for its own. */
export function checkSidecar(files: Files, generation: string, sidecar: string | undefined): void {
  const note = join(generation, SIDECAR_NOTE)
  const noted = files.exists(note) ? readFileSync(note, 'utf8').trimEnd() : undefined
  if (noted === sidecar) return
  const isOf = noted === undefined ? 'a database of its own' : `the database ${noted} of another program`
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `The log in ${generation} is that of ${isOf}, not of ${sidecar ?? 'one of its own'}: its followers would get other data. Nothing was changed. ` +
      (noted === undefined || sidecar === undefined
        ? 'Start it as it was started first, or use an empty directory.'
        : `If the database was moved, write its new path into ${note}.`),
  )
}

const DAMAGE_NOTE = 'damage.txt'

/** Notes in a generation that it is damaged; durable when it returns. */
export function noteDamage(files: Files, generation: GenerationPaths, text: string): void {
  writeNote(files, generation.directory, DAMAGE_NOTE, text)
}

function writeNote(files: Files, directory: string, name: string, text: string): void {
  const handle = files.open(join(directory, name), { create: true, write: true })
  try {
    handle.truncate(0)
    handle.write([Buffer.from(`${text}\n`)], 0)
    handle.dataSyncNow()
  } finally {
    handle.close()
  }
  files.syncDirectory(directory)
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
