/** Mutants of payloads: of their bytes, and of what they say. */
import type { PlainCodec, PlainGroup, PlainTable, PlainValueMessage } from './plain-reading.ts'

export interface Base {
  readonly payload: Uint8Array
  readonly group: PlainGroup
}

type Random = (below: number) => number

export function mutantOf(base: Base, bases: readonly Base[], codec: PlainCodec, random: Random): Uint8Array {
  const other = bases[random(bases.length)] as Base
  if (random(2) === 0) return mutatedBytes(base.payload, other.payload, random)
  const group = structuredClone(base.group)
  for (let left = random(3) + 1; left > 0; left -= 1) mutateGroup(group, other.group, random)
  // Mostly with the number of rows that it has now.
  if (random(8) > 0) group.changes = String(rowsOf(group))
  return codec.encode(group)
}

function mutatedBytes(payload: Uint8Array, other: Uint8Array, random: Random): Uint8Array {
  let bytes = [...payload]
  // Lengths that do not fit end everything: mostly one byte at a time.
  const isGentle = random(4) > 0
  for (let left = isGentle ? 1 : random(4) + 1; left > 0; left -= 1) {
    const at = random(bytes.length)
    switch (random(isGentle ? 3 : 7)) {
      case 0:
        bytes[at] = (bytes[at] as number) ^ (1 << random(8))
        break
      case 1:
        bytes[at] = random(256)
        break
      case 2:
        bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random(5)] as number
        break
      case 3:
        bytes.splice(at, random(8) + 1)
        break
      case 4:
        bytes.splice(at, 0, ...Array.from({ length: random(8) + 1 }, () => random(256)))
        break
      case 5: {
        const from = random(other.length)
        bytes.splice(at, random(20), ...other.subarray(from, from + random(20)))
        break
      }
      default:
        bytes = bytes.slice(0, at + 1)
    }
    if (bytes.length === 0) bytes = [8]
  }
  return Uint8Array.from(bytes)
}

function mutateGroup(group: PlainGroup, other: PlainGroup, random: Random): void {
  const steps = (group.steps ??= [])
  const tables = steps.flatMap(({ rows }) => (rows === undefined ? [] : [rows]))
  const table = tables[random(Math.max(tables.length, 1))]
  const kind = random(12)
  if (kind < 7 && table !== undefined) {
    if (kind < 4) mutateValue(table, random)
    else mutateTable(table, random)
    return
  }
  switch (kind) {
    case 7:
      shuffle(steps, random)
      break
    case 8:
      // A step, or what comes after the steps, of another group.
      steps.splice(
        random(steps.length + 1),
        random(2),
        ...structuredClone((other.steps ?? []).slice(0, 1 + random(2))),
      )
      break
    case 9:
      Object.assign(group, { ...structuredClone(other), version: group.version, schema: group.schema, steps })
      break
    case 10: {
      const text =
        steps.find(({ schema }) => schema !== undefined)?.schema ?? group.triggers?.triggers?.at(-1)
      if (text !== undefined) text.sql = mutateText(text.sql, random)
      break
    }
    default:
      mutateTail(group, random)
  }
}

function mutateTail(group: PlainGroup, random: Random): void {
  const { sequences, statistics } = group
  switch (random(5)) {
    case 0:
      group.user_version = random(2 ** 32) - 2 ** 31
      break
    case 1:
      if (sequences !== undefined) sequences.all = sequences.all !== true
      break
    case 2:
      for (const each of sequences?.sequences ?? [])
        each[random(2) === 0 ? 'name' : 'value'] = anyValue(random)
      break
    case 3:
      for (const { values } of statistics?.rows ?? []) values[random(3)] = anyValue(random)
      break
    default:
      group.triggers?.triggers?.splice(random(3), 1)
  }
}

function mutateTable(table: PlainTable, random: Random): void {
  const lists = [table.deletes, table.updates, table.inserts].filter((list) => list !== undefined)
  const list = lists[random(lists.length)] as unknown[] | undefined
  switch (random(9)) {
    case 0:
      table.replace = table.replace !== true
      break
    case 1:
      list?.splice(random(list.length), 1)
      break
    case 2:
      if (list !== undefined && list.length > 0) list.push(structuredClone(list[random(list.length)]))
      break
    case 3:
      shuffle(list ?? [], random)
      break
    case 4:
      shuffle(table.columns, random)
      break
    case 5:
      shuffle(table.key, random)
      break
    case 6: {
      const { deletes, inserts } = table
      table.deletes = inserts ?? []
      table.inserts = deletes ?? []
      break
    }
    case 7:
      table.table = ['kv', 'p', 'c', 'nc', 'u', 's', '_understudy_trigger', 'sqlite_sequence', 'KV'][
        random(9)
      ] as string
      break
    default: {
      const at = random(table.columns.length)
      table.columns[at] = mutateText(table.columns[at] as string, random)
    }
  }
}

function mutateValue(table: PlainTable, random: Random): void {
  const rows = [...(table.deletes ?? []), ...(table.inserts ?? [])].map(({ values }) => values)
  const sides = (table.updates ?? []).flatMap((update) => [update.key, update.old, update.new])
  const all = [...rows, ...sides].filter((values) => values.length > 0)
  const values = all[random(all.length)]
  if (values === undefined) return
  const at = random(values.length)
  const donor = all[random(all.length)] as PlainValueMessage[]
  values[at] = random(2) === 0 ? anyValue(random) : (donor[random(donor.length)] as PlainValueMessage)
}

function anyValue(random: Random): PlainValueMessage {
  const values: readonly PlainValueMessage[] = [
    { null: true },
    { null: false },
    {},
    { integer: String(random(5)) },
    { integer: '9223372036854775807' },
    { integer: String(-random(2 ** 31)) },
    { real: random(4) },
    { real: [Number.NaN, -0, Number.POSITIVE_INFINITY, 1e-310][random(4)] as number },
    { text: Buffer.from(['a', '1', 'kv', 'ABC', '', 'x\0y'][random(6)] as string) },
    { text: Uint8Array.of(0xc3, random(256)) },
    { blob: Uint8Array.of(random(256)) },
    { blob: new Uint8Array(random(12)) },
  ]
  return values[random(values.length)] as PlainValueMessage
}

function mutateText(text: string, random: Random): string {
  const at = random(text.length + 1)
  const pieces = ['x', ' ', ';', '\0', ',', ')', '--', 'temp ', '; drop table p', '/*', "'", '"', 'é']
  const piece = pieces[random(pieces.length)] as string
  return text.slice(0, at) + piece + text.slice(random(2) === 0 ? at : at + 1)
}

function shuffle(list: unknown[], random: Random): void {
  for (let index = list.length - 1; index > 0; index -= 1) {
    const other = random(index + 1)
    ;[list[index], list[other]] = [list[other], list[index]]
  }
}

function rowsOf(group: PlainGroup): number {
  let count = 0
  for (const { rows } of group.steps ?? []) {
    count += (rows?.deletes?.length ?? 0) + (rows?.updates?.length ?? 0) + (rows?.inserts?.length ?? 0)
  }
  return count
}
