/** A socket of the file system that leads to an address in this network namespace. Arguments: path, host, port. Prints `ready`. */
import { rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'

const [, , path = '', host = '', port = ''] = process.argv
rmSync(path, { force: true })
const server = createServer((near) => {
  const far = connect(Number(port), host)
  join(near, far)
  join(far, near)
  near.pipe(far)
  far.pipe(near)
})
server.listen(path, () => process.stdout.write('ready\n'))
process.stdin.once('close', () => process.exit()).resume()

function join(socket: Socket, other: Socket): void {
  socket.on('error', () => {}).once('close', () => other.destroy())
}
