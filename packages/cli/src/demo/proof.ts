/**
 * What the demo ends with: everything that was acknowledged is on the leader, and all nodes hold the same rows at one
 * position.
 */
import { createHash } from 'node:crypto'
import { verifyCluster, type Client, type TableComparison } from '@understudy/client'
import { formatPosition, type Position } from '@understudy/contracts'
import type { City } from './dataset.ts'
import { count } from './display.ts'
import type { IdLedger, Ticket } from './ids.ts'
import type { Ledger } from './ledger.ts'

export interface NodeProof {
  readonly name: string
  /** The common one, `epoch/lsn`. */
  readonly position: string
  /** SHA-256 over the digests of all tables, as 64 hexadecimal digits; equal digests mean equal rows. */
  readonly digest: string
}

export interface Proof {
  readonly ackedLost: number
  /** Ids that two writes were given, or that name another row than the one that they were given for. */
  readonly idsReused: number
  /** By name. */
  readonly nodes: readonly NodeProof[]
  readonly tables: readonly TableComparison[]
  /** Everything that did not hold; empty when all did. */
  readonly problems: readonly string[]
}

/** What the clients kept. */
export interface Promises {
  readonly ledger: Ledger
  readonly ids: IdLedger
}

/** Rows of one answer: far below what a node gives at once. */
const PAGE = 20_000

export async function prove(
  leader: Client,
  followers: readonly Client[],
  cities: readonly City[],
  { ledger, ids }: Promises,
  onProgress: (what: string) => void,
): Promise<Proof> {
  const problems: string[] = []
  const lostCities = await checkCities(leader, cities, problems)
  onProgress(
    `${count(cities.length - lostCities)} of ${count(cities.length)} cities are on the leader as they were loaded`,
  )
  const { promises, lost, unexplained, examples } = ledger.check(await readVisits(leader))
  if (lost > 0) problems.push(`${lost} acknowledged writes are lost: ${examples.join(', ')}`)
  if (unexplained > 0) problems.push(`${unexplained} rows are as nobody wrote them: ${examples.join(', ')}`)
  onProgress(`${count(promises - lost)} of ${count(promises)} rows written since are as promised`)
  const tickets = ids.check(await readTickets(leader))
  if (tickets.reused > 0)
    problems.push(`${tickets.reused} ids were used again: ${tickets.examples.join(', ')}`)
  else if (tickets.lost + tickets.unexplained > 0)
    problems.push(
      `${tickets.lost} acknowledged tickets are lost, ${tickets.unexplained} are as nobody wrote them: ${tickets.examples.join(', ')}`,
    )
  onProgress(
    `${count(tickets.given - tickets.reused)} of ${count(tickets.given)} ids that clients were given were given once, and name the same row still`,
  )
  const report = await verifyCluster({ leader, nodes: followers })
  const clients = [leader, ...followers]
  for (const client of clients) await checkTransactions(client, report.position, problems)
  for (const [node, { code, message }] of Object.entries(report.failures))
    problems.push(`${node} could not be compared: ${code} ${message}`)
  for (const { table, equal } of report.tables)
    if (!equal) problems.push(`the rows of ${table} are not the same on all nodes`)
  const position = formatPosition(report.position)
  const nodes = clients
    .map(({ node }) => ({ name: node, position, digest: combine(report.tables, node) }))
    .toSorted((one, other) => one.name.localeCompare(other.name))
  const ackedLost = lost + lostCities + tickets.lost
  return { ackedLost, idsReused: tickets.reused, nodes, tables: report.tables, problems }
}

/** Cities that are not there as they were loaded. */
async function checkCities(client: Client, cities: readonly City[], problems: string[]): Promise<number> {
  let lost = 0
  for (let at = 0; at < cities.length; at += PAGE) {
    const { rows } = await client.read(
      'select id, name, lat, lng, country, admin1, admin2 from city where id > ? order by id limit ?',
      [at, PAGE],
    )
    const found = new Map(rows.map((row) => [row[0], row]))
    for (const city of cities.slice(at, at + PAGE)) {
      const { id, name, lat, lng, country, admin1, admin2 } = city
      const expected = [id, name, lat, lng, country, admin1, admin2]
      if (!expected.every((value, column) => found.get(id)?.[column] === value)) lost++
    }
  }
  if (lost > 0) problems.push(`${lost} cities of acknowledged writes are missing or changed`)
  return lost
}

async function readVisits(client: Client): Promise<Map<number, string>> {
  return new Map(await readPages(client, 'select id, note from visit where id > ? order by id limit ?'))
}

function readTickets(client: Client): Promise<Ticket[]> {
  return readPages(client, 'select id, holder from ticket where id > ? order by id limit ?')
}

async function readPages(client: Client, sql: string): Promise<[number, string][]> {
  const found: [number, string][] = []
  for (;;) {
    const { rows } = await client.read(sql, [found.at(-1)?.[0] ?? 0, PAGE])
    for (const [id, text] of rows) found.push([Number(id), String(text)])
    if (rows.length < PAGE) return found
  }
}

/** Each write changed a visit and its city: where half of a transaction is missing, the sums differ. */
async function checkTransactions(client: Client, after: Position, problems: string[]): Promise<void> {
  const sql = 'select (select sum(visits) from city), (select count(*) from visit)'
  const { rows } = await client.read(sql, [], { after })
  const [visits, rowsOfVisit] = rows[0] ?? []
  if (visits === undefined || visits !== rowsOfVisit)
    problems.push(
      `${client.node} counts ${String(visits)} visits in its cities and holds ${String(rowsOfVisit)}`,
    )
}

function combine(tables: readonly TableComparison[], node: string): string {
  const hash = createHash('sha256')
  for (const { table, nodes } of tables) {
    const found = nodes[node]
    hash.update(`${table}\0${found?.rows ?? 'missing'}\0${found?.digest ?? ''}\n`)
  }
  return hash.digest('hex')
}
