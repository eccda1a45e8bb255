import { expect, test } from 'vitest'
import type { Files } from '@understudy/contracts'
import { SeededRandom, SimulatedClock, SimulatedMachine, SimulatedNetwork } from '@understudy/testkit'

function machines(seed: number): { clock: SimulatedClock; a: SimulatedMachine; b: SimulatedMachine } {
  const random = new SeededRandom(seed)
  const clock = new SimulatedClock()
  const network = new SimulatedNetwork({ clock, random: random.fork('net') })
  const machine = (name: string): SimulatedMachine => new SimulatedMachine({ name, clock, network, random })
  return { clock, a: machine('a'), b: machine('b') }
}

function write(files: Files, path: string, content: string): void {
  const file = files.open(path, { create: true, write: true })
  file.write([Buffer.from(content)], 0)
  files.syncDirectory('/')
}

test('a killed machine keeps its writes, loses its timers and connections, and boots again', async () => {
  const { clock, a, b } = machines(1)
  const before = a.boot()
  const events: string[] = []
  b.boot()
  await b.life?.transport.listen('sim://b', (channel) =>
    channel.start({
      frame: () => undefined,
      drained: () => undefined,
      closed: (error) => events.push(`b ${error?.code}`),
    }),
  )
  const channel = await clock.complete(before.transport.connect('sim://b'))
  channel.start({ frame: () => undefined, drained: () => undefined, closed: () => events.push('a called') })
  before.clock.schedule(1, () => events.push('timer'))
  write(before.files, '/file', 'written')
  a.kill()
  expect(a.life).toBeUndefined()
  await clock.advance(100)
  expect(events).toEqual(['b CONNECTION_LOST'])
  expect(() => before.files.exists('/file')).toThrow(expect.objectContaining({ code: 'STORAGE_FAILED' }))
  const after = a.boot()
  expect(after.files.size('/file')).toBe(7)
  await clock.complete(after.transport.connect('sim://b'))
})

test('a power loss is silent to the peers and takes unsynced writes', async () => {
  const sizes = new Set<number>()
  for (let seed = 0; seed < 30; seed++) {
    const { a } = machines(seed)
    write(a.boot().files, '/file', 'unsynced')
    a.crash()
    sizes.add(a.boot().files.size('/file'))
  }
  expect([...sizes].sort((x, y) => x - y)).toEqual([0, 8])
})

test('each life draws its own numbers; the machine cannot be booted twice', () => {
  const { a, b } = machines(1)
  const first = a.boot().random.uint32()
  expect(() => a.boot()).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
  expect(b.boot().random.uint32()).not.toBe(first)
  a.crash()
  a.crash()
  expect(a.boot().random.uint32()).not.toBe(first)
  expect(machines(1).a.boot().random.uint32()).toBe(first)
})

test('a sync takes its time on the clock of the machine: none ends while it stands still', async () => {
  const { clock, a } = machines(1)
  const file = a.boot().files.open('/file', { create: true, write: true })
  let synced = false
  void file.dataSync().then(() => (synced = true))
  a.pause()
  await clock.advance(1000)
  expect(synced).toBe(false)
  a.resume()
  await clock.advance(1000)
  expect(synced).toBe(true)
})
