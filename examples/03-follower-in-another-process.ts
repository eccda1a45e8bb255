/** A follower in a process of its own: this file starts itself a second time, and kills it to show that it comes back. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rowFormat } from '@understudy/format-row'
import { createNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'

const parts = { format: rowFormat(), transport: tcp() }

/** The other process: follows until its parent is gone or asks it to stop, answers how many notes it has. */
async function follow(directory: string, leader: string): Promise<void> {
  const follower = await createNode({ ...parts, name: 'b', directory, role: 'follower', leader })
  process.on('message', (after: { epoch: number; lsn: number }) => {
    void follower
      .read((tx) => tx.get('select count(*) as n from note'), { after })
      .then((row) => process.send?.(`the other process has ${Number(row?.['n'])} notes at LSN ${after.lsn}`))
  })
  process.on('disconnect', () => void follower.close())
  process.send?.('ready')
}

async function lead(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'understudy-'))
  const leader = await createNode({
    ...parts,
    name: 'a',
    directory: join(folder, 'a'),
    role: 'leader',
    listen: 'tcp://127.0.0.1:0',
  })
  await leader.write((tx) => tx.exec('create table note (id integer primary key, body text)'))

  for (const end of ['SIGKILL', 'a clean stop'] as const) {
    const child = spawn(
      process.execPath,
      [...process.execArgv, import.meta.filename, join(folder, 'b'), leader.address ?? ''],
      { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] },
    )
    await once(child, 'message')
    const { receipt } = await leader.write((tx) => {
      for (let i = 0; i < 50; i++) tx.run('insert into note (body) values (?)', [end])
    })
    child.send(receipt.position)
    const [answer] = (await once(child, 'message')) as [string]
    console.log(`${answer}, then ${end}`)
    const exit = once(child, 'exit')
    if (end === 'SIGKILL') child.kill(end)
    else child.disconnect()
    await exit
  }

  await leader.close()
  await rm(folder, { recursive: true })
}

const [, , directory, address] = process.argv
if (directory === undefined || address === undefined) await lead()
else await follow(directory, address)
