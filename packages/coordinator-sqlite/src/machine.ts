/**
 * What this machine is, as far as a file can tell processes of one boot from others.
 *
 * Linux only: other systems do not say which boot they are in, nor promise that all processes have one monotonic clock.
 */
import { readFileSync, readlinkSync, statfsSync } from 'node:fs'
import { UnderstudyError } from '@understudy/contracts'

export interface Machine {
  /** Another one after each start of the machine, and on each machine. */
  readonly boot: string
  /** Processes of one boot and one of these have the same monotonic clock: a container may have one of its own. */
  readonly timeSpace: string
  /** The monotonic clock of that time space, in nanoseconds. */
  nowNs(): bigint
  /** Number of the type of the file system that `directory` is on. */
  fileSystem(directory: string): number
}

/** Throws `UNSUPPORTED_RUNTIME`. */
export function thisMachine(): Machine {
  if (process.platform !== 'linux')
    throw new UnderstudyError(
      'UNSUPPORTED_RUNTIME',
      `The coordinator in a SQLite file needs Linux, and this is ${process.platform}. Nothing was opened; use etcd, or promote by hand.`,
    )
  return {
    boot: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    timeSpace: timeSpace(),
    nowNs: () => process.hrtime.bigint(),
    fileSystem: (directory) => statfsSync(directory).type,
  }
}

/** Kernels before 5.6 have none, and one clock. */
function timeSpace(): string {
  try {
    return readlinkSync('/proc/self/ns/time')
  } catch {
    return 'time:[]'
  }
}

/** Types of file systems that other machines may use at the same time, where SQLite's locks and shared memory do not hold. Source: linux/magic.h, statfs(2). */
const SHARED: Readonly<Record<number, string>> = {
  0x6969: 'NFS',
  0x517b: 'SMB',
  0xff534d42: 'CIFS',
  0xfe534d42: 'SMB 2',
  0x01021997: '9P',
  0x65735546: 'FUSE',
  0x5346414f: 'AFS',
  0x6b414653: 'AFS',
  0x00c36400: 'Ceph',
  0x01161970: 'GFS2',
  0x7461636f: 'OCFS2',
  0x0bd00bd0: 'Lustre',
  0x73757245: 'Coda',
  0x564c: 'NCP',
  0xaad7aaea: 'PanFS',
  0xbacbacbc: 'VMware shared folders',
  0x786f4256: 'VirtualBox shared folders',
  0x19830326: 'BeeGFS',
  0x47504653: 'GPFS',
  0x013111a8: 'IBRIX',
  0x7461636e: 'ACFS',
}

/** The name of a file system that is shared between machines; undefined for others. */
export function sharedFileSystem(type: number): string | undefined {
  // The type is signed on some platforms.
  return SHARED[type >>> 0]
}
