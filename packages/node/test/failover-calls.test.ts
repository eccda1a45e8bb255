/** What is asked about who leads, of a node that is no member of a cluster; decisions that a directory keeps. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { nodeFiles } from '@understudy/log'
import { describe, expect, test } from 'vitest'
import { newestDecisions } from '../src/failover-calls.ts'
import { Cluster, temporaryFolder } from './helpers.ts'

test('a node without failover refuses, and says what to do; its status has no failover', async () => {
  const node = await new Cluster().leader()
  for (const asked of [
    node.promote(),
    node.promote({ target: 'b', acceptLoss: true }),
    node.switchover(),
    node.pauseFailover(true),
  ])
    await expect(asked).rejects.toMatchObject({
      code: 'FAILOVER_REFUSED',
      message: expect.stringMatching(/nothing was changed\. Start every node/) as unknown,
    })
  expect(node.status().failover).toBeUndefined()
  expect(node.decisions()).toEqual([])
  await node.close()
  await expect(node.promote()).rejects.toMatchObject({ code: 'CLOSED' })
})

describe('decisions of a directory', () => {
  const kept = (): string => {
    const directory = join(temporaryFolder(), 'a')
    mkdirSync(directory)
    writeFileSync(join(directory, 'decisions.jsonl'), ['one', 'two', 'three', ''].join('\n'))
    return directory
  }

  test('the newest, oldest first, within both limits', () => {
    const directory = kept()
    const lines = (options: object): string[] => newestDecisions(nodeFiles(), directory, options)
    expect(lines({})).toEqual(['one', 'two', 'three'])
    expect(lines({ limit: 2 })).toEqual(['two', 'three'])
    expect(lines({ limit: 0 })).toEqual([])
    expect(lines({ bytesMax: 10 })).toEqual(['two', 'three'])
    expect(lines({ bytesMax: 9 })).toEqual(['three'])
  })

  test.each([{ limit: -1 }, { limit: 1.5 }, { bytesMax: -1 }])('%o is refused', (options) => {
    expect(() => newestDecisions(nodeFiles(), kept(), options)).toThrow('give a whole number from 0')
  })
})
