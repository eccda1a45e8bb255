/** The logical row-based log format, engine-neutral. */
export { rowFormat } from './row-format.ts'
export type { RowFormat, RowFormatOptions } from './row-format.ts'
export type { Boundaries } from './recorder.ts'
export type { DescribedPayload, DescribedRow, DescribedStep, DescribedValue } from './describe.ts'
