/**
 * Processor time and memory of processes and all that they started, as the system counts them: /proc of Linux. Elsewhere nothing is told.
 *
 * Validity: a child that ended and was waited for is in its parent's count; the system counts in hundredths of a second.
 */
import { readFileSync, readdirSync } from 'node:fs'

export interface ProcessUse {
  readonly cpuSeconds: number
  readonly residentMiB: number
}

const TICKS_PER_SECOND = 100

interface Entry {
  readonly pid: number
  readonly parent: number
  readonly ticks: number
  readonly residentPages: number
}

const PAGE_BYTES = 4096

/** By root of a tree of processes; `undefined` where the system does not tell. */
export function processUse(roots: readonly number[]): ReadonlyMap<number, ProcessUse> | undefined {
  if (process.platform !== 'linux') return undefined
  const entries = readdirSync('/proc').flatMap((name) => (/^\d+$/.test(name) ? entryOf(Number(name)) : []))
  const children = Map.groupBy(entries, ({ parent }) => parent)
  const byPid = new Map(entries.map((entry) => [entry.pid, entry]))
  return new Map(
    roots.map((root) => {
      const tree = treeOf(byPid.get(root), children)
      const ticks = tree.reduce((sum, entry) => sum + entry.ticks, 0)
      const pages = tree.reduce((sum, entry) => sum + entry.residentPages, 0)
      return [root, { cpuSeconds: ticks / TICKS_PER_SECOND, residentMiB: (pages * PAGE_BYTES) / 1024 ** 2 }]
    }),
  )
}

function treeOf(root: Entry | undefined, children: ReadonlyMap<number, readonly Entry[]>): readonly Entry[] {
  if (root === undefined) return []
  return [root, ...(children.get(root.pid) ?? []).flatMap((child) => treeOf(child, children))]
}

/** Fields by proc(5): 4 is the parent, 14 to 17 the ticks, own ones and those of children that ended, 24 the resident pages. */
function entryOf(pid: number): readonly Entry[] {
  let text: string
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    // It ended meanwhile.
    return []
  }
  // The second field is a name in parentheses, which may hold anything.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const field = (number: number): number => Number(fields[number - 3])
  return [
    {
      pid,
      parent: field(4),
      ticks: field(14) + field(15) + field(16) + field(17),
      residentPages: field(24),
    },
  ]
}
