/**
 * Every limit of the protocol, in one place. Senders and receivers check the same numbers: a sender that breaks one
 * gets `INVALID_ARGUMENT` before a byte leaves, a receiver that meets a broken one answers `PROTOCOL_VIOLATION`.
 *
 * What is not limited here (SQL text, JSON text, blobs, record bytes) is limited by the frame, which the transport
 * checks before it takes memory.
 */
export const LIMITS = {
  /** Longest Hello, and every other message of a stranger, in bytes: a listener needs no larger frame limit before it knows its peer. */
  helloBytesMax: 4096,
  /** Bytes of a nonce, a proof and a signature. */
  authBytes: 32,
  /** Longest frame between peers that know each other, in bytes. */
  frameBytesMax: 16_777_216,
  /** Bytes of what a member tells another one. */
  memberWordBytesMax: 262_144,
  /** UTF-8 bytes of the name of a cluster, node, slot, snapshot or log format's table. */
  nameBytesMax: 255,
  /** UTF-8 bytes of the text of an error or of a reason; longer ones are cut by the sender. */
  messageBytesMax: 4096,
  /** Epochs in a Welcome or SnapshotStart. */
  epochsMax: 262_144,
  formatsMax: 64,
  slotsMax: 1024,
  /** Members that a node names when it is asked who leads. */
  membersMax: 256,
  /** UTF-8 bytes of an address. */
  addressBytesMax: 1024,
  /** Names in a set of followers, or in a receipt. */
  setNamesMax: 64,
  /** UTF-8 bytes of the key of a write. */
  keyBytesMax: 255,
  statementsMax: 65_536,
  /** How deep a condition of a statement may be nested. */
  conditionDepthMax: 16,
  /** SQLite's own limit of host parameters. */
  parametersMax: 32_766,
  /** SQLite's own limit of result columns. */
  columnsMax: 32_767,
  resultsMax: 65_536,
  rowsMax: 1_048_576,
  tablesMax: 65_536,
  /** Bytes of one chunk hash. */
  hashBytes: 16,
  /** Bytes of a snapshot's digest. */
  digestBytes: 32,
  /** Largest `heartbeatMs`, `deadlineMs` and `timeoutMs`: a day. */
  durationMsMax: 86_400_000,
} as const
