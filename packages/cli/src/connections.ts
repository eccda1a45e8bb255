/** Connecting to nodes from a command: one place for who connects, and for the time-out. */
import { connect, type Client } from '@understudy/client'
import { UnderstudyError } from '@understudy/contracts'
import { accessOf, authenticationOf, type Access } from './access.ts'

/** Connects to the node at `address`. The caller closes the client. */
export function connectTo(
  address: string,
  access: Access = accessOf({}),
  timeoutMs: number = 10_000,
): Promise<Client> {
  const { transport } = access
  return connect({ transport, address, timeoutMs, name: 'cli', ...authenticationOf(access) })
}

/** Runs `work` with a client of each address, and closes them all. */
export async function withClients<R>(
  addresses: readonly string[],
  access: Access,
  work: (clients: Client[]) => Promise<R>,
): Promise<R> {
  const clients: Client[] = []
  try {
    for (const address of addresses) clients.push(await connectTo(address, access))
    return await work(clients)
  } finally {
    await Promise.all(clients.map((client) => client.close()))
  }
}

/** A node names its leader's address: an encrypted connection must not lead on to one that is not. */
export function assertNotWeaker(address: string, next: string): void {
  const isEncrypted = (each: string): boolean => /^(tls|wss):/i.test(each)
  if (!isEncrypted(address) || isEncrypted(next)) return
  throw new UnderstudyError(
    'INSECURE_ADDRESS',
    `${address} names ${next} as its leader, which is not encrypted. Nothing was sent there; run the command on the leader's own address.`,
  )
}
