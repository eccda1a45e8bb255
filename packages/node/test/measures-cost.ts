/**
 * What counting costs: two leaders in one process, one with measures and one without, in turn. Processor time per commit, so that a busy machine
 * disturbs little. `node --conditions=@understudy/source packages/node/test/measures-cost.ts`
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock, systemRandom } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import { openLog } from '@understudy/log'
import {
  becomeLeader,
  commitMeasures,
  type CommitMeasures,
  type CommitPipeline,
} from '@understudy/replication'
import { openStorage } from '@understudy/sqlite'

const ROUNDS = 41

interface Leader extends AsyncDisposable {
  readonly pipeline: CommitPipeline
}

async function leader(measures?: CommitMeasures): Promise<Leader> {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-measures-'))
  const storage = openStorage({ path: join(folder, 'a.db') })
  const log = openLog({ directory: join(folder, 'log') })
  const format = rowFormat()
  const parts = { storage, log, format, formats: [format], clock: systemClock(), random: systemRandom() }
  const { pipeline } = await becomeLeader({
    ...parts,
    cluster: 'c',
    node: 'a',
    ...(measures && { measures }),
  })
  await pipeline.write((tx) => tx.exec('create table t (id integer primary key, v text)'))
  return {
    pipeline,
    async [Symbol.asyncDispose]() {
      await pipeline.close()
      await storage.close()
      await log.close()
      rmSync(folder, { recursive: true })
    },
  }
}

/** Microseconds of processor time per commit. */
async function cost({ pipeline }: Leader, writers: number, each: number): Promise<number> {
  const began = process.cpuUsage()
  const write = async (): Promise<void> => {
    for (let n = 0; n < each; n++)
      await pipeline.write((tx) => tx.run('insert into t (v) values (?)', ['hello']))
  }
  await Promise.all(Array.from({ length: writers }, write))
  const { user, system } = process.cpuUsage(began)
  return (user + system) / (writers * each)
}

function quartiles(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b)
  return [0.25, 0.5, 0.75].map((part) => sorted[Math.floor(part * sorted.length)]?.toFixed(3)).join(', ')
}

await using counting = await leader(commitMeasures())
await using bare = await leader()
for (const [writers, each] of [
  [64, 300],
  [256, 100],
] as const) {
  const ratios: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const isFirst = round % 2 === 0
    const first = await cost(isFirst ? counting : bare, writers, each)
    const second = await cost(isFirst ? bare : counting, writers, each)
    ratios.push(isFirst ? first / second : second / first)
  }
  process.stdout.write(
    `${writers} writers: processor time with measures, against without: ${quartiles(ratios)}\n`,
  )
}
const { commitMs } = commitMeasures()
const began = process.cpuUsage()
for (let n = 0; n < 5e6; n++) commitMs.observe(5 + (n & 63) / 100)
const { user, system } = process.cpuUsage(began)
process.stdout.write(`one value: ${(((user + system) * 1000) / 5e6).toFixed(1)} ns\n`)
