/**
 * A port for a leader that will be killed and come back on it.
 *
 * Ports that the operating system hands out by itself (from 32768 on Linux) will not do: while the leader is away, a
 * follower that dials it may be given that very port as its own end, connect to itself, and keep the leader out.
 */
import { createServer } from 'node:net'
import { UnderstudyError, type Random } from '@understudy/contracts'

const LOWEST = 10_240
const HIGHEST = 32_767
const TRIES = 100

/** A port of 127.0.0.1 that nobody listens on now. Throws `LISTEN_FAILED`. */
export async function freePort(random: Random): Promise<number> {
  for (let tries = 0; tries < TRIES; tries++) {
    const port = LOWEST + (random.uint32() % (HIGHEST - LOWEST + 1))
    if (await isFree(port)) return port
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
