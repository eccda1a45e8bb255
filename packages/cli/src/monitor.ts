/** The monitor of a node that the command line starts; what cannot be is said in words of the options. */
import { UnderstudyError, isUnderstudyError } from '@understudy/contracts'
import { startMonitor, type Monitor } from '@understudy/monitor'

/** `undefined` without an address. What depends on a monitor is refused without one: it would be ignored. */
export async function openMonitor(
  listen: string | undefined,
  insecure: boolean,
): Promise<Monitor | undefined> {
  if (listen === undefined) {
    if (!insecure) return undefined
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      '--monitor-insecure says who may reach a monitor, and without --monitor there is none. Nothing was started; add --monitor, or remove it.',
    )
  }
  try {
    return await startMonitor({ listen, insecure })
  } catch (error) {
    if (!isUnderstudyError(error, 'INSECURE_ADDRESS')) throw error
    throw new UnderstudyError(
      'INSECURE_ADDRESS',
      'The address of --monitor can be reached from other machines, and a monitor neither encrypts nor asks who is there. Nothing was opened; use 127.0.0.1 or [::1], behind a proxy that authenticates where others must see it, or pass --monitor-insecure on a network where every machine is trusted.',
      { cause: error },
    )
  }
}
