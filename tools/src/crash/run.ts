/**
 * What the commands of the crash tests share: options, a folder, a seed that is printed, one JSON object as last line
 * with `--json`, an exit code.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { SeededRandom } from '@understudy/testkit'
import { chooseFormat } from './formats.ts'

export interface CrashRun {
  /** How many crashes are asked for. */
  readonly count: number
  readonly random: SeededRandom
  /** Empty; removed afterwards when all went well. */
  readonly folder: string
  /** Prints progress: on stderr when stdout is for the JSON object. */
  readonly say: (line: string) => void
}

export interface CrashTest {
  readonly name: string
  readonly countDefault: number
  /** Runs it, filling `result` as it goes, so that a failure too says how far it came. Throws on a failure. */
  readonly run: (run: CrashRun, result: Record<string, unknown>) => Promise<void>
}

/** Runs a crash test as a command; returns its exit code. */
export async function runCommand({ name, countDefault, run }: CrashTest): Promise<number> {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: String(countDefault) },
      seed: { type: 'string', default: String(Date.now()) },
      format: { type: 'string', default: 'row' },
      json: { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
    },
  })
  const count = Number(values.count)
  if (!Number.isSafeInteger(count) || count < 1)
    throw new Error(`--count ${values.count} is no positive number`)
  chooseFormat(values.format)
  const folder = mkdtempSync(join(tmpdir(), `understudy-${name}-`))
  // A start is mostly compiling; cached, it leaves the time to what is tested.
  process.env['NODE_COMPILE_CACHE'] ??= join(folder, 'compile-cache')
  const say = values.json ? console.error : console.log
  say(`${name}: ${count}, format ${values.format}, seed ${values.seed}`)
  // An orderly end, so that what must not stay behind (a mount) is undone by those who made it.
  process.once('SIGINT', () => process.exit(130))
  process.once('SIGTERM', () => process.exit(143))
  const started = performance.now()
  const result: Record<string, unknown> = {}
  let failure: string | undefined
  try {
    await run({ count, random: new SeededRandom(values.seed), folder, say }, result)
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error)
    say(error instanceof Error ? (error.stack ?? failure) : failure)
  }
  if (failure === undefined && !values.keep) rmSync(folder, { recursive: true, force: true })
  else say(`data kept in ${folder}`)
  const ok = failure === undefined
  const seconds = Math.round((performance.now() - started) / 100) / 10
  const summary = JSON.stringify({
    ok,
    format: values.format,
    seed: values.seed,
    ...result,
    seconds,
    failure,
  })
  console.log(values.json ? summary : `${ok ? 'ok' : 'FAILED'}: ${summary}`)
  return ok ? 0 : 1
}
