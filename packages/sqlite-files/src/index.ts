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
