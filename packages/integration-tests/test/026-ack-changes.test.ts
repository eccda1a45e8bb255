/** The set of followers that must have a write grows under load, and the leader is killed in the middle. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { UnderstudyNode } from '@understudy/node'
import { expect, onTestFinished, test } from 'vitest'
import { eventually } from './support/live-nodes.ts'
import { TcpCluster, caughtUp, insertNote } from './support/tcp-cluster.ts'

const FLAGS = ['--conditions=@understudy/source', '--disable-warning=ExperimentalWarning']

function run(program: string, ...args: readonly string[]): ChildProcess {
  const path = join(import.meta.dirname, 'programs', program)
  const child = spawn(process.execPath, [...FLAGS, path, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  })
  return child
}

/** What a leading process printed, and waiting for it. */
class Said {
  readonly lines: string[] = []
  #look: () => void = () => {}

  constructor(child: ChildProcess) {
    createInterface({ input: child.stdout! }).on('line', (line) => {
      this.lines.push(line)
      this.#look()
    })
  }

  acked(): number[] {
    return this.lines.filter((line) => line.startsWith('acked ')).map((line) => Number(line.slice(6)))
  }

  async until(what: (lines: readonly string[]) => string | undefined | false): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>()
    this.#look = () => {
      const found = what(this.lines)
      if (typeof found === 'string') resolve(found)
    }
    this.#look()
    return promise
  }
}

async function idsOf(node: UnderstudyNode): Promise<number[]> {
  return node.read((tx) => tx.all('select id from note order by id').map(({ id }) => Number(id)))
}

const sorted = (numbers: readonly number[]): number[] => numbers.toSorted((a, b) => a - b)

test(
  'nothing acknowledged is lost, nothing else is visible, and both rules hold until members of both have the change',
  { timeout: 60_000 },
  async () => {
    const cluster = new TcpCluster()
    const lead = run('lead-load.ts', cluster.directory('a'), 'any 1 (b) durable')
    const said = new Said(lead)
    const found = await said.until((lines) => lines.find((line) => line.startsWith('listens ')))
    const address = found.slice('listens '.length)
    const b = await cluster.follower('b', { leader: address })
    const c = run('follow.ts', 'c', cluster.directory('c'), address)
    const states = new Said(c)
    await states.until((lines) => lines.find((line) => line === 'streaming'))
    lead.stdin!.write('load 8\n')
    await said.until(() => said.acked().length > 100 && 'enough')
    c.kill('SIGSTOP')
    lead.stdin!.write('acks any 2 (b, c) durable\n')
    await said.until((lines) =>
      lines.find((line) => line === 'acks durable ANY 1 (b) and durable ANY 2 (b, c)'),
    )
    // The record of the change is durable at b, too, and the load stands still: c does not answer.
    await eventually('b to show what is acknowledged, and to have the record of the change', async () => {
      const isShown = (await idsOf(b)).length === said.acked().length
      return isShown && b.status().durable === b.applied.lsn + 1 ? true : undefined
    })
    const acked = sorted(said.acked())
    lead.kill('SIGKILL')
    await once(lead, 'exit')
    expect(await idsOf(b)).toEqual(acked)

    const again = await cluster.start('a', { role: 'leader', listen: address })
    expect(again.status()).toMatchObject({
      state: 'recovering',
      acks: {
        rule: 'durable ANY 1 (b)',
        effective: 'durable ANY 1 (b) and durable ANY 2 (b, c)',
        change: { to: 'durable ANY 2 (b, c)' },
      },
    })
    const later = insertNote(again, 'later')
    await eventually('b to have the new epoch', () =>
      b.status().epoch === 2 && b.status().durable === again.status().durable ? true : undefined,
    )
    await eventually('c to be the only one missing', () =>
      again.status().acks?.change?.missing.join() === 'c' ? true : undefined,
    )
    expect(await idsOf(again)).toEqual(acked)
    expect(await idsOf(b)).toEqual(acked)
    c.kill('SIGCONT')
    const { receipt } = await later
    expect(receipt).toMatchObject({ asked: 'durable', reached: 'durable', degraded: false })
    expect(receipt.members.map(({ name }) => name)).toEqual(['b', 'c'])
    expect(again.status()).toMatchObject({ state: 'leading', acks: { effective: 'durable ANY 2 (b, c)' } })
    await caughtUp(again, b)
    expect((await idsOf(again)).slice(0, acked.length)).toEqual(acked)
    await cluster.verify(again, b)
  },
)
