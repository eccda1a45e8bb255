export { etcdCoordinator } from './etcd-coordinator.ts'
export type { EtcdCoordinatorOptions, PasswordSource } from './options.ts'
