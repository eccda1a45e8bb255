/**
 * The newest promise of this node, in a file of its own beside the log: a log that is lost or replaced takes no promise with it.
 */
import { join } from 'node:path'
import type { Files } from '@understudy/contracts'
import type { Promised } from '../decide/observations.ts'
import { readStateFile, writeStateFile, type StateFormat } from '../state-file.ts'

const FILE = 'promise.state'
const FORMAT: StateFormat<Promised> = {
  magic: 'understudy-promise',
  version: 1,
  isState: isPromised,
  advice:
    'Nothing was changed. Without its promise this node could acknowledge what it must not: move the whole directory away and let it begin anew under another name, or restore the file.',
}

/** Throws `STATE_CORRUPT`, `FORMAT_VERSION`. */
export function readPromise(files: Files, directory: string): Promised | undefined {
  return readStateFile(files, join(directory, FILE), FORMAT)
}

/** Durable when it returns. Throws what the disk throws. */
export function writePromise(files: Files, directory: string, promised: Promised): void {
  writeStateFile(files, join(directory, FILE), FORMAT, promised)
}

function isPromised(value: unknown): value is Promised {
  if (typeof value !== 'object' || value === null) return false
  const { epoch, runId, candidate } = value as Partial<Record<keyof Promised, unknown>>
  return (
    Number.isSafeInteger(epoch) &&
    typeof runId === 'string' &&
    /^[0-9a-f]{16}$/.test(runId) &&
    typeof candidate === 'string'
  )
}
