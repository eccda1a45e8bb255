/** Prints each line that it hears, and sends each line of its input: `listen <host> <port>` (prints its address), `connect <host> <port>` or `connect <path>`. */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { createInterface } from 'node:readline'

const [, , how = '', host = '', port = ''] = process.argv
const input = createInterface({ input: process.stdin })

if (how === 'listen') {
  const server = createServer(talk)
  server.listen(Number(port), host, () => {
    const { address, port: actual } = server.address() as AddressInfo
    process.stdout.write(`tcp://${address}:${actual}\n`)
  })
} else {
  talk(port === '' ? connect(host) : connect(Number(port), host))
}

function talk(socket: Socket): void {
  socket.setNoDelay(true).on('error', () => {})
  createInterface({ input: socket }).on('line', (line) => process.stdout.write(`${line}\n`))
  input.on('line', (line) => socket.write(`${line}\n`))
}
