/**
 * Runs the matrix: starts the instances of a batch, measures their cells in turns, keeps what came out.
 *
 * Decides: when an instance starts and ends, and when a cell is done. Leaves to others: the order (plan.ts), a measurement (measure.ts), where
 * results are kept (the caller's `keep`).
 *
 * Validity:
 * 1. A cell is done when all of its rounds are, and whatever is measured once for its instance; only then it is kept.
 * 2. At the end of a batch the nodes of each instance are compared; a difference fails the run.
 * 3. Every process ends and every folder is removed, also after a failure.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import path from 'node:path'
import { UnderstudyError, isUnderstudyError } from '@understudy/contracts'
import { Child } from '../processes/child.ts'
import type { LeaderCalls } from '../processes/leader.ts'
import type { SubjectLoadCalls } from '../processes/load-of-subject.ts'
import { describeMachine, type Machine } from '../machine.ts'
import type { LoadHost } from '../load/load-calls.ts'
import type { Instance } from '../subjects/subject.ts'
import { cellKey, subjectName, variantName, type Cell } from './cell.ts'
import { chooseCells, type Chosen } from './cells.ts'
import { Databases } from './database.ts'
import { measureBootstrap, measureCatchUp, measureKill, measureRound, type Running } from './measure.ts'
import { resolveMatrixOptions, type MatrixOptions, type MatrixSettings } from './options.ts'
import { inOrder, measurements, plan, type Batch, type Turn } from './plan.ts'
import {
  RESULTS_FORMAT,
  RESULTS_VERSION,
  type CellResult,
  type Results,
  type RoundSample,
  type SubjectReport,
} from './results.ts'

/** Told while a matrix runs, for people. */
export interface MatrixReporter {
  /** So many measurements are to be made. */
  begin(measurements: number): void
  step(note: string): void
  /** Something that is no measurement goes on, such as starting. */
  note(note: string): void
  end(): void
}

export interface RunMatrixOptions extends MatrixOptions {
  /** For the report. */
  readonly command?: string
  /** Results of a run that was interrupted: its cells that are done are not measured again. */
  readonly resume?: Results
  /** What it is measured on, where that is known. Default: it is looked at, and its disk measured. */
  readonly machine?: Machine
  /** Called whenever a cell is done, with all results so far. */
  readonly keep?: (results: Results) => Promise<void>
  /** Ends the run after the measurement that it is at; what is done was kept. */
  readonly signal?: AbortSignal
}

