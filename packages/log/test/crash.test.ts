import { isUnderstudyError, LOCAL_SLOT, type Log } from '@understudy/contracts'
import { SeededRandom, SimulatedDisk } from '@understudy/testkit'
import { expect, test } from 'vitest'
import { openLog } from '../src/index.ts'
import { Crash, crashingFiles, type CrashPlan } from './crashing-files.ts'
import { draft } from './helpers.ts'
import { cutTo, EMPTY, mismatch, modelEnd, modelEpoch, type Candidate } from './model.ts'

const SEEDS = Number(process.env['LOG_SEEDS'] ?? 150)
const STEPS = 60

/** A log on a disk that crashes, beside the model of it. */
class Trial {
  readonly random: SeededRandom
  readonly disk: SimulatedDisk
  readonly segmentBytes: number
  readonly slotBytesMax: number
  readonly tailCacheBytes: number
  log!: Log
  plan!: CrashPlan
  now: Candidate = EMPTY
  /** What the log may be found as instead, while a step is under way. */
  other: Candidate | undefined
  slots = new Map<string, number>()
  /** The slot that the step under way creates, moves or drops. */
  touched: string | undefined
  crashes = 0
  #serial = 0

  constructor(seed: number) {
    this.random = new SeededRandom(seed)
    this.disk = new SimulatedDisk({ random: this.random.fork('disk') })
    this.segmentBytes = this.random.pick([8192, 12_288, 65_536])
    this.slotBytesMax = this.random.pick([10_000, 1_000_000])
    this.tailCacheBytes = this.random.pick([0, 5000, 1_000_000])
    this.reopen()
  }

  open(): void {
    const wrapped = crashingFiles(this.disk.mount())
    this.plan = wrapped.plan
    if (this.random.chance(0.2)) this.plan.remaining = this.random.below(12)
    this.log = openLog({
      directory: '/log',
      files: wrapped.files,
      random: this.random.fork(`salt ${this.crashes} ${this.#serial}`),
      segmentBytes: this.segmentBytes,
      slotBytesMax: this.slotBytesMax,
      slotBytesNormal: 5000,
      tailCacheBytes: this.tailCacheBytes,
      knownDurable: this.random.chance(0.5) && this.other === undefined ? this.now.durable : 0,
    })
    this.plan.remaining = Infinity
  }

  /** Opens until it works, then takes over what survived after comparing it with the model. */
  reopen(): void {
    for (;;) {
      try {
        this.open()
        break
      } catch (error) {
        if (!this.plan.crashed) throw error
        this.crash()
      }
    }
    const wrong = mismatch(this.log, this.now)
    const otherWrong = this.other === undefined ? 'no other' : mismatch(this.log, this.other)
    if (wrong !== undefined && otherWrong !== undefined) throw new Error(`${wrong}; ${otherWrong}`)
    if (wrong !== undefined) this.now = this.other!
    this.now = { ...cutTo(this.now, this.log.end.lsn), durable: this.log.end.lsn }
    this.checkSlots()
    this.other = undefined
    this.touched = undefined
  }

  checkSlots(): void {
    for (const [name, lsn] of this.slots) {
      const slot = this.log.slots.get(name)
      if (name === this.touched) continue
      expect(slot).toBeDefined()
      if (this.other === undefined) expect(slot!.lsn).toBeLessThanOrEqual(Math.max(lsn, 0))
      if (slot!.state !== 'lost') expect(slot!.lsn).toBeGreaterThanOrEqual(this.log.first - 1)
      if (name === LOCAL_SLOT) expect(slot!.state).not.toBe('lost')
    }
    this.slots = new Map(this.log.slots.list().map((slot) => [slot.name, slot.lsn]))
  }

  crash(): void {
    this.crashes++
    if (this.random.chance(0.2)) this.disk.kill()
    else this.disk.crash(this.random.pick(['random', 'random', 'lose-all', 'keep-all']))
  }

