/**
 * Changes of keys as bytes, for both formats of `MemoryStorage`.
 *
 * A change: the key, then 0 or 1 and the old value, then 0 or 1 and the new value. Integers are LEB128, texts UTF-8 with
 * their length before them.
 */
import type { ByteReader, ByteWriter } from './bytes.ts'
import type { MemoryChange } from './connection.ts'

/** One change for each key that ends with another value than it began with, in the order of first touch. */
export function netChanges(journal: readonly MemoryChange[]): MemoryChange[] {
  const net = new Map<string, MemoryChange>()
  for (const { key, before, after } of journal) {
    net.set(key, { key, before: net.has(key) ? net.get(key)?.before : before, after })
  }
  return [...net.values()].filter(({ before, after }) => before !== after)
}

export function writeOptional(writer: ByteWriter, value: string | undefined): void {
  writer.integer(value === undefined ? 0 : 1)
  if (value !== undefined) writer.text(value)
}

export function readOptional(reader: ByteReader): string | undefined {
  const flag = reader.integer()
  if (flag > 1) reader.fail('a flag is neither 0 nor 1')
  return flag === 1 ? reader.text() : undefined
}

export function writeChanges(writer: ByteWriter, changes: readonly MemoryChange[]): void {
  writer.integer(changes.length)
  for (const { key, before, after } of changes) {
    writer.text(key)
    writeOptional(writer, before)
    writeOptional(writer, after)
  }
}

export function readChanges(reader: ByteReader): MemoryChange[] {
  const count = reader.integer()
  const changes: MemoryChange[] = []
  for (let index = 0; index < count; index++) {
    changes.push({ key: reader.text(), before: readOptional(reader), after: readOptional(reader) })
  }
  return changes
}

/** A change as plain data. */
export function describeChange({ key, before, after }: MemoryChange): Record<string, string | null> {
  return { key, before: before ?? null, after: after ?? null }
}
