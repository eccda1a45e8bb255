/** A cell of the matrix: one variant of one subject under one workload with so many writers. Pure. */
import type { Settings } from '../subjects/subject.ts'

export interface Cell {
  readonly subject: string
  readonly variant: Settings
  readonly workload: string
  readonly rows: number
  readonly writers: number
  /** Operations per second that arrive, whether or not they can be served; absent: a closed loop. */
  readonly rate?: number
}

/** What tells the variants of a subject apart, short: `row/tcp/async/client`, `full`, or nothing. */
export function variantName(variant: Settings): string {
  return Object.values(variant).join('/')
}

/** `understudy row/tcp/async/client`. */
export function subjectName({ subject, variant }: Pick<Cell, 'subject' | 'variant'>): string {
  return [subject, variantName(variant)].filter((part) => part !== '').join(' ')
}

/** Of cells that mean the same in every run. */
export function cellKey(cell: Cell): string {
  const rate = cell.rate === undefined ? 'closed' : `${cell.rate}/s`
  return `${subjectName(cell)} | ${cell.workload} ${cell.rows} | ${cell.writers} | ${rate}`
}
