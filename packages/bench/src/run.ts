/**
 * Runs scenarios one after another, each in a folder of its own that is removed.
 *
 * Decides: order and cleaning up. Leaves to others: what a scenario measures, how results are shown.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import path from 'node:path'
import { describeMachine, type Machine } from './machine.ts'
import type { Reporter, Scenario } from './scenario.ts'

export interface RunSettings<N extends string> {
  /** What runs, in order. */
  readonly scenarios: readonly N[]
  /** A new folder is made in it, and removed. */
  readonly directory: string
}

export interface RunResult<N extends string, F extends string> {
  readonly machine: Machine
  readonly measured: Partial<Record<F, number>>
  readonly details: Readonly<Partial<Record<N, Readonly<Record<string, unknown>>>>>
}

export async function runScenarios<S extends RunSettings<N>, N extends string, F extends string>(
  scenarios: Readonly<Record<N, Scenario<S, F>>>,
  settings: S,
  reporter: Reporter,
): Promise<RunResult<N, F>> {
  await mkdir(settings.directory, { recursive: true })
  const directory = await mkdtemp(path.join(settings.directory, 'understudy-bench-'))
  try {
    const machine = await describeMachine(directory)
    const measured: Partial<Record<F, number>> = {}
    const details: Partial<Record<N, Readonly<Record<string, unknown>>>> = {}
    for (const name of settings.scenarios) {
      const folder = path.join(directory, name)
      await mkdir(folder)
      const result = await scenarios[name]({ settings, directory: folder, reporter, machine })
      await rm(folder, { recursive: true, force: true })
      Object.assign(measured, result.figures)
      details[name] = result.details
    }
    return { machine, measured, details }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
