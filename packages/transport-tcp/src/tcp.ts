/**
 * The transport for `tcp://`, `tls://` and `unix://` addresses. How it connects stands in dial, how it listens in listen.
 */
import type { Channel, ConnectOptions, Listener, ListenOptions, Transport } from '@understudy/contracts'
import { certificates, type Certificates } from '@understudy/sockets'
import { dial } from './dial.ts'
import { SlabPool } from './frame-writer.ts'
import { listen } from './listen.ts'
import { settingsOf, type Settings, type TcpOptions } from './options.ts'
import { SCHEMES, targetOf } from './target.ts'

/**
 * Framed channels over TCP, TLS and UNIX sockets: `tcp://127.0.0.1:7401`, `tls://node-a.example:7401`,
 * `unix:///run/understudy.sock`. Certificates are loaded at once: throws `TLS_FAILED` when they cannot be used, and
 * `INVALID_ARGUMENT` for options that make no sense.
 */
export function tcp(options: TcpOptions = {}): Transport {
  const settings = settingsOf(options)
  const { tls, clock } = settings
  return new TcpTransport(settings, tls === undefined ? undefined : certificates(tls, { clock }))
}

class TcpTransport implements Transport {
  readonly schemes: readonly string[] = SCHEMES
  readonly #settings: Settings
  readonly #certificates: Certificates | undefined
  readonly #pool = new SlabPool()

  constructor(settings: Settings, loaded: Certificates | undefined) {
    this.#settings = settings
    this.#certificates = loaded
  }

  async connect(address: string, options: ConnectOptions = {}): Promise<Channel> {
    const target = targetOf(address, this.#certificates, this.#settings.insecure)
    return dial(target, address, options, { settings: this.#settings, pool: this.#pool })
  }

  async listen(
    address: string,
    accept: (channel: Channel) => void,
    options: ListenOptions = {},
  ): Promise<Listener> {
    const target = targetOf(address, this.#certificates, this.#settings.insecure)
    return listen(target, { address, accept, options }, { settings: this.#settings, pool: this.#pool })
  }
}
