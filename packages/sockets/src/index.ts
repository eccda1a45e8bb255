export {
  connectionName,
  formatAddress,
  formatUnixAddress,
  invalidAddress,
  parseAddress,
  parseUnixAddress,
  socketPathBytesMax,
  type AddressRules,
  type Endpoint,
} from './address.ts'
export { canonicalIp, isLoopback, networkOf } from './ip.ts'
export { combined } from './combined.ts'
export { FrameDeadline } from './frame-deadline.ts'
export { Pending, type PendingOptions } from './pending.ts'
export { Admission, type AdmissionLimits } from './admission.ts'
export { insecureAddress, plainAddress, type Protection } from './insecure.ts'
export {
  connectAborted,
  connectFailed,
  connectionLost,
  handlerFailed,
  connectTimedOut,
  listenFailed,
  startedTwice,
  type SystemError,
} from './errors.ts'
export { isTlsError, tlsFailed } from './tls-errors.ts'
export type { ClientCertificates, PemSource, TlsOptions } from './options.ts'
export { readPemFile, type ReadPem } from './pem.ts'
export { certificates, type Certificates, type CertificatesEnvironment } from './certificates.ts'
export { alternativeNames, identitiesOf } from './identities.ts'
export { clientProblem, diallerTls, listenerTls, securityOf } from './security.ts'
