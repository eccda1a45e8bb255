/**
 * Takes connections: has the peer prove who it is where that is asked for, waits for the Hello, raises the frame limit,
 * hands the connection to whoever serves its purpose.
 *
 * All of that has one deadline, however slowly the bytes come.
 */
import { LOCAL_SLOT, UnderstudyError, isUnderstudyError, type Channel } from '@understudy/contracts'
import {
  authenticatePeer,
  Connection,
  negotiateVersion,
  type Hello,
  type Message,
  type Peer,
} from '@understudy/protocol'
import { assertMay } from './access.ts'
import { FRAME_BYTES_MAX, HELLO_TIMEOUT_MS, NODE_NAME, type Settings } from './options.ts'
import type { Strangers } from './strangers.ts'

/** Who serves which purpose; a purpose that is not served throws, and the peer is told. */
export interface Purposes {
  replicate(connection: Connection, hello: Hello): void
  snapshot(connection: Connection, hello: Hello): void
  /** A member of the cluster, to talk about who leads. */
  member(connection: Connection, hello: Hello): void
  /** `peer` is absent where nobody has to authenticate. */
  client(connection: Connection, hello: Hello, peer: Peer | undefined): void
}

/** Never rejects: a bad peer is its own problem, and was told why. */
export async function acceptChannel(
  channel: Channel,
  purposes: Purposes,
  strangers: Strangers,
  settings: Settings,
): Promise<void> {
  const connection = new Connection(channel, settings.clock, { stranger: true })
  strangers.enter(connection)
  try {
    const { peer, hello } = await greet(connection, settings)
    strangers.leave(connection)
    assertMay(peer, hello)
    connection.trust()
    channel.frameBytesMax = FRAME_BYTES_MAX
    if (hello.purpose === 'client') purposes.client(connection, hello, peer)
    else purposes[hello.purpose](connection, hello)
  } catch (error) {
    strangers.leave(connection)
    const refusal = isUnderstudyError(error)
      ? error
      : new UnderstudyError('REQUEST_FAILED', 'The connection could not be served.', { cause: error })
    connection.close(refusal)
    if (!isQuiet(refusal)) settings.emit({ kind: 'refused', remote: channel.remote, error: refusal })
  }
}

/** Who is there, and what for. */
async function greet(
  connection: Connection,
  settings: Settings,
): Promise<{ readonly peer: Peer | undefined; readonly hello: Hello }> {
  const { clock, random, credentials, compression = false, channelBinding = true } = settings
  const begun = clock.monotonic()
  const timeoutMs = (): number => Math.max(0, HELLO_TIMEOUT_MS - (clock.monotonic() - begun))
  let message: Message = await connection.next({ timeoutMs: timeoutMs() })
  let peer: Peer | undefined
  if (credentials !== undefined) {
    const options = {
      grants: credentials,
      compression,
      channelBinding,
      random,
      clock,
      timeoutMs: timeoutMs(),
    }
    peer = await authenticatePeer(connection, message, options)
    message = await connection.next({ timeoutMs: timeoutMs() })
  } else if (message.type === 'authBegin') {
    throw new UnderstudyError(
      'AUTHENTICATION_FAILED',
      'This node authenticates nobody, and cannot prove who it is. Nothing was done; start it with credentials, or connect without one.',
    )
  }
  if (message.type === 'hello') {
    if (message.purpose !== 'client') checkNames(message)
    return { peer, hello: message }
  }
  throw new UnderstudyError('PROTOCOL_VIOLATION', `The first message must be a hello, not ${message.type}.`)
}

/** A name becomes a slot, and stands on terminals: nothing of it may be more than a name. It is not repeated here. */
function checkNames({ node, cluster }: Hello): void {
  const isCluster = cluster === '' || CLUSTER.test(cluster)
  if (isCluster && NODE_NAME.test(node)) return
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    isCluster
      ? 'The peer gives itself a name that is none for a node. Nothing was exchanged; give it 1 to 64 letters, digits, "-", "_" or ".", the first a letter or digit.'
      : 'The peer names a cluster that cannot be one. Nothing was exchanged; check that it is an Understudy node.',
  )
}

/** As in `node.state`. */
const CLUSTER = /^[0-9a-f]{16}$/

/** A peer that only looked whether somebody listens, or left, is no news. */
function isQuiet({ code }: UnderstudyError): boolean {
  return code === 'CONNECTION_LOST'
}

/** The Welcome of a snapshot, after the checks that replication makes in its own handshake. */
export function welcomeSnapshot(
  connection: Connection,
  hello: Hello,
  identity: { readonly cluster: string; readonly node: string },
  limits: { readonly heartbeatMs: number; readonly deadlineMs: number },
): void {
  const version = negotiateVersion(hello)
  if (hello.cluster !== '' && hello.cluster !== identity.cluster) {
    throw new UnderstudyError(
      'FOREIGN_CLUSTER',
      `Node ${hello.node} belongs to cluster ${hello.cluster}, this leader to ${identity.cluster}. Nothing was exchanged; check the address that it was given.`,
    )
  }
  if (hello.node === identity.node || hello.node === LOCAL_SLOT) {
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `A follower cannot be named '${hello.node}', which is the name of its leader, or reserved. Nothing was exchanged; give each node a name of its own.`,
    )
  }
  connection.send({
    type: 'welcome',
    version,
    ...identity,
    history: [],
    end: { epoch: 0, lsn: 0, crc: 0 },
    verdict: { kind: 'continue', from: 1 },
    ...limits,
  })
}
