/** A pipeline with an ack rule, whose followers are what a test says of them. */
import { CONTROL_ACKS, CONTROL_ACKS_LOWERED, FORMAT_CONTROL, type Receipt } from '@understudy/contracts'
import { semiSync, type AckPolicy, type MemberProgress, type WriteOptions } from '../../src/index.ts'
import { testPipeline, type TestPipeline } from './pipeline.ts'

export const POLICY: AckPolicy = semiSync(['b', 'c'], { ackTimeoutMs: 1000, settleMs: 200, lagMsMax: 100 })

export interface Acked extends TestPipeline {
  /** A follower is here, with everything up to `lsn` durable; a higher `received`, a lower `applied`. */
  readonly says: (name: string, lsn: number, more?: Partial<MemberProgress>) => void
  readonly leaves: (name: string) => void
  /** Writes one key; the receipt. */
  readonly put: (key: string, options?: WriteOptions) => Promise<Receipt>
  readonly keys: () => string[]
  readonly rules: () => string[]
}

/** What a follower of a pipeline is made to say. */
export function says(
  { pipeline }: Pick<TestPipeline, 'pipeline'>,
  name: string,
  lsn: number,
  more: Partial<MemberProgress> = {},
): void {
  pipeline.follower(name, {
    streams: true,
    received: lsn,
    durable: lsn,
    applied: lsn,
    unackedBytes: 0,
    ...more,
  })
}

export function acked(
  acks: AckPolicy | undefined = POLICY,
  more: Parameters<typeof testPipeline>[0] = {},
): Acked {
  const made = testPipeline({ node: 'a', ...(acks && { acks }), ...more })
  const { pipeline, storage, log } = made
  return {
    ...made,
    says: (name, lsn, more) => says(made, name, lsn, more),
    leaves: (name) => pipeline.follower(name, undefined),
    put: async (key, options) => (await pipeline.write((tx) => tx.set(key, '1'), options)).receipt,
    keys: () => storage.connection.committedEntries().map(([key]) => key),
    rules: () =>
      [...log.records(1)]
        .filter(({ format, payload }) => format === FORMAT_CONTROL && (payload[0] ?? 0) >= CONTROL_ACKS)
        .map(({ lsn, payload }) => {
          const text = Buffer.from(payload.subarray(1)).toString()
          return `${lsn} ${payload[0] === CONTROL_ACKS_LOWERED ? `not ${text}` : text}`
        }),
  }
}
