/**
 * Names of a simulated disk: the tree that the process sees, the tree that is durable, and the changes between.
 *
 * Decides: which names a crash can leave.
 * Leaves to others: what stands in files (inode.ts).
 *
 * 1. Creating, renaming and removing a name changes its directory; the change is durable once that directory is synced.
 *    A rename belongs to the directory of the new name and is atomic: never both names gone, never half.
 * 2. Unsynced changes of a directory survive a crash in any combination, applied in their order.
 * 3. A name whose directory did not survive is gone with it.
 */
import { posix } from 'node:path'
import type { SeededRandom } from '../random.ts'
import type { CrashOutcome, Inode } from './inode.ts'

/** A file, or a directory. */
export type Entry = Inode | 'directory'

type Change =
  | { readonly kind: 'link'; readonly path: string; readonly entry: Entry }
  | { readonly kind: 'remove'; readonly path: string }
  | { readonly kind: 'rename'; readonly from: string; readonly to: string; readonly entry: Entry }

export class NameSpace {
  #current: Map<string, Entry>
  #durable: Map<string, Entry>
  /** By directory, oldest first. */
  #pending = new Map<string, Change[]>()

  constructor(current?: Map<string, Entry>, durable?: Map<string, Entry>) {
    this.#current = current ?? new Map([['/', 'directory']])
    this.#durable = durable ?? new Map([['/', 'directory']])
  }

  get(path: string): Entry | undefined {
    return this.#current.get(path)
  }

  /** Every file that a name leads to, also one that only the durable tree still names. */
  inodes(): Set<Inode> {
    const found = new Set<Inode>()
    for (const tree of [this.#current, this.#durable]) {
      for (const entry of tree.values()) if (entry !== 'directory') found.add(entry)
    }
    for (const changes of this.#pending.values()) {
      for (const change of changes)
        if (change.kind !== 'remove' && change.entry !== 'directory') found.add(change.entry)
    }
    return found
  }

  /** Files with a name now. */
  *files(): IterableIterator<[string, Inode]> {
    for (const [path, entry] of this.#current) if (entry !== 'directory') yield [path, entry]
  }

  list(directory: string): string[] {
    const names: string[] = []
    for (const path of this.#current.keys()) {
      if (path !== '/' && posix.dirname(path) === directory) names.push(posix.basename(path))
    }
    return names.sort()
  }

  link(path: string, entry: Entry): void {
    this.#change(path, { kind: 'link', path, entry })
  }

  remove(path: string): void {
    this.#change(path, { kind: 'remove', path })
  }

  rename(from: string, to: string): void {
    const entry = this.#current.get(from)
    if (entry === undefined) return
    this.#change(to, { kind: 'rename', from, to, entry })
    // Else a later sync of the old directory would bring the old name back.
    if (posix.dirname(from) !== posix.dirname(to)) this.#change(from, { kind: 'remove', path: from })
  }

  /** The names of this directory become durable. */
  sync(directory: string): void {
    for (const change of this.#pending.get(directory) ?? []) applyChange(this.#durable, change)
    this.#pending.delete(directory)
  }

  /** A failed sync: the changes stay visible, and may or may not be durable. */
  syncFailed(directory: string, random: SeededRandom): void {
    for (const change of this.#pending.get(directory) ?? []) {
      if (random.chance(0.5)) applyChange(this.#durable, change)
    }
    this.#pending.delete(directory)
  }

  crash(outcome: CrashOutcome, random: SeededRandom): void {
    for (const changes of this.#pending.values()) {
      const probability = random.pick([0, 0.5, 1])
      for (const change of changes) {
        const survives = outcome === 'random' ? random.chance(probability) : outcome === 'keep-all'
        if (survives) applyChange(this.#durable, change)
      }
    }
    this.#pending.clear()
    for (const path of this.#durable.keys()) {
      if (path !== '/' && !this.#hasAncestors(path)) this.#durable.delete(path)
    }
    this.#current = new Map(this.#durable)
  }

  /** The same names over copies of the same files. */
  copy(): NameSpace {
    const copies = new Map<Inode, Inode>()
    const copyOf = (entry: Entry): Entry => {
      if (entry === 'directory') return entry
      const known = copies.get(entry) ?? entry.copy()
      copies.set(entry, known)
      return known
    }
    const copyTree = (tree: Map<string, Entry>): Map<string, Entry> =>
      new Map([...tree].map(([path, entry]) => [path, copyOf(entry)]))
    const copy = new NameSpace(copyTree(this.#current), copyTree(this.#durable))
    for (const [directory, changes] of this.#pending) {
      copy.#pending.set(
        directory,
        changes.map((change) =>
          change.kind !== 'remove' ? { ...change, entry: copyOf(change.entry) } : change,
        ),
      )
    }
    return copy
  }

  #hasAncestors(path: string): boolean {
    for (let parent = posix.dirname(path); ; parent = posix.dirname(parent)) {
      if (this.#durable.get(parent) !== 'directory') return false
      if (parent === '/') return true
    }
  }

  #change(path: string, change: Change): void {
    applyChange(this.#current, change)
    const directory = posix.dirname(path)
    const pending = this.#pending.get(directory)
    if (pending === undefined) this.#pending.set(directory, [change])
    else pending.push(change)
  }
}

function applyChange(tree: Map<string, Entry>, change: Change): void {
  if (change.kind === 'link') tree.set(change.path, change.entry)
  else if (change.kind === 'remove') tree.delete(change.path)
  else {
    tree.delete(change.from)
    tree.set(change.to, change.entry)
  }
}
