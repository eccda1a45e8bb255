/**
 * Transports carry frames: opaque byte strings, in order, whole or not at all. They know nothing of the protocol, and
 * tell whoever does what their own encryption proves of a peer.
 */
import type { UnderstudyError } from './errors.ts'

/** Makes and accepts channels for the addresses of its schemes. */
export interface Transport {
  /** Schemes without the colon, such as `tcp`. */
  readonly schemes: readonly string[]
  /** Connects to `address` (a URL such as `tcp://127.0.0.1:7401`). Rejects with `CONNECT_FAILED`, `TIMEOUT`, `ABORTED` or `ADDRESS_INVALID`. */
  connect(address: string, options?: ConnectOptions): Promise<Channel>
  /**
   * Accepts channels at `address`; port 0 picks a free one. `accept` is called for each channel and must call
   * `channel.start` before it returns to the event loop. Rejects with `LISTEN_FAILED`, `ADDRESS_INVALID`, or
   * `INSECURE_ADDRESS`: other machines can reach the address, and peers are not both encrypted and authenticated.
   */
  listen(address: string, accept: (channel: Channel) => void, options?: ListenOptions): Promise<Listener>
}

export interface ConnectOptions {
  readonly signal?: AbortSignal
  /** Milliseconds for the whole connecting. Default 5,000. */
  readonly timeoutMs?: number
  /** First value of `Channel.frameBytesMax`. Default 16 MiB. */
  readonly frameBytesMax?: number
}

export interface ListenOptions {
  /** First value of `Channel.frameBytesMax` of accepted channels. Default 4 KiB, raised by whoever authenticates the peer. */
  readonly frameBytesMax?: number
  /** Connections open at once, handshakes of the transport's own included; one more is closed at once. Default 1,024. */
  readonly channelsMax?: number
  /** The same from one address; without effect on connections of a UNIX socket or behind a proxy, which all have one. Default 256. */
  readonly channelsPerAddressMax?: number
  /** The caller authenticates each peer before it serves anything. Default false. */
  readonly authenticated?: boolean
}

/** For people and monitoring. */
export interface CertificateStatus {
  /** As in `ChannelSecurity.identities`. */
  readonly identities: readonly string[]
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number
  /** The last files that could not be taken, and why; the ones before stay in use. */
  readonly problem?: string
}

export interface Listener extends AsyncDisposable {
  /** The address that others can connect to, with the real port. */
  readonly address: string
  /** The certificate that it shows at the moment. Absent: none. */
  readonly certificate?: CertificateStatus | undefined
  /** Stops accepting and closes every channel that was accepted here. */
  close(): Promise<void>
}

/** What the encryption of a channel proves. */
export interface ChannelSecurity {
  /** Nobody between the ends reads or changes frames. */
  readonly encrypted: boolean
  /**
   * Names in the peer's certificate, which was checked against the trusted authorities: `DNS:b.example`,
   * `URI:understudy://b`, `IP:10.0.0.2`, and `CN:b` for the subject. Empty: it showed none.
   */
  readonly identities: readonly string[]
  /** 32 bytes that only the two ends of this TLS session have, the same ones (RFC 9266, tls-exporter). */
  readonly binding?: Uint8Array
}

/** One connection. */
export interface Channel {
  /** For people: where the peer is. */
  readonly remote: string
  /** Absent: nothing is encrypted, and nothing is proven of the peer. */
  readonly security?: ChannelSecurity | undefined
  /** Bytes given to `send` that the operating system has not taken yet. */
  readonly bufferedBytes: number
  /**
   * The longest frame accepted from the peer, in bytes. A longer one closes the channel with `FRAME_TOO_LARGE`
   * before memory is taken for it. May be set at any time.
   */
  frameBytesMax: number
  /** Begins delivery. Called once; nothing is lost that came before. */
  start(handler: ChannelHandler): void
  /**
   * Sends one frame made of the parts in order. The parts must stay unchanged until they are sent: hand over buffers
   * that nobody writes to again. Frames sent in one turn of the event loop leave in one write.
   * Returns false when `bufferedBytes` is over the transport's high mark: send no more until `drained`.
   * After `close` it returns false and drops the frame.
   */
  send(parts: readonly Uint8Array[]): boolean
  /**
   * Hands what was sent in this turn to the operating system now, and not at its end: for a frame that somebody waits for. A
   * transport that gathers nothing has no need of it.
   */
  flush?(): void
  /** Stops delivery, and soon the peer's sending; what is on its way is kept. */
  pause(): void
  resume(): void
  /** Ends the channel after what was sent is out, or at once when the peer does not take it within a second. */
  close(error?: UnderstudyError): void
}

export interface ChannelHandler {
  /**
   * One frame. The bytes belong to the handler: the transport never writes to them again, so views may be kept.
   * A throw closes the channel with that error.
   */
  frame(bytes: Uint8Array): void
  /** `bufferedBytes` fell below the low mark after `send` had returned false. */
  drained(): void
  /** The channel ended; called exactly once, last. Without an error when this side or the peer closed it in order. */
  closed(error: UnderstudyError | undefined): void
}
