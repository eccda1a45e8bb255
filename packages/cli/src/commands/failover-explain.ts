/** `understudy failover explain`: what a node decided about who leads, why, and whether the same observations give the same again. */
import { readFileSync } from 'node:fs'
import { Option, type Command } from 'commander'
import { UnderstudyError, isUnderstudyError } from '@understudy/contracts'
import { explain, readDecisions, type Explanation } from '@understudy/failover'
import { nodeFiles } from '@understudy/log'
import { accessOf, addAccessOptions, ADDRESSES, type AccessOptions } from '../access.ts'
import { positive } from '../arguments.ts'
import { withClients } from '../connections.ts'
import { errorFields, json } from '../output.ts'
import type { CommandContext } from '../program.ts'

interface Options extends AccessOptions {
  readonly file?: string
  readonly last: number
  readonly json?: boolean
}

const EXAMPLES = `
Each node keeps its own decisions (decisions.jsonl in its directory, up to 8 MiB), each with all that it was made from. They are decided
again here: another result means that this is another version of the rules, or that the line was changed.

Examples:
  $ understudy failover explain tcp://127.0.0.1:7402
  $ understudy failover explain tcp://127.0.0.1:7402 --last 1 --json
  $ understudy failover explain data/b --last 50
  $ understudy failover explain --file decisions.jsonl`

export function addExplainCommand(parent: Command, context: CommandContext): void {
  addAccessOptions(parent.command('explain'))
    .description(
      'The newest decisions of a node, oldest first: what, why, who was not chosen, what was seen. Exits with 1 when one cannot be read, or is not given again by what it was made from.',
    )
    .argument('[source]', "a node's address, or its directory, which may be in use")
    .option('--file <path>', 'read lines of decisions from this file')
    .addOption(new Option('--last <n>', 'so many decisions').default(10).argParser(positive))
    .option('--json', 'one JSON object')
    .addHelpText('after', EXAMPLES + ADDRESSES)
    .action(async (source: string | undefined, options: Options) => {
      const lines = await linesOf(source, options)
      show(lines.slice(-options.last), options, context)
    })
}

async function linesOf(source: string | undefined, options: Options): Promise<readonly string[]> {
  if ((source === undefined) === (options.file === undefined))
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      'Nothing was read: give the address of a node, or its directory, or --file, one of them.',
    )
  if (options.file !== undefined) return readLines(options.file)
  const place = source as string
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(place))
    return withClients([place], accessOf(options), ([client]) => client!.decisions(options.last))
  const files = nodeFiles()
  if (!files.exists(place))
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `${place} is neither an address nor a folder. Nothing was read; give such as tcp://127.0.0.1:7401, or the directory of a node.`,
    )
  return readDecisions(files, place)
}

function readLines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
  } catch (cause) {
    throw new UnderstudyError(
      'STORAGE_FAILED',
      `${path} cannot be read. Nothing was changed; look at its path and permissions.`,
      { cause },
    )
  }
}

type Explained = Explanation | { readonly error: UnderstudyError }

/** A line that cannot be read keeps nobody from reading the others. */
function explained(line: string): Explained {
  try {
    return explain(line)
  } catch (error) {
    if (isUnderstudyError(error)) return { error }
    throw error
  }
}

function show(lines: readonly string[], { json: asJson }: Options, context: CommandContext): void {
  const { output } = context
  const all = lines.map(explained)
  const ok = all.every((each) => !('error' in each) && each.isSame)
  if (!ok) context.exitCode = 1
  if (asJson === true) return output.out(json({ ok, decisions: all.map(asPlain) }))
  if (all.length === 0) return output.out('no decisions: nobody had to be chosen while this node watched')
  for (const each of all)
    output.out('error' in each ? `${each.error.code} ${each.error.message}` : `${each.text}\n`)
}

function asPlain(each: Explained): object {
  if ('error' in each) return { error: errorFields(each.error) }
  const { record, replayed, isSame } = each
  return { ...record, isSame, ...(!isSame && { replayed }) }
}
