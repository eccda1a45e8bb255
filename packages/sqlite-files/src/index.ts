export {
  DATABASE_HEADER_BYTES,
  isPageSize,
  lockPage,
  readDatabaseHeader,
  type DatabaseHeader,
} from './database-header.ts'
export { addToChecksum, isLittleEndianMachine, type Checksum } from './checksum.ts'
export {
  readWalFrameHeader,
  readWalHeader,
  sameSalts,
  WAL_FRAME_HEADER_BYTES,
  WAL_HEADER_BYTES,
  walFrameOffset,
  walFrames,
  walOverlay,
  type ByteSource,
  type Salts,
  type WalFrame,
  type WalFrameHeader,
  type WalHeader,
  type WalOverlay,
} from './wal.ts'
export {
  readWalIndexHeader,
  readWalIndexPages,
  WAL_INDEX_BLOCK_BYTES,
  WAL_INDEX_HEADER_BYTES,
  walIndexBlock,
  type WalIndexHeader,
} from './wal-index.ts'
export { writeWalFrameHeader, writeWalHeader, type NewWalFrame, type NewWalHeader } from './wal-write.ts'
export {
  advanceWalIndexHeader,
  WAL_INDEX_COPY_BYTES,
  WalIndexBlock,
  walIndexBlockOf,
  writeWalIndexHeader,
} from './wal-index-write.ts'
export {
  foldTransactions,
  readImage,
  walTransactions,
  type ImagePlace,
  type PageSet,
  type WalTransaction,
} from './transactions.ts'
export { applyToDatabase } from './apply.ts'
