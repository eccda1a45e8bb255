/**
 * Child side of a benchmark's process: answers the calls of the process that started it.
 *
 * Decides: that calls run at once, beside each other. Leaves to others: what they do. The process ends when its parent
 * is gone, so that a benchmark that was killed leaves nothing behind.
 */

export interface CallMessage {
  readonly id: number
  readonly name: string
  readonly argument: unknown
}

export interface AnswerMessage {
  readonly id: number
  readonly value?: unknown
  readonly error?: { readonly code: string | undefined; readonly message: string }
}

/** What a process can be asked for: each call takes one argument that structured clone can carry, and answers one. */
export type Calls = Readonly<Record<string, (argument: never) => unknown>>

export function serve(calls: Calls): void {
  process.on('message', (message: CallMessage) => void answer(calls, message))
  process.on('disconnect', () => process.exit(1))
  // In order, so that a profile (--cpu-prof) is written.
  process.on('SIGTERM', () => process.exit(0))
  // Ctrl-C reaches the whole group of processes; the parent ends this one in order.
  process.on('SIGINT', () => undefined)
}

async function answer(calls: Calls, { id, name, argument }: CallMessage): Promise<void> {
  try {
    const call = calls[name] as ((argument: unknown) => unknown) | undefined
    if (call === undefined) throw new TypeError(`There is no call ${name}.`)
    reply({ id, value: await call(argument) })
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : undefined
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
    reply({ id, error: { code, message } })
  }
}

function reply(message: AnswerMessage): void {
  process.send?.(message)
}