  append(): void {
    const count = this.random.pick([1, 1, 1, 2, 5])
    const big = this.random.chance(0.03) ? this.segmentBytes + 100 : 0
    const bodies = Array.from({ length: count }, () => {
      return `${this.#serial++} `.padEnd(this.random.pick([5, 50, 400, 1500, big]), 'x')
    })
    const epoch = modelEpoch(this.now)
    const records = [...this.now.records, ...bodies.map((body) => ({ text: body, epoch }))]
    this.other = { ...this.now, records }
    if (epoch === 0) return
    const point = this.log.append(bodies.map((body) => draft(body)))
    this.now = this.other
    expect(point).toMatchObject({ lsn: modelEnd(this.now), epoch })
  }

  startEpoch(): void {
    const epoch = modelEpoch(this.now) + 1
    this.other = { ...this.now, records: [...this.now.records, { text: `epoch ${epoch}`, epoch }] }
    this.log.startEpoch({
      runId: String(epoch).padStart(16, '0'),
      leader: 'ab'[epoch % 2]!,
      committedAtMs: 5,
    })
    this.now = this.other
  }

  async step(): Promise<void> {
    const { log, random } = this
    const lsn = random.between(log.first - 1, log.end.lsn)
    const name = random.pick([LOCAL_SLOT, 'b', 'c'])
    switch (random.below(14)) {
      case 0:
        return this.startEpoch()
      case 1:
      case 2:
        log.syncNow()
        this.now = { ...this.now, durable: log.end.lsn }
        return
      case 3:
      case 4: {
        const target = log.end.lsn
        await log.sync()
        expect(log.durable).toBeGreaterThanOrEqual(target)
        this.now = { ...this.now, durable: target }
        return
      }
      case 5:
        if (random.chance(0.5)) return
        this.other = cutTo(this.now, lsn)
        log.truncateAfter(lsn)
        this.now = { ...this.other, durable: lsn }
        this.slots = new Map(log.slots.list().map((slot) => [slot.name, slot.lsn]))
        return
      case 6: {
        if (random.chance(0.7)) return
        const point = random.chance(0.5) ? { ...log.end, lsn: log.end.lsn + 50 } : log.end
        this.other = { base: point.lsn, baseEpoch: point.epoch, records: [], durable: point.lsn }
        log.resetTo(point, log.history)
        this.now = this.other
        this.slots = new Map(log.slots.list().map((slot) => [slot.name, slot.lsn]))
        return
      }
      case 7:
        this.touched = name
        log.slots.reserve(name, lsn)
        this.slots.set(name, lsn)
        return
      case 8:
        if (log.slots.get(name) === undefined || log.slots.get(name)!.state === 'lost') return
        log.slots.advance(name, lsn)
        this.slots.set(name, log.slots.get(name)!.lsn)
        return
      case 9: {
        const holding = log.slots
          .list()
          .filter((slot) => slot.state === 'reserved' || slot.state === 'extended')
        const first = log.collect()
        for (const slot of holding) expect(slot.lsn + 1).toBeGreaterThanOrEqual(first)
        return
      }
      default:
        return this.append()
    }
  }

  async run(): Promise<void> {
    for (let i = 0; i < STEPS; i++) {
      if (this.random.chance(0.1)) this.plan.remaining = this.random.below(8)
      try {
        await this.step()
        this.other = undefined
        this.touched = undefined
        if (this.random.chance(0.05)) {
          await this.log.close()
          this.now = { ...this.now, durable: modelEnd(this.now) }
          this.reopen()
        }
      } catch (error) {
        if (!this.plan.crashed || !causedByCrash(error)) throw error
        this.crash()
        this.reopen()
        continue
      }
      if (this.random.chance(0.05)) {
        this.crash()
        this.reopen()
      }
    }
  }
}

function causedByCrash(error: unknown): boolean {
  if (error instanceof Crash) return true
  return isUnderstudyError(error, 'LOG_FAILED') && error.cause instanceof Crash
}

test('what was synced survives every crash, what survives is a prefix, epochs and slots are right', async () => {
  let crashes = 0
  for (let seed = 1; seed <= SEEDS; seed++) {
    let trial: Trial
    try {
      trial = new Trial(seed)
      await trial.run()
    } catch (error) {
      throw new Error(`seed ${seed}: ${String(error)}`, { cause: error })
    }
    crashes += trial.crashes
  }
  expect(crashes).toBeGreaterThan(SEEDS)
}, 120_000)
