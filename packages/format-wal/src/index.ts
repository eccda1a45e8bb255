export { walFormat, type WalFormat, type WalFormatOptions } from './wal-format.ts'
export type { DescribedPage, DescribedPayload } from './describe.ts'
