/** A former leader that is killed at any step of its rejoining goes on from there, and still needs no copy. */
import { execFile } from 'node:child_process'
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { listLostTails, readLostTail } from '@understudy/failover'
import { rowFormat } from '@understudy/format-row'
import { statementFormat } from '@understudy/format-statement'
import { walFormat } from '@understudy/format-wal'
import { nodeFiles } from '@understudy/log'
import { lostTailDirectory } from '@understudy/node'
import { parted, put } from './support/parted.ts'
import { caughtUp } from './support/tcp-cluster.ts'

const run = promisify(execFile)
const files = nodeFiles()
const FORMATS = { row: rowFormat(), statement: statementFormat(), wal: walFormat() }
/** Kills of each format; the steps are spread over all there are. */
const KILLS = 5

test.each(['row', 'statement', 'wal'] as const)(
  '031 a former leader with a tail of the %s format is killed at each step of its rejoining',
  async (name) => {
    const formats = Object.values(FORMATS).filter((format) => format.name !== name)
    const options = { format: FORMATS[name], formats }
    const { cluster, leader } = await parted(async (a) => {
      await put(a, 'lost', 1)
      await a.write((tx) => tx.exec('alter table item add column more; create table other (x primary key)'))
      for (let n = 0; n < 20; n++) await put(a, `lost ${n}`, n)
    }, options)
    const directory = cluster.directory('a')
    const kept = join(cluster.folder, 'a as it was')
    cpSync(directory, kept, { recursive: true })
    const rejoin = async (killAt: number): Promise<string> => {
      rmSync(directory, { recursive: true, force: true })
      cpSync(kept, directory, { recursive: true })
      const program = join(import.meta.dirname, 'programs/rejoin-killed.ts')
      const flags = ['--conditions=@understudy/source', '--disable-warning=ExperimentalWarning']
      const given = [directory, leader.address ?? '', name, String(killAt)]
      return run(process.execPath, [...flags, program, ...given]).then(
        ({ stdout }) => stdout.trim(),
        ({ signal }: { signal: string }) => signal,
      )
    }
    const calls = Number(await rejoin(0))
    expect(calls).toBeGreaterThan(5)
    const steps = new Set(Array.from({ length: KILLS }, (_, kill) => 1 + Math.floor((kill * calls) / KILLS)))
    for (const step of steps) {
      expect({ step, ended: await rejoin(step) }).toEqual({ step, ended: 'SIGKILL' })
      const a = await cluster.follower('a', { leader: leader.address ?? '', rejoin: true, ...options })
      await put(leader, `new ${step}`, step)
      await caughtUp(leader, a)
      await cluster.verify(leader, a)
      const found = {
        step,
        copies: cluster.events['a']?.of('bootstrapped').length,
        tails: listLostTails(files, lostTailDirectory(directory)).map(
          ({ path }) => readLostTail(files, path, Object.values(FORMATS)).transactions.length,
        ),
      }
      await a.close()
      expect(found).toEqual({ step, copies: 0, tails: [22] })
    }
  },
  180_000,
)
