/** Takes connections: waits for the Hello, raises the frame limit, hands the connection to whoever serves its purpose. */
import { LOCAL_SLOT, UnderstudyError, isUnderstudyError, type Channel } from '@understudy/contracts'
import { Connection, negotiateVersion, type Hello } from '@understudy/protocol'
import { FRAME_BYTES_MAX, HELLO_TIMEOUT_MS, type Settings } from './options.ts'

/** Who serves which purpose; a purpose that is not served throws, and the peer is told. */
export interface Purposes {
  replicate(connection: Connection, hello: Hello): void
  snapshot(connection: Connection, hello: Hello): void
  client(connection: Connection, hello: Hello): void
}

/** Never rejects: a bad peer is its own problem, and was told why. */
export async function acceptChannel(channel: Channel, purposes: Purposes, settings: Settings): Promise<void> {
  const connection = new Connection(channel, settings.clock)
  try {
    const message = await connection.next({ timeoutMs: HELLO_TIMEOUT_MS })
    if (message.type !== 'hello') {
      throw new UnderstudyError(
        'PROTOCOL_VIOLATION',
        `The first message must be a hello, not ${message.type}.`,
      )
    }
    channel.frameBytesMax = FRAME_BYTES_MAX
    purposes[message.purpose](connection, message)
  } catch (error) {
    connection.close(
      isUnderstudyError(error)
        ? error
        : new UnderstudyError('REQUEST_FAILED', 'The connection could not be served.', { cause: error }),
    )
  }
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
