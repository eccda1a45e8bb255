export { tcp } from './tcp.ts'
export type { TcpOptions } from './options.ts'
export type { ClientCertificates, PemSource, TlsOptions } from '@understudy/sockets'
