/** A follower that bootstraps slowly and prints its progress in bytes. Arguments: directory, address of the leader. */
import { rowFormat } from '@understudy/format-row'
import { createNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'

const [, , directory = '', leader = ''] = process.argv
await createNode({
  name: 'b',
  directory,
  role: 'follower',
  leader,
  format: rowFormat(),
  transport: tcp(),
  snapshotBytesPerSecondMax: 8 * 1024 * 1024,
  onEvent: (event) => {
    // As a text: a number is printed in colour where the runner of the tests asks for colours.
    if (event.kind === 'snapshot') console.log(String(event.progress.receivedBytes))
  },
})
console.log('done')
