/**
 * What every `Transport` must do. Call `transportSuite` from a test file; see `TransportUnderTest` for what it needs.
 *
 * Nothing here waits for a time to pass: every wait is for something that the transport must do. Silence is shown by
 * a round trip over another channel meanwhile.
 */
import { afterEach, beforeEach, describe } from 'vitest'
import type { Transport } from '@understudy/contracts'
import { admissionTests } from './transport-admission.ts'
import { TransportBench } from './transport-bench.ts'
import { closingTests } from './transport-closing.ts'
import { connectingTests } from './transport-connecting.ts'
import { framingTests } from './transport-framing.ts'
import { limitTests } from './transport-limits.ts'
import { loadTests } from './transport-load.ts'
import { pressureTests } from './transport-pressure.ts'
import { streamTests } from './transport-stream.ts'
import { wireTests } from './transport-wire.ts'

export interface TransportSuiteOptions {
  readonly name: string
  create(): Promise<TransportUnderTest>
}

export interface TransportUnderTest {
  readonly transport: Transport
  /** Where to listen; may be listened at many times at once, so with port 0 where there are ports. */
  readonly listenAddress: string
  /** An address of this transport where nobody listens. */
  readonly deadAddress: string
  /** An address that never answers; without it the tests of timeouts are left out. */
  readonly silentAddress?: string
  /** Access below the frames; without it the tests of glued, split and broken-off frames are left out. */
  readonly raw?: RawAccess
  /**
   * Addresses are URLs with the host and the port of a TCP socket: then a relay between both ends brings bytes one at a time,
   * and cuts connections at any byte, handshakes included. Default false.
   */
  readonly tcpAddresses?: boolean
  /** False: connections have no address of their own, so that `channelsPerAddressMax` has no effect. Default true. */
  readonly perAddressLimit?: boolean
  dispose?(): Promise<void>
}

/** The bytes under a transport's frames. */
export interface RawAccess {
  /** Connects to a listener of the transport without using it. */
  connect(address: string): Promise<RawPeer>
  /** The bytes that stand for one whole frame. */
  encode(frame: Uint8Array): Uint8Array
  /** The bytes that announce a frame of this length, without the frame. */
  header(length: number): Uint8Array
}

export interface RawPeer {
  /** Resolves when the bytes were given to the network, not joined with later ones. */
  write(bytes: Uint8Array): Promise<void>
  /** Ends the stream in order. */
  end(): void
  /** Breaks the stream off. */
  destroy(): void
}

export function transportSuite(options: TransportSuiteOptions): void {
  describe(`transport suite: ${options.name}`, () => {
    const bench = new TransportBench()

    beforeEach(async () => bench.open(await options.create()))
    afterEach(async () => bench.close())

    describe('frames', () => framingTests(bench))
    describe('limits of frames', () => limitTests(bench))
    describe('pieces of a stream', () => streamTests(bench))
    describe('the wire', () => wireTests(bench))
    describe('back-pressure', () => pressureTests(bench))
    describe('connecting', () => connectingTests(bench))
    describe('admission', () => admissionTests(bench))
    describe('closing', () => closingTests(bench))
    describe('load', () => loadTests(bench))
  })
}
