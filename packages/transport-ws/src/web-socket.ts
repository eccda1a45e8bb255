/** The WebSocket transport: what dialling and listening share is the certificates. */
import type { Channel, ConnectOptions, Listener, ListenOptions, Transport } from '@understudy/contracts'
import { certificates, type Certificates } from '@understudy/sockets'
import { dial } from './dial.ts'
import { listen } from './listen.ts'
import { settingsOf, type Settings, type WebSocketOptions } from './options.ts'
import { RULES } from './protocol.ts'

/**
 * Framed channels over WebSocket, for addresses such as `ws://127.0.0.1:7401`, `wss://node-a.example/replication`.
 * Throws `INVALID_ARGUMENT`, or `TLS_FAILED` when the certificates cannot be used.
 */
export function webSocket(options: WebSocketOptions = {}): Transport {
  return new WebSocketTransport(settingsOf(options))
}

class WebSocketTransport implements Transport {
  readonly schemes: readonly string[] = RULES.schemes
  readonly #settings: Settings
  #certificates: Certificates | undefined

  constructor(settings: Settings) {
    this.#settings = settings
    // At once, so that certificates that cannot be used are told before anything runs.
    if (settings.tls !== undefined) this.#loaded()
  }

  async connect(address: string, options: ConnectOptions = {}): Promise<Channel> {
    return dial(
      address,
      this.#settings,
      () => {
        const loaded = this.#loaded()
        loaded.refresh()
        return loaded
      },
      options,
    )
  }

  async listen(
    address: string,
    accept: (channel: Channel) => void,
    options: ListenOptions = {},
  ): Promise<Listener> {
    return listen(address, this.#settings, () => this.#loaded(), accept, options)
  }

  /** Without `tls` it takes Node's own authorities, which are not loaded before somebody needs them. */
  #loaded(): Certificates {
    const { tls = {}, clock } = this.#settings
    this.#certificates ??= certificates(tls, { clock })
    return this.#certificates
  }
}
