/** Reading a snapshot whole. */
import { UnderstudyError, type SnapshotSource } from '@understudy/contracts'

/** Reads a snapshot whole, a few pages at a time. `between` runs after each read. */
export async function readImage(
  snapshot: SnapshotSource,
  pagesAtOnce: number,
  between?: () => Promise<void>,
): Promise<Uint8Array> {
  const image = new Uint8Array(snapshot.totalBytes)
  for (let offset = 0; offset < snapshot.totalBytes;) {
    const upTo = Math.min(snapshot.totalBytes, offset + pagesAtOnce * snapshot.pageBytes)
    const count = await snapshot.read(image.subarray(offset, upTo), offset)
    if (count === 0)
      throw new UnderstudyError(
        'SNAPSHOT_CORRUPT',
        `The snapshot ended at ${offset} of ${snapshot.totalBytes} bytes; nothing was kept. It says a wrong length.`,
      )
    offset += count
    await between?.()
  }
  return image
}
