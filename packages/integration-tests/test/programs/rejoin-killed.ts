/**
 * A former leader that rejoins, and is killed (SIGKILL) right before the n-th call that changes a file of its own after its lost tail
 * is kept. Prints how many calls there were once it streams, and ends.
 * Arguments: directory, address of the new leader, format, number of the call (0: none).
 */
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { rowFormat } from '@understudy/format-row'
import { statementFormat } from '@understudy/format-statement'
import { walFormat } from '@understudy/format-wal'
import { createNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'

const [, , directory = '', leader = '', format = '', killAt = '0'] = process.argv
const CALLS = [
  'writeSync',
  'writevSync',
  'fdatasyncSync',
  'fsyncSync',
  'ftruncateSync',
  'renameSync',
  'rmSync',
  'unlinkSync',
] as const

let isCounting = false
let calls = 0
const patched = fs as unknown as Record<string, (...given: unknown[]) => unknown>
for (const name of CALLS) {
  const original = patched[name] as (...given: unknown[]) => unknown
  patched[name] = (...given) => {
    if (isCounting && ++calls === Number(killAt)) process.kill(process.pid, 'SIGKILL')
    return original(...given)
  }
}
syncBuiltinESMExports()

const formats = { row: rowFormat(), statement: statementFormat(), wal: walFormat() }
const node = await createNode({
  name: 'a',
  directory,
  role: 'follower',
  leader,
  rejoin: true,
  format: formats[format as keyof typeof formats],
  formats: Object.values(formats).filter(({ name }) => name !== format),
  transport: tcp(),
  onEvent: ({ kind, ...event }) => {
    if (kind === 'lostTail') isCounting = true
    if (kind === 'state' && 'state' in event && event.state === 'streaming') isCounting = false
  },
})
await node.close()
process.stdout.write(`${calls}\n`)
