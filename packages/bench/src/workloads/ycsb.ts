/**
 * YCSB A to F by their published definition (core workloads of https://github.com/brianfrankcooper/YCSB): the table `usertable` of ten
 * fields of 100 bytes, keys `user` + the FNV hash of a number, records inserted in that order.
 *
 * Decides: the share of each operation and which record it is for. As its core workload has them: `readallfields` true,
 * `writeallfields` false, scans of 1 to 100 records, each length as likely as the others.
 *
 * 1. A new record is read only once its insert was answered (`AcknowledgedCounter`).
 * 2. A read-modify-write is two requests, as in YCSB, and not one transaction: another may come between them.
 * 3. Keys of E are spread over the records at the beginning and the ones that are expected to come: a tenth more. One that does not exist yet is drawn again.
 */
import type { Random } from '@understudy/contracts'
import { AcknowledgedCounter } from './acknowledged-counter.ts'
import { fnv64Text } from './fnv.ts'
import { below, between, seededRandom, text, unit } from './random.ts'
import {
  batches,
  read,
  write,
  type Dialect,
  type Operation,
  type Value,
  type Workload,
  type WorkloadSession,
} from './workload.ts'
import { Latest, ScrambledZipfian } from './zipfian.ts'

const FIELDS = 10
const FIELD_LENGTH = 100
const SCAN_LENGTH_MAX = 100
const EXPECTED_NEW = 0.1

const FIELD_NAMES: readonly string[] = Array.from({ length: FIELDS }, (_, at) => `field${at}`)
const INSERT = `insert into usertable (ycsb_key, ${FIELD_NAMES.join(', ')}) values (?${', ?'.repeat(FIELDS)})`
const READ = 'select * from usertable where ycsb_key = ?'
const SCAN = 'select * from usertable where ycsb_key >= ? order by ycsb_key limit ?'
const UPDATES: readonly string[] = FIELD_NAMES.map(
  (field) => `update usertable set ${field} = ? where ycsb_key = ?`,
)

/** Shares of the operations, which are 1 together, and how records are chosen. */
interface Mix {
  readonly title: string
  readonly read: number
  readonly update: number
  readonly insert: number
  readonly scan: number
  readonly readModifyWrite: number
  readonly request: 'zipfian' | 'latest'
}

type Kind = 'read' | 'update' | 'insert' | 'scan' | 'readModifyWrite'

const NONE = { read: 0, update: 0, insert: 0, scan: 0, readModifyWrite: 0, request: 'zipfian' } as const

export const YCSB_MIXES: Readonly<Record<'a' | 'b' | 'c' | 'd' | 'e' | 'f', Mix>> = {
  a: { ...NONE, title: 'update heavy: 50 % reads, 50 % updates, zipfian', read: 0.5, update: 0.5 },
  b: { ...NONE, title: 'read mostly: 95 % reads, 5 % updates, zipfian', read: 0.95, update: 0.05 },
  c: { ...NONE, title: 'read only, zipfian', read: 1 },
  d: { ...NONE, title: 'read latest: 95 % reads, 5 % inserts', read: 0.95, insert: 0.05, request: 'latest' },
  e: { ...NONE, title: 'short ranges: 95 % scans, 5 % inserts, zipfian', scan: 0.95, insert: 0.05 },
  f: { ...NONE, title: '50 % reads, 50 % read-modify-write, zipfian', read: 0.5, readModifyWrite: 0.5 },
}

export const ycsb: readonly Workload[] = Object.entries(YCSB_MIXES).map(([letter, mix]) => ({
  name: `ycsb-${letter}`,
  title: `YCSB ${letter.toUpperCase()}, ${mix.title}`,
  rowsDefault: 1_000_000,
  rowsQuick: 10_000,
  schema,
  rows: ({ rows }) => {
    const random = seededRandom(1)
    return batches(INSERT, rows, (at) => record(random, at), 500)
  },
  start: ({ random, rows }) => new YcsbSession(mix, random, rows),
}))

/** What the k-th record is called. */
export function ycsbKey(number: number): string {
  return `user${fnv64Text(number)}`
}

function schema(dialect: Dialect): readonly string[] {
  const type = dialect === 'mysql' ? 'varchar(100)' : 'text'
  const key = dialect === 'mysql' ? 'varchar(64)' : 'text'
  return [
    `create table usertable (ycsb_key ${key} primary key, ${FIELD_NAMES.map((field) => `${field} ${type}`).join(', ')})`,
  ]
}

function record(random: Random, number: number): readonly Value[] {
  return [ycsbKey(number), ...FIELD_NAMES.map(() => text(random, FIELD_LENGTH))]
}

/** An insert under way. */
interface Insert extends Operation {
  readonly number: number
}

class YcsbSession implements WorkloadSession {
  readonly #mix: Mix
  readonly #random: Random
  readonly #zipfian: ScrambledZipfian
  readonly #latest: Latest
  readonly #records: AcknowledgedCounter

  constructor(mix: Mix, random: Random, rows: number) {
    this.#mix = mix
    this.#random = random
    const expected = mix.insert > 0 ? Math.ceil(rows * (1 + EXPECTED_NEW)) : rows
    this.#zipfian = new ScrambledZipfian(Math.max(1, expected))
    this.#latest = new Latest(Math.max(1, rows))
    this.#records = new AcknowledgedCounter(rows)
  }

  next(): Operation {
    const kind = this.#kind()
    if (kind === 'insert') return this.#insert()
    const key = ycsbKey(this.#chosen())
    if (kind === 'scan')
      return { name: 'scan', steps: [read(SCAN, [key, between(this.#random, 1, SCAN_LENGTH_MAX)])] }
    if (kind === 'read') return { name: 'read', steps: [read(READ, [key])], keyValue: { get: key } }
    const update = write({
      sql: UPDATES[below(this.#random, FIELDS)] as string,
      params: [text(this.#random, FIELD_LENGTH), key],
    })
    return kind === 'update'
      ? { name: 'update', steps: [update] }
      : { name: 'readModifyWrite', steps: [read(READ, [key]), update] }
  }

  done(operation: Operation): void {
    if (operation.name === 'insert') this.#records.acknowledge((operation as Insert).number)
  }

  #kind(): Kind {
    const mix = this.#mix
    let left = unit(this.#random)
    for (const kind of ['read', 'update', 'insert', 'scan'] as const) {
      left -= mix[kind]
      if (left < 0) return kind
    }
    return mix.readModifyWrite > 0 ? 'readModifyWrite' : 'read'
  }

  #insert(): Insert {
    const number = this.#records.next()
    return { name: 'insert', number, steps: [write({ sql: INSERT, params: record(this.#random, number) })] }
  }

  /** The number of a record that exists. */
  #chosen(): number {
    const newest = this.#records.newest
    if (this.#mix.request === 'latest') return this.#latest.next(this.#random, newest)
    for (;;) {
      const number = this.#zipfian.next(this.#random)
      if (number <= newest) return number
    }
  }
}
