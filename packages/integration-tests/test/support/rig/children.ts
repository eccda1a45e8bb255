/** Processes of tests: how they run, what they print, and that they end with the test. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'

/** Of this Node.js, for programs that stand as source. */
export const FLAGS: readonly string[] = [
  '--conditions=@understudy/source',
  '--disable-warning=ExperimentalWarning',
]

export function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

/** Whether a process of this id runs, whoever's it is. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Kills it, also when it stands still, and waits until it is gone. */
export async function endChild(child: ChildProcess): Promise<void> {
  if (hasEnded(child) || child.pid === undefined) return
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}

/** Rejects with `explain()` when `promise` takes longer than `timeoutMs`. */
export async function within<T>(promise: Promise<T>, timeoutMs: number, explain: () => string): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`waited ${timeoutMs} ms for ${explain()}`)), timeoutMs)
  try {
    return await Promise.race([promise, late.promise])
  } finally {
    clearTimeout(timer)
  }
}
