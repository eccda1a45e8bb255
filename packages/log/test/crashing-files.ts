/** Files that stop at their n-th change, as a process does that is killed or a machine that loses power there. */
import type { FileHandle, Files } from '@understudy/contracts'

export class Crash extends Error {}

export interface CrashPlan {
  /** Changes that still happen; the next one throws, and so does everything after it. */
  remaining: number
  /** Changes that happened. */
  done: number
  readonly crashed: boolean
}

export function crashingFiles(files: Files): { readonly files: Files; readonly plan: CrashPlan } {
  const plan = { remaining: Infinity, done: 0, crashed: false }
  const change = <T>(run: () => T): T => {
    if (plan.crashed || plan.remaining-- <= 0) {
      plan.crashed = true
      throw new Crash('crashed here')
    }
    plan.done++
    return run()
  }
  const alive = <T>(run: () => T): T => {
    if (plan.crashed) throw new Crash('crashed before')
    return run()
  }
  const wrap = (handle: FileHandle): FileHandle => ({
    path: handle.path,
    size: () => alive(() => handle.size()),
    read: (target, offset) => alive(() => handle.read(target, offset)),
    write: (parts, offset) => change(() => handle.write(parts, offset)),
    truncate: (size) => change(() => handle.truncate(size)),
    dataSyncNow: () => change(() => handle.dataSyncNow()),
    dataSync: async () => change(() => handle.dataSync()),
    close: () => handle.close(),
  })
  const wrapped: Files = {
    open: (path, options) =>
      wrap(
        options?.create === true
          ? change(() => files.open(path, options))
          : alive(() => files.open(path, options)),
      ),
    exists: (path) => alive(() => files.exists(path)),
    size: (path) => alive(() => files.size(path)),
    makeDirectory: (path) => change(() => files.makeDirectory(path)),
    list: (path) => alive(() => files.list(path)),
    rename: (from, to) => change(() => files.rename(from, to)),
    remove: (path) => change(() => files.remove(path)),
    syncDirectory: (path) => change(() => files.syncDirectory(path)),
  }
  return { files: wrapped, plan }
}
