/**
 * What every `Storage` must do. Call `storageSuite` from a test file; see `StorageUnderTest` for what it needs.
 *
 * The suite sees any storage as a map from keys to values: give it three functions that read and write such a map, in
 * a table of your own or whatever the storage has.
 */
import { afterEach, beforeEach, describe } from 'vitest'
import type { Recorder, Storage } from '@understudy/contracts'
import { StorageBench } from './storage-bench.ts'
import { durabilityTests, snapshotTests } from './storage-durability.ts'
import { physicalDurabilityTests, physicalSnapshotTests, physicalTests } from './storage-physical.ts'
import { transactionTests } from './storage-transactions.ts'
import { openWriteTests, writeTests } from './storage-writes.ts'

export interface StorageSuiteOptions<C, T> {
  readonly name: string
  create(): Promise<StorageUnderTest<C, T>>
}

export interface StorageUnderTest<C, T> {
  readonly storage: Storage<C, T>
  /** Within a write. */
  put(tx: T, key: string, value: string): void
  /** Within a write: sees what the group wrote so far. */
  get(tx: T, key: string): string | undefined
  /** Outside: what is committed, as a reader of another connection sees it. */
  read(key: string): string | undefined
  /** A recorder that is right for the storage's connection; without it one that records nothing. */
  readonly recorder?: () => Recorder
  /** Within a write: makes the engine end the whole transaction, as `INSERT OR ROLLBACK` does. It throws. */
  readonly loseTransaction?: (tx: T) => void
  /** Within a write: leaves a deferred constraint violated, without throwing. */
  readonly violateDeferred?: (tx: T) => void
  /** Changes the data from outside. */
  readonly foreignWrite?: () => void
  /** Power loss; returns what a restart finds. The old storage is not used any more, not even closed. */
  readonly crash?: () => Promise<StorageUnderTest<C, T>>
  /** Opens a complete image that a snapshot gave. */
  readonly openImage?: (image: Uint8Array) => Promise<StorageUnderTest<C, T>>
  /** Closes the storage, unless that was done, and removes its files. */
  dispose(): Promise<void>
}

export function storageSuite<C, T>(options: StorageSuiteOptions<C, T>): void {
  describe(`storage suite: ${options.name}`, () => {
    const bench = new StorageBench<C, T>()
    beforeEach(async () => bench.open(await options.create()))
    afterEach(async () => bench.close())

    describe('transactions', () => transactionTests(bench))
    describe('writes', () => writeTests(bench))
    describe('writes that stay open', () => openWriteTests(bench))
    describe('durability', () => durabilityTests(bench))
    describe('snapshots', () => snapshotTests(bench))
    describe('physical transactions', () => {
      physicalTests(bench)
      physicalDurabilityTests(bench)
      physicalSnapshotTests(bench)
    })
  })
}
