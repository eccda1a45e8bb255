/** Which cells a run has, and which of them cannot be measured here. */
import { peerOf, subjectFrom, understudySubject, type SubjectModule } from '../subjects/registry.ts'
import type { Settings, Subject } from '../subjects/subject.ts'
import { understudyVariants } from '../subjects/understudy.ts'
import { workloadOf } from '../workloads/registry.ts'
import type { Workload } from '../workloads/workload.ts'
import type { Cell } from './cell.ts'
import type { MatrixSettings } from './options.ts'
import type { SubjectReport } from './results.ts'

export interface Chosen {
  readonly cells: readonly Cell[]
  readonly refused: readonly { readonly cell: Cell; readonly why: string }[]
  readonly subjects: ReadonlyMap<string, SubjectModule>
  readonly workloads: ReadonlyMap<string, Workload>
  readonly reports: Readonly<Record<string, SubjectReport>>
}

/** Throws `INVALID_ARGUMENT` for what there is not. A subject that is not installed is named in `reports` and left out. */
export async function chooseCells(settings: MatrixSettings): Promise<Chosen> {
  const workloads = new Map<string, Workload>()
  for (const name of settings.workloads) workloads.set(name, await workloadOf(name))
  const modules = [
    ...settings.peers.map((name) => peerOf(name)),
    understudySubject(),
    ...(await Promise.all(settings.peerFiles.map((file) => subjectFrom(file)))),
  ]
  const subjects = new Map<string, SubjectModule>()
  const reports: Record<string, SubjectReport> = {}
  const cells: Cell[] = []
  const refused: { readonly cell: Cell; readonly why: string }[] = []
  for (const module of modules) {
    const { subject } = module
    const found = await subject.find()
    reports[subject.name] = { title: subject.title, facts: {}, ...found }
    if ('missing' in found) continue
    subjects.set(subject.name, module)
    for (const cell of cellsOf(subject, workloads, settings)) {
      const why = subject.refuses?.(workloads.get(cell.workload) as Workload, cell.variant)
      if (why === undefined) cells.push(cell)
      else refused.push({ cell, why })
    }
  }
  return { cells, refused, subjects, workloads, reports }
}

function cellsOf(
  subject: Subject,
  workloads: ReadonlyMap<string, Workload>,
  settings: MatrixSettings,
): readonly Cell[] {
  const variants: readonly Settings[] =
    subject.name === 'understudy' ? understudyVariants(settings) : subject.variants
  return [...workloads].flatMap(([workload, { rowsDefault, rowsQuick }]) =>
    variants.flatMap((variant) =>
      settings.writers.map((writers) => ({
        subject: subject.name,
        variant,
        workload,
        rows: settings.rows ?? (settings.quick ? rowsQuick : rowsDefault),
        writers,
        ...(settings.rate !== undefined && { rate: settings.rate }),
      })),
    ),
  )
}
