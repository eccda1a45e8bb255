/**
 * The file of a UNIX socket: made for its owner alone, taken over from a process that is gone, removed at the end.
 *
 * 1. Nobody else can connect at any moment: the socket is bound in a folder of mode 0700, gets mode 0600, and only then
 *    its name.
 * 2. A socket that somebody listens on is never taken away. One that nobody answers on is what a killed process left.
 * 3. Removed is only what this listener made, not what another one put in its place.
 */
import { chmodSync, linkSync, lstatSync, mkdtempSync, rmdirSync, unlinkSync, type Stats } from 'node:fs'
import { connect, type Server } from 'node:net'
import { dirname, join } from 'node:path'
import { isUnderstudyError } from '@understudy/contracts'
import { invalidAddress, listenFailed, socketPathBytesMax, type SystemError } from '@understudy/sockets'

const MODE = 0o600
const HIDDEN = '.u'
/** Letters that `mkdtemp` puts behind it. */
const RANDOM_BYTES = 6
/** What the hidden folder and the socket in it add to the path of the folder. */
const HIDDEN_BYTES = `/${HIDDEN}/s`.length + RANDOM_BYTES

export interface SocketFile {
  /** The socket is gone, or not ours any more. */
  remove(): void
}

/** Makes `server` listen at `path`. Throws `LISTEN_FAILED` or `ADDRESS_INVALID`. */
export async function listenAtFile(server: Server, path: string, address: string): Promise<SocketFile> {
  const folder = dirname(path)
  if (Buffer.byteLength(folder) + HIDDEN_BYTES > socketPathBytesMax()) throw tooLong(address)
  let made: Stats
  try {
    await removeStale(path, address)
    const hidden = mkdtempSync(join(folder, HIDDEN))
    try {
      made = await bind(server, join(hidden, 's'), path)
    } finally {
      rmdirSync(hidden)
    }
  } catch (cause) {
    server.close()
    if (isUnderstudyError(cause)) throw cause
    throw listenFailed(address, existsAlready(cause as SystemError))
  }
  return {
    remove() {
      const now = statOf(path)
      if (now !== undefined && isSame(now, made)) unlinkSync(path)
    },
  }
}

async function bind(server: Server, hidden: string, path: string): Promise<Stats> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen({ path: hidden }, () => {
      server.off('error', reject)
      resolve()
    })
  })
  try {
    chmodSync(hidden, MODE)
    linkSync(hidden, path)
    return lstatSync(path)
  } finally {
    unlinkSync(hidden)
  }
}

/** Somebody was faster: as if he had been there before. */
function existsAlready(cause: SystemError): SystemError {
  return cause.code === 'EEXIST' ? { message: 'another process listens there', code: 'EADDRINUSE' } : cause
}

async function removeStale(path: string, address: string): Promise<void> {
  const found = statOf(path)
  if (found === undefined) return
  if (!found.isSocket())
    throw listenFailed(address, { message: 'a file that is no socket has this name', code: 'EEXIST' })
  const answer = await answerAt(path)
  if (answer === 'ENOENT') return
  if (answer !== 'ECONNREFUSED')
    throw listenFailed(
      address,
      answer === undefined || answer === 'EAGAIN'
        ? { message: 'another process listens there', code: 'EADDRINUSE' }
        : { message: 'the socket that is there cannot be asked', code: answer },
    )
  // Another process may have replaced it meanwhile.
  const now = statOf(path)
  if (now !== undefined && isSame(now, found)) unlinkSync(path)
}

/** The code of the error of connecting; undefined: somebody listens. */
function answerAt(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    socket.once('connect', () => {
      socket.destroy()
      resolve(undefined)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'UNKNOWN'))
  })
}

function statOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false })
}

function isSame(one: Stats, other: Stats): boolean {
  return one.ino === other.ino && one.dev === other.dev && one.birthtimeMs === other.birthtimeMs
}

function tooLong(address: string): Error {
  return invalidAddress(address, 'the path of its folder is too long for a socket', ['unix'])
}
