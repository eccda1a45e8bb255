/** Members of one cluster in one process, each with its host in the hands of the test, which plays the member. */
import { join } from 'node:path'
import { UnderstudyError, type LogFormat, type SqliteConnection, type Transport } from '@understudy/contracts'
import type { Fence, LeaderPlace, PromoteAction, Rules } from '@understudy/failover'
import { rowFormat } from '@understudy/format-row'
import { memoryTransport } from '@understudy/testkit/memory-transport'
import { onTestFinished } from 'vitest'
import type { NodeHost } from '../src/host.ts'
import type { NodeOptions, UnderstudyNode } from '../src/index.ts'
import { hostedNode } from '../src/node.ts'
import { Events, temporaryFolder } from './helpers.ts'

/** A member that says yes, until the test says otherwise, and keeps what it was told. */
export class TestFence implements Fence {
  leads: boolean = true
  acks: boolean = true
  admits: boolean = true
  /** Asked so often whether it leads. */
  asked: number = 0
  readonly admitted: string[] = []
  readonly heardOf: Set<string> = new Set()
  readonly losses: string[] = []
  readonly epochs: number[] = []
  /** Called at each question whether it leads. */
  onAsk: (() => void) | undefined

  mayAck(): boolean {
    return this.acks
  }

  async admit({ epoch, candidate }: { readonly epoch: number; readonly candidate: string }): Promise<void> {
    if (!this.admits) throw new UnderstudyError('EPOCH_STALE', 'not followed')
    this.admitted.push(`${epoch}${candidate}`)
  }

  readonly published: unknown[] = []
  /** Rejects a publication while it is there. */
  refusal: UnderstudyError | undefined

  ceilings(): undefined {
    return undefined
  }

  async publishRules(rules: unknown): Promise<void> {
    if (this.refusal !== undefined) throw this.refusal
    this.published.push(rules)
  }

  mayLead(): boolean {
    this.asked++
    this.onAsk?.()
    return this.leads
  }

  heard(leader: string): void {
    this.heardOf.add(leader)
  }

  lost(leader: string, how: string): void {
    this.losses.push(`${leader} ${how}`)
  }

  sawEpoch(epoch: number): void {
    this.epochs.push(epoch)
  }
}

export interface Hosted {
  readonly name: string
  readonly node: UnderstudyNode
  readonly host: NodeHost
  readonly fence: TestFence
  readonly events: Events
}

export class HostCluster {
  readonly folder: string = temporaryFolder()
  readonly transport: Transport = memoryTransport()
  readonly format: LogFormat<SqliteConnection>
  readonly #nodes: UnderstudyNode[] = []
  #runs = 0
  #epoch = 0

  constructor(format: LogFormat<SqliteConnection> = rowFormat()) {
    this.format = format
    onTestFinished(async () => {
      for (const node of this.#nodes.toReversed()) await node.close()
    })
  }

  directory(name: string): string {
    return join(this.folder, name)
  }

  async open(name: string, more: Partial<NodeOptions> = {}): Promise<Hosted> {
    const events = new Events()
    const fence = new TestFence()
    const node = hostedNode(
      {
        name,
        role: 'follower',
        directory: this.directory(name),
        format: this.format,
        transport: this.transport,
        listen: `memory://${name}`,
        onEvent: events.listen,
        link: { heartbeatMs: 50, deadlineMs: 1000 },
        ...more,
      },
      fence,
    )
    this.#nodes.push(node)
    await node.start()
    return { name, node, host: node.host as NodeHost, fence, events }
  }

  /** What a member would decide. */
  promotion(of: Hosted, more: Partial<PromoteAction> = {}): PromoteAction {
    const { end, appliedLsn } = of.host.report()
    this.#epoch = Math.max(this.#epoch, end.epoch) + 1
    return {
      kind: 'promote',
      name: of.name,
      epoch: this.#epoch,
      runId: (++this.#runs).toString(16).padStart(16, '0'),
      from: end,
      backlog: end.lsn - appliedLsn,
      raiseIds: false,
      ...more,
    }
  }

  /** Freezes, applies, begins, accepts. Resolves with where it leads, and how long the last two steps took. */
  async promote(of: Hosted, acks?: Rules): Promise<LeaderPlace & { readonly tookMs: number }> {
    await of.host.freeze()
    const promotion = this.promotion(of, acks && { acks })
    const beganMs = performance.now()
    await of.host.apply(promotion.from.lsn)
    await of.host.beginEpoch(promotion)
    of.host.acceptWrites()
    return { ...this.place(of, promotion), tookMs: performance.now() - beganMs }
  }

  place(of: Hosted, { epoch, runId }: Pick<PromoteAction, 'epoch' | 'runId'>): LeaderPlace {
    return { name: of.name, epoch, runId, address: of.host.address }
  }

  /** A founded cluster: `a` leads it in epoch 1, the others follow and stream. */
  async begin(
    names: readonly string[] = ['b', 'c'],
    acks?: Rules,
    more: Partial<NodeOptions> = {},
  ): Promise<[Hosted, Hosted, Hosted]> {
    const a = await this.open('a', { role: 'leader', ...more })
    const leader = await this.promote(a)
    await a.node.write((tx) =>
      tx.exec(
        'create table note (id integer primary key, body text); create table log (what text primary key)',
      ),
    )
    const others: Hosted[] = []
    for (const name of names) {
      const other = await this.open(name, more)
      await other.host.follow(leader)
      await other.events.until('state', ({ state }) => state === 'streaming')
      others.push(other)
    }
    if (acks !== undefined) {
      const { level, of } = acks.rule
      await a.node.setAcks({ level, ...(of && { of }) })
    }
    return [a, ...others] as unknown as [Hosted, Hosted, Hosted]
  }
}

export const put = (of: Hosted, id: number, body: string = `note ${id}`): Promise<unknown> =>
  of.node.write([{ sql: 'insert into note values (?, ?)', params: [id, body] }])

export async function notes(of: Hosted): Promise<number[]> {
  const rows = await of.node.read((tx) => tx.all('select id from note order by id'))
  return rows.map(({ id }) => Number(id))
}

/** Resolves with the code that it rejects with, and the details. */
export async function refusal(of: Promise<unknown>): Promise<UnderstudyError> {
  return of.then(
    () => {
      throw new Error('it resolved')
    },
    (error: unknown) => error as UnderstudyError,
  )
}

export async function caughtUp(leader: Hosted, ...others: Hosted[]): Promise<void> {
  const after = leader.node.applied
  for (const { node } of others) await node.read(() => 0, { after, timeoutMs: 5000 })
}
