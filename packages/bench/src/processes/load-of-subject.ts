/** The process of a load, beside the subject: imports the subject's module, connects, runs the writers. */
import type { Subject } from '../subjects/subject.ts'
import {
  Load,
  type Acknowledged,
  type CommitNotes,
  type LoadOpenOptions,
  type LoadRunOptions,
  type LoadSample,
} from '../load/load-calls.ts'
import { cpuSeconds } from './processor-time.ts'
import { serve } from './serve.ts'

export interface ConnectCall extends LoadOpenOptions {
  /** URL of the module that exports `subject`. */
  readonly module: string
  readonly endpoint: unknown
  readonly writers: number
}

const load = new Load()

const calls = {
  run(options: LoadRunOptions): Promise<LoadSample> {
    return load.run(options)
  },

  notes(): CommitNotes {
    return load.notes()
  },

  acknowledged(): Acknowledged {
    return load.acknowledged()
  },

  async connect({ module, endpoint, writers, ...options }: ConnectCall): Promise<void> {
    const { subject } = (await import(module)) as { readonly subject: Subject }
    await load.open(options, await subject.connect(endpoint, { writers }))
  },

  cpuSeconds(): number {
    return cpuSeconds()
  },

  async close(): Promise<void> {
    await load.close()
  },
} as const

export type SubjectLoadCalls = typeof calls

serve(calls)
