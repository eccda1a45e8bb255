/**
 * Short runs of the crash tests of tools/: real processes killed at random and at syscalls, real power losses under a
 * mounted disk. The long runs are `npm run crash:kill`, `crash:power` and `crash:syscalls`.
 */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const FLAGS = ['--conditions=@understudy/source', '--disable-warning=ExperimentalWarning']

interface Outcome {
  readonly exitCode: number | null
  readonly result: Readonly<Record<string, unknown>> & { readonly skipped?: string }
}

/** Runs a crash test; its progress goes into the message when it fails. */
async function crash(name: string, count: number, format = 'row'): Promise<Outcome> {
  const script = fileURLToPath(new URL(`../../../tools/src/crash/${name}.ts`, import.meta.url))
  const child = spawn(
    process.execPath,
    [...FLAGS, script, '--json', '--count', String(count), '--format', format],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  let output = ''
  let progress = ''
  child.stdout.on('data', (bytes: Buffer) => (output += bytes.toString()))
  child.stderr.on('data', (bytes: Buffer) => (progress += bytes.toString()))
  const exitCode = await new Promise<number | null>((resolve) => child.once('close', resolve))
  const last = output.trim().split('\n').at(-1) ?? ''
  if (!last.startsWith('{')) throw new Error(`${name} gave no result: ${progress}`)
  const result = JSON.parse(last) as Outcome['result']
  expect({ exitCode, result, progress }).toMatchObject({ exitCode: 0, result: { ok: true } })
  return { exitCode, result }
}

const FORMATS = ['row', 'statement', 'wal']

test.for(FORMATS)(
  '%s: 12 SIGKILLs of leader and follower under load lose no acknowledged commit and end equal',
  { timeout: 120_000 },
  async (format) => {
    const { result } = await crash('kill', 12, format)
    expect(result['kills']).toBeGreaterThanOrEqual(12)
    expect(result['commits']).toBeGreaterThan(100)
    expect(result['verifications']).toBeGreaterThanOrEqual(2)
  },
)

test.for(FORMATS)(
  '%s: 6 power losses lose nothing acknowledged; without fdatasync they do',
  { timeout: 120_000 },
  async (format, context) => {
    const { result } = await crash('power', 6, format)
    if (result.skipped !== undefined) return context.skip(`power cannot be cut here: ${result.skipped}`)
    expect(result).toMatchObject({ powerLosses: 6, lost: 0 })
    expect(result['controlLossy']).toBeGreaterThan(0)
  },
)

test('a SIGKILL, EIO or ENOSPC at a syscall leaves what a restart makes whole', async (context) => {
  const { result } = await crash('syscalls', 30)
  if (result.skipped !== undefined) return context.skip(`no strace here: ${result.skipped}`)
  for (const kind of ['append', 'rotation', 'commit', 'bootstrap', 'renewal'])
    expect(result[`${kind}Kills`]).toMatchObject({ total: expect.any(Number) })
  expect(Object.values(result).some((each) => (each as { total?: number }).total === 0)).toBe(false)
}, 180_000)
