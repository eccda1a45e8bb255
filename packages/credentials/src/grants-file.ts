/**
 * Whom a listener lets in, from a file that may change while it runs.
 *
 * Each look-up asks the file system whether the file is another one, which costs microseconds once for each new
 * connection, so a credential that was taken out opens nothing new from then on. Connections that are open stay open.
 * A file that has become unreadable or wrong is not taken: the list before it stays in force, and `problem` says why.
 */
import { isUnderstudyError, type UnderstudyError } from '@understudy/contracts'
import { grants, type Grant, type Grants } from '@understudy/protocol'
import { invalid, readPrivateFile, stampAt } from './private-file.ts'
import { Fault, parseGrants } from './schema.ts'

export interface GrantsFile extends Grants {
  readonly path: string
  /** Why the file, as it is now, was not taken. */
  readonly problem: UnderstudyError | undefined
  /** Everybody on the list, in its order. */
  all(): readonly Grant[]
}

/** Throws `CREDENTIALS_INVALID` when the file cannot be taken now. */
export function readGrants(path: string): GrantsFile {
  let current = load(path)
  let seen = current.stamp
  let problem: UnderstudyError | undefined
  const refresh = (): void => {
    const stamp = stampAt(path)
    if (stamp === seen) return
    seen = stamp
    try {
      current = load(path)
      seen = current.stamp
      problem = undefined
    } catch (error) {
      if (!isUnderstudyError(error)) throw error
      problem = error
    }
  }
  return {
    path,
    get problem() {
      refresh()
      return problem
    },
    find(name) {
      refresh()
      return current.list.find(name)
    },
    all() {
      refresh()
      return current.all
    },
  }
}

interface Loaded {
  readonly list: Grants
  readonly all: readonly Grant[]
  readonly stamp: string
}

function load(path: string): Loaded {
  const { text, stamp } = readPrivateFile(path)
  try {
    const all = parseGrants(text)
    return { list: grants(all), all, stamp }
  } catch (error) {
    if (error instanceof Fault)
      throw invalid(path, error.message, 'Whoever was let in before still is; mend the file.')
    if (isUnderstudyError(error, 'INVALID_ARGUMENT'))
      throw invalid(path, 'has a name twice', 'Whoever was let in before still is; mend the file.')
    throw error
  }
}
