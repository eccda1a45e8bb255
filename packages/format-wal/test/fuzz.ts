/**
 * Mutated payloads against an applier.
 *
 * Promises that are checked for each one: an error of ours within 50 ms, and no page staged by a payload whose checksum is
 * wrong. Half of them are given a right checksum again, so that the insides are reached: also such a one is refused, unless it
 * does exactly what the payload that it was made of does.
 */
import { crc32 } from 'node:zlib'
import { isUnderstudyError } from '@understudy/contracts'
import { randomNumbers } from '@understudy/testkit'
import { Directory, Follower, Leader } from './helpers.ts'

export interface FuzzResult {
  readonly seed: number
  readonly runs: number
  readonly outcomes: Readonly<Record<string, number>>
  readonly slowestMs: number
  /** Objects and buffers of this thread, looked at now and then. */
  readonly memoryBytesMax: number
}

interface Sample {
  readonly payload: Uint8Array
  /** The file that it applies to. */
  readonly file: Uint8Array
}

const LIMIT_MS = 50
/** What takes longer is tried again, to tell what is slow from what had to wait. */
const NOTED_MS = 2
const PAGE = 512

export async function fuzzPayloads(options: {
  readonly runs: number
  readonly seed: number
}): Promise<FuzzResult> {
  const random = randomNumbers(options.seed)
  const samples = makeSamples()
  const outcomes: Record<string, number> = {}
  let slowestMs = 0
  let memoryBytesMax = 0
  for (let run = 0; run < options.runs; run += 1) {
    const sample = samples[random(samples.length)] as Sample
    const other = samples[random(samples.length)] as Sample
    const sealed = random(2) === 0
    let mutant = mutate(sample.payload, other.payload, random)
    if (sealed) mutant = reseal(mutant)
    if (Buffer.compare(mutant, other.payload) === 0) {
      // Joined to be the other one, whole.
      outcomes['another payload'] = (outcomes['another payload'] ?? 0) + 1
      continue
    }
    if (run % 1000 === 0) {
      memoryBytesMax = Math.max(memoryBytesMax, memoryBytes())
      // Node lets go of a failed zstd call only when the event loop turns.
      await new Promise<void>((resolve) => {
        setImmediate(resolve)
      })
    }
    const start = performance.now()
    const outcome = tryOne(sample, mutant, sealed)
    let tookMs = performance.now() - start
    // Another program may have had the processor: only what is slow each time is.
    for (let again = 0; again < 3 && tookMs > NOTED_MS; again += 1) {
      const repeated = performance.now()
      tryOne(sample, mutant, sealed)
      tookMs = Math.min(tookMs, performance.now() - repeated)
    }
    slowestMs = Math.max(slowestMs, tookMs)
    if (tookMs > LIMIT_MS || outcome.startsWith('BROKEN'))
      throw new Error(
        `seed ${options.seed}, run ${run}: ${outcome} in ${tookMs} ms: ${Buffer.from(mutant).toString('hex')}`,
      )
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
  }
  return { seed: options.seed, runs: options.runs, outcomes, slowestMs, memoryBytesMax }
}

/** A file of its own for each kind of payload: small ones, compressed ones, new pages, fewer pages, a base, recovery. */
function makeSamples(): Sample[] {
  using directory = new Directory()
  const leader = new Leader(directory.path, {
    pageBytes: PAGE,
    before: 'pragma auto_vacuum = full',
    setup: `create table t (id integer primary key, v text); insert into t values (1, 'one'), (2, 'two')`,
  })
  const samples: Sample[] = []
  const take = (make: () => readonly Uint8Array[]): void => {
    const file = leader.connection.pages.bytes()
    for (const payload of make()) samples.push({ payload, file })
  }
  const fill = (from: number, to: number): string =>
    `with recursive s (x) as (select ${from} union all select x + 1 from s where x < ${to}) insert into t select x, printf('%0120d', x) from s`
  take(() => leader.group(`insert into t values (3, 'three')`))
  take(() => leader.group(`update t set v = 'TWO' where id = 2`))
  take(() => leader.group(fill(10, 60)))
  take(() => leader.group(`update t set v = v || 'x'`))
  take(() => leader.group('insert into t values (100, zeroblob(6000))'))
  take(() => leader.group('delete from t where id > 20'))
  take(() => leader.alone('vacuum'))
  take(() => [leader.recorder.base()])
  take(() => leader.recorder.recover())
  leader.finalFile()
  return samples
}

function tryOne(sample: Sample, mutant: Uint8Array, sealed: boolean): string {
  const follower = new Follower(PAGE, sample.file)
  try {
    follower.applier.apply(mutant)
  } catch (error) {
    if (!isUnderstudyError(error)) return `BROKEN: it threw ${String(error)}`
    if (!sealed && follower.pages.stagedPages > 0) return 'BROKEN: a damaged payload staged pages'
    if (sealed || error.code === 'RECORD_CORRUPT' || isOriginal(sample, mutant)) return error.code
    return `BROKEN: a damaged payload was told as ${error.code}`
  }
  if (isOriginal(sample, mutant)) return 'unchanged'
  if (!sealed) return 'BROKEN: a damaged payload was applied'
  follower.pages.commit()
  const original = new Follower(PAGE, sample.file)
  original.apply([sample.payload])
  const equal = Buffer.compare(original.pages.bytes(), follower.pages.bytes()) === 0
  return equal ? 'applied with the same effect' : 'BROKEN: a damaged payload was applied with another effect'
}

function isOriginal(sample: Sample, mutant: Uint8Array): boolean {
  return Buffer.compare(sample.payload, mutant) === 0
}

function memoryBytes(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

type Random = (below: number) => number

function mutate(payload: Uint8Array, other: Uint8Array, random: Random): Uint8Array {
  let bytes = payload.slice()
  for (let steps = 1 + random(3); steps > 0; steps -= 1) bytes = mutateOnce(bytes, other, random)
  return bytes
}

function mutateOnce(
  bytes: Uint8Array<ArrayBuffer>,
  other: Uint8Array,
  random: Random,
): Uint8Array<ArrayBuffer> {
  const at = random(bytes.length + 1)
  switch (random(8)) {
    case 0:
      if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << random(8))
      return bytes
    case 1:
      bytes[at % Math.max(bytes.length, 1)] = [0, 1, 0x7f, 0x80, 0xff, random(256)][random(6)] as number
      return bytes
    case 2:
      return bytes.slice(0, at)
    case 3:
      return joined(bytes.subarray(0, at), other.subarray(random(other.length + 1)))
    case 4:
      return joined(bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + 1 + random(9))))
    case 5:
      return joined(
        bytes.subarray(0, at),
        Uint8Array.from({ length: 1 + random(6) }, () => random(256)),
        bytes.subarray(at),
      )
    case 6:
      // Within the first bytes, where the flags, sizes and counts are.
      bytes[random(Math.min(bytes.length, 24)) || 1] = random(256)
      return bytes
    default: {
      // A number that says a great deal.
      const huge = Uint8Array.of(0xff, 0xff, 0xff, 0xff, random(32))
      return joined(
        bytes.subarray(0, at),
        huge.subarray(random(4)),
        bytes.subarray(Math.min(bytes.length, at + 1)),
      )
    }
  }
}

function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

function reseal(payload: Uint8Array): Uint8Array {
  const end = payload.length - 4
  if (end < 0) return payload
  new DataView(payload.buffer, payload.byteOffset + end, 4).setUint32(
    0,
    crc32(payload.subarray(0, end)),
    true,
  )
  return payload
}
