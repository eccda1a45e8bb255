/** Starts a leader on a directory and prints `ready`, or the code of what stopped it: `node start-node.ts <directory>`. */
import { isUnderstudyError } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import { createNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'

const directory = process.argv[2] ?? ''
try {
  await createNode({ name: 'a', directory, role: 'leader', format: rowFormat(), transport: tcp() })
  process.stdout.write('ready\n')
  setInterval(() => {}, 1000)
} catch (error) {
  process.stdout.write(`${isUnderstudyError(error) ? `${error.code} ${error.message}` : String(error)}\n`)
}
