/** A leader, until it is killed. Prints its address. Arguments: directory, address, rule of acks. */
import { rowFormat } from '@understudy/format-row'
import { createNode, parsePolicy } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'

const [, , directory = '', listen = '', rule = 'async'] = process.argv
const node = await createNode({
  name: 'a',
  directory,
  role: 'leader',
  listen,
  format: rowFormat(),
  transport: tcp(),
  acks: parsePolicy(rule),
})
process.stdout.write(`${node.address}\n`)
process.stdin.once('close', () => void node.close()).resume()
