/** What the parts of one run share: time, network, the drawn shape, the truth to compare with, the counts. */
import { SeededRandom, SimulatedClock, SimulatedNetwork, Trace } from '@understudy/testkit'
import { InvariantBreach } from './breach.ts'
import { Acks } from './acks.ts'
import { ExposureBook } from './exposure.ts'
import { Formats } from './formats.ts'
import { History } from './history.ts'
import { Ledger } from './ledger.ts'
import { Receipts } from './receipts.ts'
import { drawShape, type Shape } from './shape.ts'
import { Tally } from './tally.ts'

export const CLUSTER = '0123456789abcdef'
export const LEADER = 'a'

export class World {
  readonly random: SeededRandom
  readonly shape: Shape
  readonly clock: SimulatedClock
  readonly network: SimulatedNetwork
  readonly trace: Trace = new Trace()
  readonly tally: Tally = new Tally()
  readonly ledger: Ledger = new Ledger()
  readonly history: History
  readonly formats: Formats
  readonly acks: Acks
  readonly receipts: Receipts
  readonly exposure: ExposureBook = new ExposureBook()
  /** The first broken invariant, or what else went wrong; ends the run. */
  breach: Error | undefined

  constructor(seed: string | number, shape?: Partial<Shape>) {
    this.random = new SeededRandom(seed)
    this.shape = { ...drawShape(this.random.fork('shape')), ...shape }
    this.clock = new SimulatedClock({ shuffle: this.random.fork('clock') })
    this.network = new SimulatedNetwork({
      clock: this.clock,
      random: this.random.fork('network'),
      latencyMs: this.shape.latencyMs,
      trace: this.trace.add,
    })
    this.acks = new Acks(this)
    this.receipts = new Receipts(this)
    this.formats = new Formats(this.shape.pagesMax, () => this.tally.add('group given to another format'))
    this.history = new History(
      this.formats,
      ({ lsn, kind, changes, parts }) => {
        if (parts > 1) this.tally.add('transaction in parts')
        if (kind === 'base') this.tally.add('base logged')
        if (kind === 'recovered') this.tally.add('transaction logged after a crash')
        this.ledger.entered(lsn, changes)
      },
      (record) => {
        this.exposure.entered(record)
        this.acks.rules.entered(record)
      },
    )
  }

  /** Notes a line of the trace, with the virtual time. */
  note(line: string): void {
    this.trace.add(`${this.clock.monotonic().toFixed(3)} ${line}`)
  }

  /** Runs a check; what it throws is the end of the run. */
  check(run: () => void): void {
    if (this.breach !== undefined) return
    try {
      run()
    } catch (error) {
      this.breach = error instanceof Error ? error : new Error(String(error))
    }
  }

  broken(id: InvariantBreach['id'], what: string): void {
    this.breach ??= new InvariantBreach(id, what)
  }
}
