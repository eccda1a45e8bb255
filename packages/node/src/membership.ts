/**
 * A node as a member of its cluster: who leads is decided with the others, and its role follows.
 *
 * Decides: in which order member and node are made and joined. Leaves to others: who leads (failover), how a role changes (host).
 *
 * 1. The directory is locked before its promise is read: two processes must not promise with one hand.
 * 2. A founder's start resolves once it leads, or somebody else does; any other start once its data is open. Nobody waits for a cluster
 *    that has no leader.
 */
import { randomId, type UnderstudyError } from '@understudy/contracts'
import { openMember, type ClusterMember, type Fence, type MemberEvent } from '@understudy/failover'
import { dialNode } from './dial-node.ts'
import { hostedNode, type ComposedNode } from './node.ts'
import { closedError } from './reads.ts'
import type { NodeHost } from './host.ts'
import type { NodeOptions, Settings } from './options.ts'

/** How long a founder's start waits until somebody leads. */
const FOUND_MS_MAX = 10_000

/** Rejects as `createNode` does; nothing stays open then. */
export async function createMember(options: NodeOptions): Promise<ComposedNode> {
  const joined: { member?: ClusterMember } = {}
  const node = hostedNode(withIds(options, joined), fenceOf(joined, options.name))
  const led = Promise.withResolvers<void>()
  try {
    const member = await openMember(
      options.failover as NonNullable<NodeOptions['failover']>,
      partsOf(node.settings, (event) => event.kind === 'leader' && led.resolve()),
    )
    joined.member = member
    node.join(member)
    await node.start()
    const host = node.host as NodeHost
    const founds = options.role === 'leader' && host.report().history.length === 0
    member.start(host, founds)
    if (founds) await Promise.race([led.promise, atMost(node.settings, FOUND_MS_MAX)])
    return node
  } catch (error) {
    // What went wrong first is what the caller can mend.
    await node.close().catch(() => {})
    throw error
  }
}

/** A coordinator has each ceiling of ids before it is used; without one the members confirm it. */
function withIds(options: NodeOptions, joined: { readonly member?: ClusterMember }): NodeOptions {
  if (options.failover?.coordinator === undefined) return options
  const publish = async (ceilings: ReadonlyMap<string, bigint>): Promise<void> =>
    joined.member?.publish({ ceilings })
  return { ...options, ids: { ...options.ids, publish } }
}

function partsOf(settings: Settings, heard: (event: MemberEvent) => void): Parameters<typeof openMember>[1] {
  const { name, files, directory, random, emit } = settings
  return {
    name,
    files,
    directory,
    random,
    runId: () => randomId(random),
    dial: (address, timeoutMs, signal) => dialNode(settings, address, signal, timeoutMs),
    emit: (event) => {
      emit(event)
      heard(event)
    },
  }
}

/** The fence of a member that is made a moment later; before that nothing may be shown, taken or acknowledged. */
function fenceOf(joined: { readonly member?: ClusterMember }, name: string): Fence {
  return {
    mayAck: (epoch, runId) => joined.member?.fence.mayAck(epoch, runId) === true,
    admit: async (leader) => {
      if (joined.member === undefined) throw closedError(name)
      await joined.member.fence.admit(leader)
    },
    mayLead: () => joined.member?.fence.mayLead() === true,
    ceilings: () => joined.member?.fence.ceilings(),
    publishRules: async (rules) => joined.member?.fence.publishRules(rules),
    heard: (leader) => joined.member?.fence.heard(leader),
    lost: (leader, how) => joined.member?.fence.lost(leader, how),
    sawEpoch: (epoch, runId) => joined.member?.fence.sawEpoch(epoch, runId),
  }
}

async function atMost({ clock, signal }: Settings, ms: number): Promise<void> {
  const over = Promise.withResolvers<void>()
  const timer = clock.schedule(ms, over.resolve)
  const abort = (): void => over.reject(signal?.reason as UnderstudyError)
  signal?.addEventListener('abort', abort, { once: true })
  try {
    await over.promise
  } finally {
    timer.cancel()
    signal?.removeEventListener('abort', abort)
  }
}
