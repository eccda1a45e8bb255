/** A metric family, and how its samples are read. */
import type { NodeStatus } from '@understudy/node'

export interface Sample {
  readonly value: number | undefined
  readonly labels?: Readonly<Record<string, string>>
}

export interface Family {
  readonly name: string
  readonly help: string
  readonly labels: readonly string[]
  readonly read: (status: NodeStatus) => readonly Sample[]
}

export type Read<T> = (from: T) => number | undefined

export function seconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000
}

export function flag(isSet: boolean): number {
  return isSet ? 1 : 0
}
