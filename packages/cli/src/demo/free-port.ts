/**
 * Ports for nodes that will be killed and come back on them.
 *
 * Ports that the operating system hands out by itself (from 32768 on Linux) will not do: while a node is away, another
 * one that dials it may be given that very port as its own end, connect to itself, and keep the node out.
 */
import { createServer } from 'node:net'
import { UnderstudyError, type Random } from '@understudy/contracts'

const LOWEST = 10_240
const HIGHEST = 32_767
const TRIES = 100

/** So many different ports of 127.0.0.1 that nobody listens on now. Throws `LISTEN_FAILED`. */
export async function freePorts(amount: number, random: Random): Promise<number[]> {
  const found = new Set<number>()
  for (let tries = 0; tries < TRIES; tries++) {
    const port = LOWEST + (random.uint32() % (HIGHEST - LOWEST + 1))
    if (await isFree(port)) found.add(port)
    if (found.size === amount) return [...found]
  }
  throw new UnderstudyError(
    'LISTEN_FAILED',
    `None of ${TRIES} ports of 127.0.0.1 could be listened on. Nothing was started.`,
  )
}

function isFree(port: number): Promise<boolean> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', () => resolve(false))
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve(true)))
  })
}
