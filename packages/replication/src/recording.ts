/**
 * In which format a leader records, and which one beside it.
 *
 * Decides: which recorder watches the writes, when the shadow ends. Leaves to others: when the format changes, what is
 * logged of that (commit-pipeline).
 *
 * 1. There is a recorder at any time: one that cannot be made leaves the one before in force.
 * 2. A shadow survives a change of format, unless it cannot be beside the new one.
 */
import type { Clock, Log, LogFormat, Recorder, Storage } from '@understudy/contracts'
import type { GroupContext, GroupRecords } from './commit-group.ts'
import type { IdGate } from './id-gate.ts'
import type { KeyedWrites } from './keyed-writes.ts'
import type { PipelineLimits } from './limits.ts'
import { ShadowRecorder, shadowRefusal, type ShadowOptions, type ShadowReport } from './shadow.ts'

export class Recording<C, T> {
  readonly #storage: Storage<C, T>
  readonly #clock: Clock
  #shadow: ShadowOptions<C> | undefined
  #format: LogFormat<C>
  #recorder: Recorder

  /** Throws when the shadow cannot be beside the format. */
  constructor(
    storage: Storage<C, T>,
    clock: Clock,
    format: LogFormat<C>,
    shadow: ShadowOptions<C> | undefined,
  ) {
    this.#storage = storage
    this.#clock = clock
    this.#shadow = shadow
    const refusal = shadow && shadowRefusal(format, shadow.format)
    if (refusal !== undefined) throw refusal
    this.#format = format
    this.#recorder = this.#recorderOf(format)
  }

  /** What groups run in, always by the format in force. */
  context(
    log: Log,
    limits: PipelineLimits,
    asks: () => GroupRecords,
    keyed: KeyedWrites<T>,
    assertLeads: () => void,
    ids: { readonly gate: IdGate | undefined },
  ): GroupContext<C, T> {
    const format = (): LogFormat<C> => this.#format
    const recorder = (): Recorder => this.#recorder
    return {
      storage: this.#storage,
      log,
      clock: this.#clock,
      limits,
      asks,
      keyed,
      assertLeads,
      get ids() {
        return ids.gate
      },
      get format() {
        return format()
      },
      get recorder() {
        return recorder()
      },
    }
  }

  get format(): LogFormat<C> {
    return this.#format
  }

  get recorder(): Recorder {
    return this.#recorder
  }

  get shadow(): ShadowReport | undefined {
    return this.#recorder instanceof ShadowRecorder ? this.#recorder.report() : undefined
  }

  /** Groups are recorded in this format from now on. */
  use(format: LogFormat<C>): void {
    if (format === this.#format) return
    this.#recorder.close()
    try {
      this.#recorder = this.#recorderOf(format)
      this.#format = format
    } catch (error) {
      this.#recorder = this.#recorderOf(this.#format)
      throw error
    }
  }

  /** The database was changed by something else than writes: what the recorder knows of it may be old. */
  renew(): void {
    this.#recorder.close()
    this.#recorder = this.#recorderOf(this.#format)
  }

  /** The group was committed: the shadow measures then. */
  committed(): void {
    if (this.#recorder instanceof ShadowRecorder) this.#recorder.committed()
  }

  /** Once a change of format is sure. */
  endShadowUnless(format: LogFormat<C>): void {
    if (this.#shadow && shadowRefusal(format, this.#shadow.format)) this.#shadow = undefined
  }

  #recorderOf(format: LogFormat<C>): Recorder {
    const { connection } = this.#storage
    const shadow = this.#shadow
    if (shadow === undefined || shadowRefusal(format, shadow.format) !== undefined)
      return format.recorder(connection)
    return new ShadowRecorder({ connection, clock: this.#clock, format, shadow })
  }
}
