export { tcp, type TcpOptions } from './tcp.ts'