/** Throws `INVALID_ARGUMENT`, `REQUEST_FAILED` when a process failed, `DIVERGED` when nodes differ, `ABORTED`. */
export async function runMatrix(reporter: MatrixReporter, options: RunMatrixOptions = {}): Promise<Results> {
  const settings = resolveMatrixOptions(options)
  const chosen = await chooseCells(settings)
  if (options.resume !== undefined) checkResumed(options.resume, settings)
  await mkdir(settings.directory, { recursive: true })
  const directory = await mkdtemp(path.join(settings.directory, 'understudy-bench-'))
  try {
    const machine = options.machine ?? options.resume?.machine ?? (await describeMachine(directory))
    const run = new MatrixRun({ directory, settings, chosen, reporter, options, machine })
    return await run.run()
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

function stopped(): UnderstudyError {
  return new UnderstudyError(
    'ABORTED',
    'The benchmark was stopped. The cells that were done were kept, if somebody keeps them; resume with those results to go on.',
  )
}

/** Cells of one file are measured alike. Throws `INVALID_ARGUMENT`. */
function checkResumed({ settings: before }: Results, now: MatrixSettings): void {
  const differing = (['rounds', 'seconds', 'warmUpSeconds', 'followers', 'measures', 'seed'] as const).filter(
    (key) => String(before[key]) !== String(now[key]),
  )
  if (differing.length === 0) return
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `The results to go on with were measured with ${differing.map((key) => `${key} ${String(before[key])}`).join(', ')}, now it would be ${differing.map((key) => String(now[key])).join(', ')}. Nothing was measured; give the same options, or another file.`,
  )
}

interface RunParts {
  readonly directory: string
  readonly settings: MatrixSettings
  readonly chosen: Chosen
  readonly reporter: MatrixReporter
  readonly options: RunMatrixOptions
  readonly machine: Results['machine']
}

/** An instance of a batch, with what it is. */
interface Started extends Running {
  readonly of: Cell
}

class MatrixRun {
  readonly #parts: RunParts
  readonly #databases: Databases
  readonly #cells: Map<string, CellResult>
  readonly #subjects: Record<string, SubjectReport>
  readonly #startedAt: string
  /** Why, by the key of a cell or the name of an instance of this batch. */
  readonly #failed = new Map<string, string>()
  #batch: number
  #started = 0

  constructor(parts: RunParts) {
    const { resume } = parts.options
    this.#parts = parts
    this.#databases = new Databases(parts.directory, parts.settings.database)
    this.#cells = new Map(resume?.cells.map((cell) => [cell.key, cell]))
    this.#subjects = { ...resume?.subjects }
    this.#startedAt = resume?.startedAt ?? new Date().toISOString()
    this.#batch = Math.max(
      0,
      ...(resume?.cells ?? []).flatMap(({ rounds }) => rounds.map(({ batch }) => batch)),
    )
    for (const [name, report] of Object.entries(parts.chosen.reports))
      this.#subjects[name] = { ...report, facts: { ...this.#subjects[name]?.facts } }
    for (const { cell, why } of parts.chosen.refused)
      this.#cells.set(cellKey(cell), { key: cellKey(cell), cell, skipped: why, rounds: [] })
  }

  async run(): Promise<Results> {
    const { chosen, settings, reporter } = this.#parts
    const batches = plan(chosen.cells, {
      togetherMax: settings.together,
      isYardstick: ({ subject }) => subject === 'sqlite',
      isDone: (key) => (this.#cells.get(key)?.rounds.length ?? 0) > 0,
    })
    reporter.begin(measurements(batches) * settings.rounds)
    try {
      for (const batch of batches) await this.#runBatch(batch)
    } finally {
      reporter.end()
    }
    return this.#results()
  }

  #results(): Results {
    const { rounds, seconds, warmUpSeconds, followers, measures, seed } = this.#parts.settings
    return {
      format: RESULTS_FORMAT,
      version: RESULTS_VERSION,
      startedAt: this.#startedAt,
      command: this.#parts.options.command ?? '',
      machine: this.#parts.machine,
      settings: { rounds, seconds, warmUpSeconds, followers, measures, seed },
      subjects: this.#subjects,
      cells: this.#inOrder(),
    }
  }

  /** As they were chosen, whenever they were done. */
  #inOrder(): readonly CellResult[] {
    const places = new Map(this.#parts.chosen.cells.map((cell, index) => [cellKey(cell), index]))
    const placeOf = ({ key }: CellResult): number => places.get(key) ?? places.size
    return [...this.#cells.values()].sort((a, b) => placeOf(a) - placeOf(b))
  }

  async #runBatch(batch: Batch): Promise<void> {
    await using ended = new AsyncDisposableStack()
    this.#failed.clear()
    const number = ++this.#batch
    const running = new Map<string, Started>()
    for (const cell of batch.instances)
      await this.#tried(subjectName(cell), async () =>
        running.set(subjectName(cell), await this.#start(cell, ended)),
      )
    const held: CellResult[] = []
    for (const turn of batch.turns) {
      for (const result of await this.#runTurn(turn, running, number)) {
        if (result.skipped === undefined && this.#isLast(result, batch)) held.push(result)
        else await this.#done(result)
      }
    }
    for (const result of held) {
      const started = running.get(subjectName(result.cell)) as Started
      await this.#done({ ...result, ...(await this.#once(started, result.cell)) })
    }
  }

  /** Whether it is the last cell of its instance: what is measured once for an instance belongs to it. */
  #isLast({ cell, key }: CellResult, { turns }: Batch): boolean {
    const ofInstance = turns.flatMap(({ cells }) =>
      cells.filter((other) => subjectName(other) === subjectName(cell)),
    )
    return cellKey(ofInstance.at(-1) as Cell) === key
  }

  async #runTurn(
    { cells }: Turn,
    running: ReadonlyMap<string, Started>,
    batch: number,
  ): Promise<readonly CellResult[]> {
    const { settings, reporter, options } = this.#parts
    const samples = new Map<string, RoundSample[]>(cells.map((cell) => [cellKey(cell), []]))
    for (let round = 1; round <= settings.rounds; round++) {
      for (const cell of inOrder(cells, round)) {
        if (options.signal?.aborted === true) throw stopped()
        const what = `${subjectName(cell)}, ${cell.workload}, ${cell.writers} writers, round ${round}`
        const started = running.get(subjectName(cell))
        const sample =
          started === undefined || this.#failed.has(cellKey(cell))
            ? undefined
            : await this.#tried(cellKey(cell), () => measureRound(started, cell, { round, batch }, settings))
        if (sample !== undefined) samples.get(cellKey(cell))?.push(sample)
        const came = sample === undefined ? 'it failed' : `${Math.round(sample.operationsPerSecond)}/s`
        reporter.step(`${what}: ${came}`)
      }
    }
    return cells.map((cell) => {
      const key = cellKey(cell)
      const skipped = this.#failed.get(key) ?? this.#failed.get(subjectName(cell))
      return skipped === undefined
        ? { key, cell, rounds: samples.get(key) ?? [] }
        : { key, cell, skipped, rounds: [] }
    })
  }

  /**
   * What fails with one cell, or with the start of one instance, is told in the results and the run goes on with the others. Nodes that differ, and options that make no
   * sense, end it.
   */
  async #tried<R>(key: string, body: () => Promise<R>): Promise<R | undefined> {
    try {
      return await body()
    } catch (error) {
      if (isUnderstudyError(error, 'DIVERGED') || isUnderstudyError(error, 'INVALID_ARGUMENT')) throw error
      const [line = ''] = (error instanceof Error ? error.message : String(error)).split('\n')
      this.#failed.set(key, line)
      return undefined
    }
  }

  /** Rounds of a yardstick that is in several batches stay beside those of the batches before. */
  async #done(result: CellResult): Promise<void> {
    const before = this.#cells.get(result.key)
    this.#cells.set(result.key, {
      ...before,
      ...result,
      rounds: [...(before?.rounds ?? []), ...result.rounds],
    })
    await this.#parts.options.keep?.(this.#results())
  }

  async #once(started: Started, cell: Cell): Promise<Partial<CellResult>> {
    const { settings, reporter } = this.#parts
    const { measures } = settings
    const { instance } = started
    const name = subjectName(cell)
    reporter.note(`${name}: comparing all nodes, and what is measured once`)
    await instance.verify?.()
    await this.#holds(started, cell)
    const heldMs = await instance.held?.()
    const bootstrap = measures.includes('bootstrap') ? await measureBootstrap(instance) : undefined
    const catchUp = measures.includes('catchup') ? await measureCatchUp(started, cell, settings) : undefined
    const kill =
      settings.killLeader && cell.workload === 'inserts'
        ? await measureKill(started, cell, settings)
        : undefined
    return {
      ...(heldMs && { heldMs }),
      ...(bootstrap && { bootstrap: [bootstrap] }),
      ...(catchUp && { catchUp: [catchUp] }),
      ...(kill && { kill }),
    }
  }

  /** Throws `DIVERGED` when something that the workload keeps true is not so. */
  async #holds({ instance }: Started, { workload }: Cell): Promise<void> {
    if (instance.column === undefined) return
    for (const { title, sql } of this.#parts.chosen.workloads.get(workload)?.invariants ?? []) {
      const [value] = await instance.column(sql)
      if (value === '1') continue
      throw new UnderstudyError(
        'DIVERGED',
        `After ${workload} this does not hold: ${title}. The figures of this run are worth nothing.`,
      )
    }
  }

  async #start(cell: Cell, ended: AsyncDisposableStack): Promise<Started> {
    const { directory, settings, chosen, reporter } = this.#parts
    const { subject, module } = chosen.subjects.get(cell.subject) as NonNullable<
      ReturnType<Chosen['subjects']['get']>
    >
    const workload = chosen.workloads.get(cell.workload) as NonNullable<
      ReturnType<Chosen['workloads']['get']>
    >
    reporter.note(`starting ${subjectName(cell)} for ${cell.workload}`)
    const number = ++this.#started
    const folder = path.join(directory, `instance-${number}`)
    await mkdir(folder)
    ended.defer(() => rm(folder, { recursive: true, force: true }))
    const spec = { workload: cell.workload, rows: cell.rows }
    const instance = ended.use(
      await subject.start({
        directory: folder,
        variant: cell.variant,
        followers: settings.followers,
        workload,
        rows: cell.rows,
        database: () => this.#databases.of(workload, cell.rows),
      }),
    )
    const report = this.#subjects[subject.name]
    if (report !== undefined)
      this.#subjects[subject.name] = {
        ...report,
        facts: { ...report.facts, [variantName(cell.variant)]: instance.facts },
      }
    const load = { workload: spec, seed: settings.seed, load: number }
    const isLoadApart = instance.load === undefined
    return { of: cell, instance, isLoadApart, host: await this.#host(instance, module, load, ended) }
  }

  async #host(
    instance: Instance,
    module: string,
    load: Parameters<LeaderCalls['openLoad']>[0],
    ended: AsyncDisposableStack,
  ): Promise<LoadHost> {
    if (instance.load !== undefined) {
      await (instance.load as unknown as Child<LeaderCalls>).call('openLoad', load)
      return instance.load
    }
    const child = ended.use(new Child<SubjectLoadCalls>('load-of-subject'))
    const writers = Math.max(...this.#parts.settings.writers)
    await child.call('connect', { module, endpoint: instance.endpoint, writers, ...load })
    return child
  }
}
