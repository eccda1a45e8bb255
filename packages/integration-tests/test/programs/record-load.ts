/**
 * Clients under load that record what they do. Argument: a JSON object of `LoadOptions`. Prints `ready`, and then each answer as `ok <kind>`,
 * `fail <code>` or `unknown <code>`. Ends its work, and itself, when its input ends.
 *
 * 1. Unique values go into `note`, under ids that SQLite gives: a history of acknowledged writes, with the id as output.
 * 2. Registers are written, compared and set, and read through the write path, which is what acknowledges: a history of registers.
 * 3. A call is made once: whether it is sent again is up to the test of the client.
 */
import { openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { connect, type Client } from '@understudy/client'
import { isUnderstudyError } from '@understudy/contracts'
import { HistoryRecorder, type HistoryModel } from '@understudy/testkit/history'
import { SeededRandom } from '@understudy/testkit/random'
import { tcp } from '@understudy/transport-tcp'
import { sharedClock } from '../support/rig/shared-clock.ts'
import type { LoadOptions } from '../support/rig/load.ts'

const options = JSON.parse(process.argv[2] ?? '{}') as LoadOptions
const { name, folder, addresses, writers, registers, seed, timeoutMs, pauseMs } = options
const clock = sharedClock()
const random = new SeededRandom(seed)
const end = new AbortController()
const notes = recorder('acked-writes')
const registry = recorder('register')
const BACK_OFF_MS = 20

function recorder(model: HistoryModel): HistoryRecorder {
  const file = openSync(join(folder, `${name}.${model}.jsonl`), 'w')
  return new HistoryRecorder({ clock, model, originMs: 0, sink: (line) => writeSync(file, line) })
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
}

/** One connection at a time, to the next address after a failure. */
class Connection {
  #client: Client | undefined
  #at: number

  constructor(index: number) {
    this.#at = index
  }

  async use<T>(call: (client: Client) => Promise<T>): Promise<T> {
    this.#client ??= await connect({
      transport: tcp(),
      address: addresses[this.#at % addresses.length] ?? '',
      timeoutMs,
      name: `${name}-${this.#at}`,
    })
    return call(this.#client)
  }

  /** To the next address, unless it was the call alone that failed. */
  async failed(error: unknown): Promise<void> {
    const isHere =
      isUnderstudyError(error) &&
      ['NOT_WRITTEN', 'WRITTEN_NOT_ACKED', 'SQL_FAILED', 'OVERLOADED'].includes(error.code)
    if (!isHere || addresses.length > 1) await this.next()
  }

  async next(): Promise<void> {
    const client = this.#client
    this.#client = undefined
    this.#at++
    await client?.close()
  }
}

async function loop(
  index: number,
  once: (connection: Connection, n: number) => Promise<string>,
): Promise<void> {
  const connection = new Connection(index)
  for (let n = 0; !end.signal.aborted; n++) {
    try {
      say(`ok ${await once(connection, n)}`)
      if (pauseMs > 0) await pause(pauseMs)
    } catch (error) {
      say(isUnderstudyError(error) ? error.code : String(error))
      await connection.failed(error)
      await pause(BACK_OFF_MS)
    }
  }
  await connection.next()
}

function note(writer: number): (connection: Connection, n: number) => Promise<string> {
  return async (connection, n) => {
    const value = `${name}-${writer}-${n}`
    await notes.run(`${name}-${writer}`, { kind: 'add', key: 'note', value }, async () => {
      const statement = { sql: 'insert into note (value) values (?) returning id', params: [value] }
      const { results, receipt } = await connection.use((client) => client.write([statement], { timeoutMs }))
      const id = results[0]?.rows[0]?.[0]
      return {
        output: typeof id === 'bigint' ? Number(id) : (id as number),
        ...(receipt !== undefined && { position: placeOf(receipt) }),
      }
    })
    return 'add'
  }
}

function placeOf({ position, index }: { position: { epoch: number; lsn: number }; index?: number }): string {
  return `${position.epoch}/${position.lsn}#${index ?? 0}`
}

function register(client: number): (connection: Connection, n: number) => Promise<string> {
  return async (connection, n) => {
    const process = `${name}-r${client}`
    const key = `k${random.below(registers.keys)}`
    const value = `${name}-r${client}-${n}`
    const kind = random.below(10)
    const write = (sql: string, params: string[]): Promise<{ changes: number; rows: readonly unknown[][] }> =>
      connection.use(async (each) => {
        const { results } = await each.write([{ sql, params }], { timeoutMs })
        return { changes: results[0]?.changes ?? 0, rows: (results[0]?.rows ?? []) as unknown[][] }
      })
    if (kind < 4) {
      await registry.run(process, { kind: 'write', key, value }, async () => {
        await write('update register set value = ? where key = ?', [value, key])
      })
      return 'write'
    }
    if (kind < 6) {
      const from = seen.get(key) ?? null
      await registry.run(process, { kind: 'cas', key, from, value }, async () => {
        const { changes } = await write('update register set value = ? where key = ? and value is ?', [
          value,
          key,
          from!,
        ])
        if (changes > 0) seen.set(key, value)
        return { output: changes > 0 }
      })
      return 'cas'
    }
    await registry.run(process, { kind: 'read', key }, async () => {
      const { rows } = await write('update register set reads = reads + 1 where key = ? returning value', [
        key,
      ])
      const output = (rows[0]?.[0] ?? null) as string | null
      seen.set(key, output)
      return { output }
    })
    return 'read'
  }
}

/** What was read last, so that a cas has a chance. */
const seen = new Map<string, string | null>()

process.stdin.once('close', () => end.abort()).resume()
say('ready')
const running = Array.from({ length: writers }, (_, writer) => loop(writer, note(writer)))
for (let client = 0; client < registers.clients; client++) running.push(loop(client, register(client)))
await Promise.all(running)
say('done')
process.exit()
