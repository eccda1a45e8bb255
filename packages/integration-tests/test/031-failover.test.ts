/** Whoever leads: one process, real files, a real coordinator. What needs a process that is killed is tested with real ones. */
import type { LogFormat, SqliteConnection } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import { statementFormat } from '@understudy/format-statement'
import { walFormat } from '@understudy/format-wal'
import { expect, test } from 'vitest'
import { FailoverNodes } from './support/failover-nodes.ts'

const FORMATS: Readonly<Record<string, () => LogFormat<SqliteConnection>>> = {
  row: rowFormat,
  statement: () => statementFormat({ unsafe: 'row', row: rowFormat() }),
  wal: walFormat,
}

async function rowsOf(cluster: FailoverNodes, name: string): Promise<number> {
  const row = await cluster.node(name).read((tx) => tx.get('select count(*) as n from t'))
  return Number(row?.['n'])
}

test.each(Object.keys(FORMATS))(
  '%s: a leader that goes is replaced, comes back and follows; its ids are not given again',
  { timeout: 120_000 },
  async (format) => {
    const cluster = new FailoverNodes({ format: FORMATS[format] as () => LogFormat<SqliteConnection> })
    await cluster.startAll()
    await cluster.write((tx) => tx.exec('create table t (id integer primary key autoincrement, v text)'))
    const ids: number[] = []
    const insert = async (count: number): Promise<void> => {
      for (let n = 0; n < count; n++)
        ids.push(
          Number(
            await cluster.write((tx) => tx.run('insert into t (v) values (?)', [`${n}`]).lastInsertRowid),
          ),
        )
    }
    await insert(20)
    await cluster.close('a')
    await insert(20)
    const second = cluster.leader?.name
    expect(second).not.toBe('a')
    await cluster.start('a')
    await cluster.untilAllStream()
    expect(cluster.leader?.name).toBe(second)
    await insert(20)
    expect(new Set(ids).size).toBe(60)
    const at = cluster.leader?.applied
    for (const name of cluster.names) {
      await cluster.node(name).read((tx) => tx.get('select 1'), { ...(at && { after: at }) })
      expect(await rowsOf(cluster, name)).toBe(60)
    }
  },
)
