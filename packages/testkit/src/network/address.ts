/** Addresses of the simulated and the in-memory transport: `scheme://name` or `scheme://name:port`. */
import { UnderstudyError } from '@understudy/contracts'

export interface HostPort {
  readonly host: string
  /** 0: any free one, when listening. 1 when the address names none. */
  readonly port: number
}

/** Throws `ADDRESS_INVALID` for anything but an address of this scheme. */
export function parseAddress(scheme: string, address: string): HostPort {
  const match = /^([a-z]+):\/\/([\w.-]+)(?::(\d{1,5}))?\/?$/.exec(address)
  if (match === null || match[1] !== scheme) {
    throw new UnderstudyError(
      'ADDRESS_INVALID',
      `"${address}" is no address of this transport; write ${scheme}://name or ${scheme}://name:port.`,
    )
  }
  return { host: match[2] as string, port: match[3] === undefined ? 1 : Number(match[3]) }
}

export function formatAddress(scheme: string, { host, port }: HostPort): string {
  return port === 1 ? `${scheme}://${host}` : `${scheme}://${host}:${port}`
}
