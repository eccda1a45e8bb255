export { assertReplaceable, type ReplaceableState } from './assert-replaceable.ts'
export {
  receiveSnapshot,
  RECEIVE_SNAPSHOT_DEFAULTS,
  type ReceivedSnapshot,
  type ReceiveSnapshotOptions,
  type AnnouncedImage,
  type SnapshotProgress,
} from './receive-snapshot.ts'
export {
  createSnapshotServer,
  SNAPSHOT_SERVER_DEFAULTS,
  type ServedSnapshot,
  type SnapshotServer,
  type SnapshotServerOptions,
  type SnapshotTransfer,
} from './snapshot-server.ts'
export { progressPath } from './target-file.ts'
