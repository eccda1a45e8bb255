/** Connecting to nodes from a command: one place for the transports and the time-out. */
import { connect, type Client } from '@understudy/client'
import { tcp } from '@understudy/transport-tcp'

/** Connects to the node at `address`. The caller closes the client. */
export function connectTo(address: string, timeoutMs: number = 10_000): Promise<Client> {
  return connect({ transport: tcp(), address, timeoutMs, name: 'cli' })
}

/** Runs `work` with a client of each address, and closes them all. */
export async function withClients<R>(
  addresses: readonly string[],
  work: (clients: Client[]) => Promise<R>,
): Promise<R> {
  const clients: Client[] = []
  try {
    for (const address of addresses) clients.push(await connectTo(address))
    return await work(clients)
  } finally {
    await Promise.all(clients.map((client) => client.close()))
  }
}
