/** The networks that the tests of failover run on: each fault does what it says, in one direction, and is gone when it is healed. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, expect, onTestFinished, test } from 'vitest'
import { eventually } from './support/live-nodes.ts'
import { FLAGS, endChild, within } from './support/rig/children.ts'
import { Namespaces, namespacesMissing, removeStale } from './support/rig/namespaces.ts'
import type { FaultNetwork } from './support/rig/network.ts'
import { Proxies } from './support/rig/proxies.ts'

const missing = namespacesMissing()

async function open(kind: FaultNetwork['kind']): Promise<FaultNetwork> {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-network-'))
  const network =
    kind === 'proxies' ? await Proxies.open(['a', 'b', 'c']) : new Namespaces(['a', 'b', 'c'], folder, 1)
  onTestFinished(async () => {
    await network[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })
  return network
}

/** A program at a place that prints what it hears, and sends what it is told. */
class Talker {
  readonly heard: string[] = []
  readonly #child: ChildProcess

  constructor(network: FaultNetwork, place: string, ...words: string[]) {
    const program = join(import.meta.dirname, 'programs/talk.ts')
    const { file, args } = network.command(place, [process.execPath, ...FLAGS, program, ...words])
    this.#child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    createInterface({ input: this.#child.stdout! }).on('line', (line) => this.heard.push(line))
    onTestFinished(() => endChild(this.#child))
  }

  say(line: string): void {
    this.#child.stdin!.write(`${line}\n`)
  }

  async hears(line: string): Promise<void> {
    await eventually(`${line} among ${this.heard.join(', ')}`, () =>
      this.heard.includes(line) ? true : undefined,
    )
  }
}

async function pair(network: FaultNetwork, from: string, to: string): Promise<[Talker, Talker]> {
  const { hostname, port } = new URL(network.listenAddress(to))
  const server = new Talker(network, to, 'listen', hostname, port)
  const address = await eventually('the listener', () =>
    server.heard.find((line) => line.startsWith('tcp://')),
  )
  network.listens(to, address)
  const target = new URL(network.address(from, to))
  const client = new Talker(network, from, 'connect', target.hostname, target.port)
  client.say('hello')
  await server.hears('hello')
  return [client, server]
}

describe.for(['proxies', 'namespaces'] as const)('%s', (kind) => {
  test.skipIf(kind === 'namespaces' && missing !== undefined)(
    `a cut holds one direction and nothing else${kind === 'namespaces' && missing !== undefined ? ` (skipped: ${missing})` : ''}`,
    async () => {
      const network = await open(kind)
      const [client, server] = await pair(network, 'a', 'b')
      const [witness, listener] = await pair(network, 'a', 'c')
      network.cut('a', 'b')
      network.cut('a', 'b')
      client.say('there, while it is cut')
      server.say('back, while it is cut')
      await client.hears('back, while it is cut')
      // A round trip on the way that is not cut, sent after what is held.
      witness.say('witness')
      await listener.hears('witness')
      expect(server.heard).not.toContain('there, while it is cut')
      network.heal('a', 'b')
      await server.hears('there, while it is cut')

      network.cut('b', 'a')
      server.say('back, while that is cut')
      client.say('there, while that is cut')
      await server.hears('there, while that is cut')
      expect(client.heard).not.toContain('back, while that is cut')
      network.healAll()
      await client.hears('back, while that is cut')
    },
  )

  test.skipIf(kind === 'namespaces' && missing !== undefined)(
    'a delay holds all that a place sends',
    async ({ skip }) => {
      const network = await open(kind)
      if (!network.can.delay) skip('this kernel has no netem')
      const [client, server] = await pair(network, 'a', 'b')
      network.delay('a', 200)
      const began = performance.now()
      client.say('late')
      await server.hears('late')
      expect(performance.now() - began).toBeGreaterThan(190)
      server.say('answer')
      await client.hears('answer')
    },
  )

  test.skipIf(kind === 'namespaces' && missing !== undefined)(
    'lost packets are sent again',
    async ({ skip }) => {
      const network = await open(kind)
      if (!network.can.lose)
        skip(kind === 'proxies' ? 'a proxy over TCP loses nothing' : 'nft is not installed')
      const [client, server] = await pair(network, 'a', 'b')
      network.lose('a', 'b', 100)
      client.say('lost')
      server.say('a word back')
      await client.hears('a word back')
      expect(server.heard).not.toContain('lost')
      network.healAll()
      await server.hears('lost')
      network.lose('a', 'b', 30)
      for (let n = 0; n < 20; n++) client.say(`word ${n}`)
      await server.hears('word 19')
    },
  )
})

describe.skipIf(missing !== undefined)('namespaces', () => {
  test('what the test dials is in no way of a fault', async () => {
    const network = await open('namespaces')
    const [, server] = await pair(network, 'a', 'b')
    network.cut('a', 'b')
    network.cut('c', 'b')
    const path = (await network.control('b')).replace('unix://', '')
    const program = join(import.meta.dirname, 'programs/talk.ts')
    const child = spawn(process.execPath, [...FLAGS, program, 'connect', path], {
      stdio: ['pipe', 'inherit', 'inherit'],
    })
    onTestFinished(() => endChild(child))
    child.stdin.write('by the side\n')
    await server.hears('by the side')
  })

  test('what a process that died left behind is removed by the next one', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'understudy-network-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const program = join(import.meta.dirname, 'programs/leave-namespaces.ts')
    const child = spawn(process.execPath, [...FLAGS, program, folder], { stdio: ['pipe', 'pipe', 'inherit'] })
    onTestFinished(() => endChild(child))
    const { promise, resolve } = Promise.withResolvers<string>()
    createInterface({ input: child.stdout }).once('line', resolve)
    const stray = Number(await within(promise, 20_000, () => 'the program to make its network'))
    expect(listed()).toContain(`us-${child.pid}-1-a`)
    removeStale()
    // Its owner is alive.
    expect(listed()).toContain(`us-${child.pid}-1-a`)
    await endChild(child)
    removeStale()
    expect(listed()).not.toContain(`us-${child.pid}-`)
    await eventually('what ran in it to end', () => {
      try {
        process.kill(stray, 0)
        return undefined
      } catch {
        return true
      }
    })
  })
})

function listed(): string {
  return spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout
}
