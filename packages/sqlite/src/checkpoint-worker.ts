/**
 * The thread that checkpoints: a connection of its own, so that its syncs stall no writer.
 *
 * Imports nothing but Node and what imports nothing but Node, so that it starts the same from source and from a build.
 * Its one job:
 * 1. Unless told that checkpoints are held, moves pages from the log into the database (PASSIVE: waits for nobody).
 * 2. When not everything could be moved, syncs the log file instead: that alone makes every commit durable.
 * 3. When asked, syncs the database, so that what the writer's thread still has to sync itself is little.
 * It opens the database by SQLite only; the descriptor that it syncs belongs to the storage and stays open.
 */
import { closeSync, fdatasyncSync, fsyncSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { openHardened } from './hardened-connection.ts'

interface Request {
  readonly held: boolean
  readonly syncDatabase: boolean
  readonly close?: boolean
}

const { path, databaseDescriptor } = workerData as { path: string; databaseDescriptor: number }

// A file that went away must not come back empty.
const database = openHardened(path, { trust: 'own', file: 'existing' })
database.exec('pragma synchronous = normal; pragma wal_autocheckpoint = 0')
const passive = database.prepare('pragma wal_checkpoint(passive)')

function checkpoint(): boolean {
  const row = passive.get() as { busy: number; log: number; checkpointed: number }
  return row.busy === 0 && row.log === row.checkpointed
}

function syncLog(): void {
  // SQLite locks nothing through this file, so that closing it is harmless.
  const log = openSync(`${path}-wal`, 'r')
  try {
    fdatasyncSync(log)
  } finally {
    closeSync(log)
  }
  const directory = openSync(dirname(path), 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}

function serve(request: Request): boolean {
  const complete = !request.held && checkpoint()
  if (!complete) syncLog()
  if (request.syncDatabase) fsyncSync(databaseDescriptor)
  return complete
}

parentPort?.on('message', (request: Request) => {
  if (request.close === true) {
    database.close()
    parentPort?.close()
    return
  }
  try {
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    parentPort?.postMessage({ complete: serve(request) })
  } catch (error) {
    const { message, errcode, code } = error as { message: string; errcode?: number; code?: string }
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
    parentPort?.postMessage({ failure: { message, errcode, code } })
  }
})
