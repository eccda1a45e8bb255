/**
 * Connecting: to a cluster, by any of its addresses, or to one node.
 *
 * Decides: what a client of a cluster is put together from. Leaves to others: everything that it does then.
 */
import { UnderstudyError } from '@understudy/contracts'
import type { Client } from './client.ts'
import { RoutedClient } from './cluster-client.ts'
import { clusterSettings, type ClusterClient, type ClusterOptions } from './cluster-options.ts'
import { connectNode, type ConnectOptions } from './connect.ts'
import { SeenEpochs } from './epochs.ts'
import { Pool } from './pool.ts'
import { Router } from './router.ts'
import { Routes } from './routing.ts'
import { formatToken, parseToken } from './tokens.ts'
import { combined, serves } from './transports.ts'
import { News } from './waiting.ts'

/**
 * A client of the cluster that these nodes are of; one address is enough, the others are learnt. Resolves once one of them answers; rejects
 * with what the last one failed with when all do, `INVALID_ARGUMENT`, `ADDRESS_INVALID`, `FOREIGN_CLUSTER` for a token of another cluster.
 */
export function connect(
  addresses: string | readonly string[],
  options: ClusterOptions,
): Promise<ClusterClient>
/** A client of one node, whatever its role: for tools that mean that node. */
export function connect(options: ConnectOptions): Promise<Client>
export async function connect(
  first: string | readonly string[] | ConnectOptions,
  options: ClusterOptions = {},
): Promise<Client | ClusterClient> {
  if (typeof first === 'object' && 'address' in first) return connectNode(first)
  return connectCluster(typeof first === 'string' ? [first] : first, options)
}

async function connectCluster(addresses: readonly string[], options: ClusterOptions): Promise<ClusterClient> {
  const settings = clusterSettings(addresses, options)
  const token = options.token === undefined ? undefined : parseToken(options.token)
  const { clock, random, hedgeAfterMs, timeoutMs, transports } = settings
  const transport = combined(transports)
  const unserved = addresses.find((address) => !serves(transport, address))
  if (unserved !== undefined)
    throw new UnderstudyError(
      'ADDRESS_INVALID',
      `No transport serves '${unserved}'; give one for its scheme in transports. Nothing was sent.`,
      { address: unserved },
    )
  const routes = new Routes({ addresses, serves: (address) => serves(transport, address), random })
  const epochs = new SeenEpochs()
  const news = new News()
  const { credential, compression, channelBinding, name } = options
  const pool = new Pool({
    transport,
    connect: {
      ...(credential && { credential }),
      ...(compression !== undefined && { compression }),
      ...(channelBinding !== undefined && { channelBinding }),
      ...(name !== undefined && { name }),
      random,
    },
    clock,
    routes,
    epochs,
    news,
    cluster: options.cluster ?? token?.cluster,
  })
  if (token !== undefined) epochs.raise({ number: token.epoch, runId: token.runId })
  const router = new Router({ routes, pool, epochs, news, clock, hedgeAfterMs })
  const client = new RoutedClient({ settings, routes, pool, epochs, router })
  try {
    await router.first(timeoutMs, options.signal)
    if (token !== undefined) client.resetToken(formatToken(token))
    return client
  } catch (error) {
    await client.close()
    throw error
  }
}
