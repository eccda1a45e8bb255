/** Several transports as one: each address goes to the one that knows its scheme. */
import { UnderstudyError, type Transport } from '@understudy/contracts'

/** Throws `INVALID_ARGUMENT` for none, and when two of them claim one scheme. */
export function combined(transports: readonly Transport[]): Transport {
  const [first, ...others] = transports
  if (first === undefined)
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      'No transport was given; give such as transports: [tcp(), webSocket()]. Nothing was opened.',
    )
  if (others.length === 0) return first
  const schemes = transports.flatMap((transport) => transport.schemes)
  const twice = schemes.find((scheme, index) => schemes.indexOf(scheme) !== index)
  if (twice !== undefined)
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `Two transports serve ${twice}://, so it is open which one is meant. Nothing was opened; leave one out.`,
    )
  const of = (address: string): Transport => {
    const found = transports.find((transport) => serves(transport, address))
    if (found !== undefined) return found
    const served = schemes.map((scheme) => `${scheme}://`).join(', ')
    throw new UnderstudyError(
      'ADDRESS_INVALID',
      `No transport serves '${address}'; addresses begin with one of ${served}. Nothing was opened.`,
      { address },
    )
  }
  return {
    schemes,
    connect: async (address, options) => of(address).connect(address, options),
    listen: async (address, accept, options) => of(address).listen(address, accept, options),
  }
}

export function serves(transport: Transport, address: string): boolean {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(address)?.[1]?.toLowerCase()
  return scheme !== undefined && transport.schemes.includes(scheme)
}
