/** `understudy credential`: makes credentials, and keeps the list of those that a node lets in. Secrets are never shown. */
import { existsSync, rmSync } from 'node:fs'
import { InvalidArgumentError, Option, type Command } from 'commander'
import { UnderstudyError } from '@understudy/contracts'
import { addGrant, makeCredential, readGrants, removeGrant, writeCredential } from '@understudy/credentials'
import { ROLES, type Role } from '@understudy/protocol'
import { json, table } from '../output.ts'
import type { CommandContext } from '../program.ts'

interface AddOptions {
  readonly roles: readonly Role[]
  readonly out: string
  readonly nodes?: readonly string[]
  readonly identities?: readonly string[]
  readonly expires?: Date
  readonly json?: boolean
}

const EXAMPLES = `
Roles: replicate and snapshot for a follower, member too where nodes elect their leader; read, write and admin for clients. None includes another.

Examples:
  $ understudy credential add all.json b --roles replicate,snapshot --out b.json
  $ understudy credential add all.json app --roles read,write --out app.json --expires 2027-01-01
  $ understudy credential add all.json ops --roles admin --certificate URI:understudy://ops --out ops.json
  $ understudy credential list all.json
  $ understudy credential remove all.json app`

export function addCredentialCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('credential')
    .description('Make credentials, and list or remove those that a node lets in.')
    .addHelpText('after', EXAMPLES)
  command
    .command('add')
    .description('Make a credential: its secret goes into a file of its own, what proves it into the list.')
    .argument('<list>', 'file with those that a node lets in; made when missing')
    .argument('<name>', 'name of the credential; for a follower the name of its node')
    .addOption(
      new Option('--roles <roles>', 'what it opens, separated by commas')
        .argParser(rolesOf)
        .makeOptionMandatory(),
    )
    .requiredOption('--out <file>', 'file for whoever uses the credential; must not exist')
    .addOption(
      new Option('--nodes <names>', 'names of nodes that it may follow as (default: its own)').argParser(
        listOf,
      ),
    )
    .addOption(
      new Option(
        '--certificate <names>',
        'names in a certificate, in place of a secret: URI:…, DNS:…, IP:…, CN:…',
      ).argParser(listOf),
    )
    .addOption(
      new Option('--expires <time>', 'from when on it opens nothing, such as 2027-01-01').argParser(timeOf),
    )
    .option('--json', 'one JSON object')
    .action(
      (list: string, name: string, options: Omit<AddOptions, 'identities'> & { certificate?: string[] }) => {
        const { certificate, ...rest } = options
        add(list, name, { ...rest, ...(certificate && { identities: certificate }) }, context)
      },
    )
  command
    .command('list')
    .description('Show who is let in, and for what.')
    .argument('<list>', 'file with those that a node lets in')
    .option('--json', 'one JSON object')
    .action((list: string, options: { readonly json?: boolean }) => show(list, options, context))
  command
    .command('remove')
    .description('Take a credential out: it opens nothing new from now on. Connections that are open stay.')
    .argument('<list>', 'file with those that a node lets in')
    .argument('<name>', 'name of the credential')
    .option('--json', 'one JSON object')
    .action((list: string, name: string, options: { readonly json?: boolean }) => {
      removeGrant(list, name)
      context.output.out(options.json === true ? json({ ok: true, removed: name }) : `removed ${name}`)
    })
}

function add(list: string, name: string, options: AddOptions, { output }: CommandContext): void {
  const { roles, out, nodes, identities, expires } = options
  if (existsSync(out))
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `${out} exists and was kept. Nothing was made; name another file.`,
    )
  const { credential, entry } = makeCredential({
    name,
    roles,
    ...(nodes && { nodes }),
    ...(identities && { identities }),
    ...(expires && { expires }),
  })
  writeCredential(out, credential)
  try {
    addGrant(list, entry)
  } catch (error) {
    // Nobody knows this secret: without an entry it opens nothing.
    rmSync(out, { force: true })
    throw error
  }
  output.out(
    options.json === true
      ? json({ ok: true, name, roles, list, file: out })
      : `${name} is let in by ${list} as ${roles.join(', ')}; its credential is in ${out}, which only you can read`,
  )
}

function show(path: string, options: { readonly json?: boolean }, { output }: CommandContext): void {
  const all = readGrants(path).all()
  const plain = all.map(({ name, roles, nodes, identities, verifier, expiresAt }) => ({
    name,
    roles,
    nodes: nodes ?? [name],
    proof:
      verifier === undefined ? 'certificate' : identities === undefined ? 'secret' : 'secret or certificate',
    identities: identities ?? [],
    expires: expiresAt === undefined ? null : new Date(expiresAt).toISOString(),
  }))
  if (options.json === true) {
    output.out(json({ ok: true, credentials: plain }))
    return
  }
  const rows = plain.map((each) => [
    each.name,
    each.roles.join(', '),
    each.nodes.join(', '),
    each.identities.length > 0 ? `${each.proof}: ${each.identities.join(', ')}` : each.proof,
    each.expires ?? 'never',
  ])
  output.out(table(['name', 'roles', 'nodes', 'proof', 'expires'], rows))
}

function listOf(text: string): string[] {
  const items = text.split(',').map((item) => item.trim())
  if (items.some((item) => item === '')) throw new InvalidArgumentError('separate names by single commas.')
  return items
}

function rolesOf(text: string): Role[] {
  const roles = listOf(text)
  if (!roles.every((role): role is Role => ROLES.includes(role as Role)))
    throw new InvalidArgumentError(`the roles are ${ROLES.join(', ')}.`)
  return [...new Set(roles)]
}

function timeOf(text: string): Date {
  const time = new Date(text)
  if (Number.isNaN(time.getTime()))
    throw new InvalidArgumentError('give a time such as 2027-01-01 or 2027-01-01T12:00:00Z.')
  return time
}
