/** `understudy sql --connect`: statements against a cluster, which is known by some of its addresses. */
import { UnderstudyError, parsePosition, isUnderstudyError } from '@understudy/contracts'
import {
  connect,
  type ClusterClient,
  type ClusterWriteReply,
  type Preference,
  type WriteOptions,
} from '@understudy/client'
import { authenticationOf, type Access } from './access.ts'

export interface ClusterSqlOptions {
  readonly connect: readonly string[]
  readonly prefer?: Preference
  readonly maxStalenessMs?: number
  /** A token. */
  readonly after?: string
}

export type ClusterAnswer = ClusterWriteReply

/** Runs `work` with a client of the cluster, and closes it. */
export async function withCluster<R>(
  options: ClusterSqlOptions,
  access: Access,
  work: (client: ClusterClient) => Promise<R>,
): Promise<R> {
  const { prefer, maxStalenessMs, after } = options
  if (after !== undefined && parsePosition(after) !== undefined)
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `--after is '${after}'; with --connect give a token, as an answer before had it: whoever answers must be able to tell whether it holds that. Nothing was run.`,
    )
  const client = await connect(options.connect, {
    transport: access.transport,
    name: 'cli',
    ...authenticationOf(access),
    ...(prefer && { prefer }),
    ...(maxStalenessMs !== undefined && { maxStalenessMs }),
    ...(after !== undefined && { token: after }),
  })
  try {
    return await work(client)
  } finally {
    await client.close()
  }
}

/** One statement that may only read goes where it is wanted; anything else is one write, on whoever leads. */
export async function runOnCluster(
  statements: readonly string[],
  options: ClusterSqlOptions,
  asks: WriteOptions | undefined,
  mayOnlyRead: boolean,
  access: Access,
): Promise<ClusterAnswer> {
  return withCluster(options, access, (client) => answerOf(client, statements, asks, mayOnlyRead))
}

async function answerOf(
  client: ClusterClient,
  statements: readonly string[],
  asks: WriteOptions | undefined,
  mayOnlyRead: boolean,
): Promise<ClusterAnswer> {
  if (mayOnlyRead) {
    try {
      const { position, node, token, proof: _, ...result } = await client.read(statements[0] ?? '')
      return {
        results: [result],
        position,
        node,
        token,
        receipt: undefined,
        replayed: false,
        valueKept: true,
      }
    } catch (error) {
      // A statement that is refused because it would write did nothing yet.
      if (!isUnderstudyError(error, 'WRITE_FORBIDDEN')) throw error
    }
  }
  return client.write(
    statements.map((sql) => ({ sql })),
    asks,
  )
}
