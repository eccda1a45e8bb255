/** Folders of clusters, which carry the pid of their owner: what one that is dead left behind, mounts too, is removed by the next one. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isAlive } from './children.ts'

const NAME = /^understudy-rig-(\d+)-/

export function newFolder(): string {
  for (const name of readdirSync(tmpdir())) {
    const owner = Number(NAME.exec(name)?.[1])
    if (!Number.isNaN(owner) && !isAlive(owner)) removeFolder(join(tmpdir(), name))
  }
  return mkdtempSync(join(tmpdir(), `understudy-rig-${process.pid}-`))
}

/** With what is mounted below it. */
export function removeFolder(folder: string): void {
  if (process.platform === 'linux') {
    for (const line of readFileSync('/proc/mounts', 'utf8').split('\n')) {
      const path = line.split(' ')[1] ?? ''
      if (path.startsWith(`${folder}/`)) spawnSync('umount', ['-l', path])
    }
  }
  rmSync(folder, { recursive: true, force: true })
}
