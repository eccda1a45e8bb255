/** A follower, until its input ends. Prints its state at each change. Arguments: name, directory, address of the leader. */
import { rowFormat } from '@understudy/format-row'
import { createNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'

const [, , name = '', directory = '', leader = ''] = process.argv
const node = await createNode({
  name,
  directory,
  role: 'follower',
  leader,
  format: rowFormat(),
  transport: tcp(),
  onEvent: (event) => {
    if (event.kind === 'state') process.stdout.write(`${event.state}\n`)
  },
})
process.stdin.once('close', () => void node.close()).resume()
