/** Several transports as one: each address is served by the one that knows its scheme. */
import {
  UnderstudyError,
  type Channel,
  type ConnectOptions,
  type Listener,
  type ListenOptions,
  type Transport,
} from '@understudy/contracts'

/** Throws `INVALID_ARGUMENT` when two of them claim the same scheme. */
export function combined(...transports: readonly Transport[]): Transport {
  const byScheme = new Map<string, Transport>()
  for (const transport of transports)
    for (const scheme of transport.schemes) {
      if (byScheme.has(scheme))
        throw new UnderstudyError(
          'INVALID_ARGUMENT',
          `Two transports serve ${scheme}://, so it is open which one is meant. Nothing was opened; leave one out.`,
        )
      byScheme.set(scheme, transport)
    }
  const schemes = [...byScheme.keys()]
  const transportOf = (address: string): Transport => {
    const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(address)?.[1]?.toLowerCase() ?? ''
    const found = byScheme.get(scheme)
    if (found !== undefined) return found
    const served = schemes.map((each) => `${each}://`).join(', ')
    throw new UnderstudyError(
      'ADDRESS_INVALID',
      `No transport serves '${address}'; addresses begin with one of ${served}. Nothing was opened.`,
      { address },
    )
  }
  return {
    schemes,
    async connect(address: string, options?: ConnectOptions): Promise<Channel> {
      return transportOf(address).connect(address, options)
    },
    async listen(
      address: string,
      accept: (channel: Channel) => void,
      options?: ListenOptions,
    ): Promise<Listener> {
      return transportOf(address).listen(address, accept, options)
    },
  }
}
