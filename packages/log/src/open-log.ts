/** Opens a log with real defaults for what it is not given. */
import { UnderstudyError, systemClock, systemRandom, type Log } from '@understudy/contracts'
import { DurableLog } from './durable-log.ts'
import { nodeFiles } from './node-files.ts'
import { sizesOf, type LogOptions } from './options.ts'

/**
 * Opens the log in `directory`, making an empty one when there is none, and finishes what a crash interrupted.
 *
 * Throws `LOG_CORRUPT`, `STATE_CORRUPT`, `FORMAT_VERSION`, `INVALID_ARGUMENT`, and `DISK_FULL`, `READ_ONLY_DISK` or
 * `STORAGE_FAILED` from the disk. Two logs on one directory destroy it: keep a lock of the directory while it is open.
 */
export function openLog(options: LogOptions): Log {
  if (typeof options.directory !== 'string' || options.directory === '') {
    throw new UnderstudyError('INVALID_ARGUMENT', 'The log needs a directory; nothing was opened.')
  }
  const sizes = sizesOf(options)
  const dir = {
    files: options.files ?? nodeFiles(),
    path: options.directory,
    random: options.random ?? systemRandom(),
    segmentBytes: sizes.segmentBytes,
  }
  return new DurableLog(dir, options.clock ?? systemClock({ background: true }), sizes)
}
