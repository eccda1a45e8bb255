/** `createNode`: a node with the role that it is given, or, with failover, a member of a cluster. */
import { lockDirectory } from '@understudy/sqlite'
import type { UnderstudyNode } from './api.ts'
import { createMember } from './membership.ts'
import { ComposedNode } from './node.ts'
import { resolveOptions, throwIfAborted, type NodeOptions } from './options.ts'

/**
 * Starts a node. A leader resolves once it takes writes; a follower once it has data to read, which for an empty
 * directory means a whole snapshot (`onEvent` tells its progress). With `failover` the node that founds its cluster resolves once it leads, any other once
 * it takes part. Nothing stays open when it rejects.
 */
export async function createNode(options: NodeOptions): Promise<UnderstudyNode> {
  if (options.failover !== undefined) return createMember(options)
  const settings = resolveOptions(options)
  throwIfAborted(settings)
  const node = new ComposedNode(settings, lockDirectory(settings.directory))
  try {
    settings.observe?.(node)
    await node.start()
    return node
  } catch (error) {
    // What went wrong first is what the caller can mend.
    await node.close().catch(() => {})
    throw error
  }
}
