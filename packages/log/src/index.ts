/** A durable, checksummed replication log on plain files. See the README for the file format. */
export { nodeFiles } from './node-files.ts'
export { openLog } from './open-log.ts'
export type { LogOptions } from './options.ts'
export { readSegments, type SegmentItem } from './read-segments.ts'
export { beginsEpoch, decodeRecords, epochEntryOf, PAYLOAD_BYTES_MAX, RECORD_HEADER_BYTES } from './record.ts'
