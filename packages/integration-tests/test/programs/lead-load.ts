/**
 * A leader under load, told what to do line by line. Arguments: directory, ack rule. Prints `listens <address>`, `acked <n>` for each write,
 * `acks <what is in force>` for each change of that. Commands: `load <writers>`, `acks <rule>`.
 */
import { createInterface } from 'node:readline'
import { rowFormat } from '@understudy/format-row'
import { createNode, parsePolicy } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'

const [, , directory = '', rule = ''] = process.argv
const node = await createNode({
  name: 'a',
  directory,
  role: 'leader',
  acks: parsePolicy(rule, { ackTimeoutMs: 60_000, lagMsMax: 60_000 }),
  format: rowFormat(),
  transport: tcp(),
  listen: 'tcp://127.0.0.1:0',
  link: { heartbeatMs: 200, deadlineMs: 60_000 },
  onEvent: (event) => {
    if (event.kind === 'acks') say(`acks ${event.effective}`)
  },
})
say(`listens ${node.address}`)
let next = 0

for await (const line of createInterface({ input: process.stdin })) {
  const [command, rest = ''] = line.split(/ (.*)/, 2)
  if (command === 'load') for (let n = 0; n < Number(rest); n++) void write()
  else node.setAcks(rest).catch((error: unknown) => say(`failed ${String(error)}`))
}

async function write(): Promise<void> {
  for (;;) {
    const n = next++
    await node.write((tx) => {
      tx.exec('create table if not exists note (id integer primary key, body text)')
      tx.run('insert into note values (?, ?)', [n, 'x'.repeat(100)])
    })
    say(`acked ${n}`)
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
