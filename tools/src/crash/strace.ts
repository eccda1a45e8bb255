/**
 * Runs a program under strace and interferes with one of its syscalls.
 *
 * 1. Only calls on the paths given are counted and hit (`-P`), so that Node's own start is not enumerated.
 * 2. strace counts calls per thread: `when=N` hits whichever thread makes its N-th call first.
 * 3. A signal is delivered at the entry of the call, an error is returned instead of it: either way it does not happen.
 * 4. Never with `--seccomp-bpf`, with which strace injects nothing on some kernels, without a word; a first point that
 *    hits nothing is therefore an error.
 */
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync, rmSync } from 'node:fs'
import { NODE_FLAGS, within } from './node-process.ts'

/** Calls that change files. */
export const SYSCALLS: readonly string[] = [
  'openat',
  'write',
  'pwrite64',
  'pwritev',
  'fallocate',
  'ftruncate',
  'fdatasync',
  'fsync',
  'rename',
  'unlink',
  'unlinkat',
  'mkdir',
  'rmdir',
]

const RUN_MS = 60_000

export interface Outcome {
  readonly exitCode: number | null
  readonly killed: boolean
  /** What it printed. */
  readonly lines: readonly string[]
  readonly errors: string
}

/** Why nothing can be traced here; `undefined` when it can. */
export function whyNoStrace(): string | undefined {
  if (process.platform !== 'linux') return 'strace needs Linux'
  if (spawnSync('strace', ['--version']).status !== 0) return 'strace is not installed'
  const { status } = spawnSync('strace', ['-f', '-o', '/dev/null', 'true'])
  return status === 0 ? undefined : 'strace may not trace here'
}

/** Runs it unharmed. Returns the paths below `directory` that it touched and its calls on them, by syscall. */
export async function profile(
  program: readonly string[],
  directory: string,
  traceFile: string,
): Promise<{ paths: string[]; calls: Map<string, number>; outcome: Outcome }> {
  const outcome = await run(
    ['-f', '-y', '-s', '256', '-e', `trace=${SYSCALLS.join()}`, '-o', traceFile],
    program,
  )
  const paths = new Set<string>()
  const calls = new Map<string, number>()
  for (const line of readFileSync(traceFile, 'utf8').split('\n')) {
    const found = [...line.matchAll(/[<"]([^<>"]+)[>"]/g)]
      .map((match) => match[1] as string)
      .filter((path) => path === directory || path.startsWith(`${directory}/`))
    const call = /^\d+ +([a-z0-9_]+)\(/.exec(line)?.[1]
    if (found.length === 0 || call === undefined) continue
    for (const path of found) paths.add(path)
    calls.set(call, (calls.get(call) ?? 0) + 1)
  }
  rmSync(traceFile)
  return { paths: [...paths], calls, outcome }
}

/** Runs it with `action` (`signal=SIGKILL`, `error=EIO`) at the `when`-th such call. */
export function inject(
  program: readonly string[],
  paths: readonly string[],
  syscall: string,
  action: string,
  when: string,
): Promise<Outcome> {
  const only = paths.flatMap((path) => ['-P', path])
  const injection = ['-e', `trace=${syscall}`, '-e', `inject=${syscall}:${action}:when=${when}`]
  return run(['-f', '-o', '/dev/null', ...injection, ...only], program)
}

async function run(flags: readonly string[], program: readonly string[]): Promise<Outcome> {
  // One thread for file calls, so that their order is the same in each run.
  const env = { ...process.env, UV_THREADPOOL_SIZE: '1' }
  const child = spawn('strace', [...flags, process.execPath, ...NODE_FLAGS, ...program], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own: killing strace alone would leave what it traces.
    detached: true,
  })
  let output = ''
  let errors = ''
  child.stdout.on('data', (bytes: Buffer) => (output += bytes.toString()))
  child.stderr.on('data', (bytes: Buffer) => (errors += bytes.toString()))
  const over = new Promise<void>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', () => resolve())
  })
  try {
    await within(over, RUN_MS, `the end of ${program.join(' ')} under strace ${flags.join(' ')}`)
  } catch (error) {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    throw error
  }
  const killed = child.signalCode === 'SIGKILL' || child.exitCode === 137
  return { exitCode: child.exitCode, killed, lines: output.split('\n').slice(0, -1), errors }
}
