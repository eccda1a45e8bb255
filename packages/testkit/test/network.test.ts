import { describe, expect, test } from 'vitest'
import type { Channel, Transport, UnderstudyError } from '@understudy/contracts'
import { SeededRandom, SimulatedClock, SimulatedNetwork, Trace, type ClockView } from '@understudy/testkit'

/** Two nodes, `a` dialling `b`, on a clock that the test drives. */
class Cluster {
  readonly clock: SimulatedClock
  readonly network: SimulatedNetwork
  readonly trace: Trace = new Trace()
  readonly views: Record<'a' | 'b', ClockView>
  readonly a: Transport
  b: Transport
  readonly events: string[] = []
  accepted: Channel[] = []

  constructor(seed = 1, latencyMs: number | { min: number; max: number } = 1) {
    const random = new SeededRandom(seed)
    this.clock = new SimulatedClock({ shuffle: random.fork('clock') })
    this.network = new SimulatedNetwork({
      clock: this.clock,
      random: random.fork('net'),
      latencyMs,
      trace: this.trace.add,
    })
    this.views = { a: this.clock.view(), b: this.clock.view() }
    this.a = this.network.transport('a', { clock: this.views.a })
    this.b = this.network.transport('b', { clock: this.views.b })
  }

  /** Starts noting what the channel is told, as `name:what`. */
  note(name: string, channel: Channel): Channel {
    channel.start({
      frame: (bytes) => this.events.push(`${name}:${Buffer.from(bytes).toString()}`),
      drained: () => this.events.push(`${name}:drained`),
      closed: (error: UnderstudyError | undefined) =>
        this.events.push(`${name}:closed ${error?.code ?? 'in order'}`),
    })
    return channel
  }

  async listen(): Promise<void> {
    await this.b.listen('sim://b', (channel) => this.accepted.push(this.note('b', channel)), {
      frameBytesMax: 1e6,
    })
  }

  async pair(): Promise<{ a: Channel; b: Channel }> {
    await this.listen()
    const a = this.note('a', await this.clock.complete(this.a.connect('sim://b')))
    return { a, b: this.accepted.at(-1) as Channel }
  }
}

function say(channel: Channel, text: string): void {
  channel.send([Buffer.from(text)])
}

test('a receiver whose clock runs fast gets everything', async () => {
  const clock = new SimulatedClock()
  const network = new SimulatedNetwork({ clock, random: new SeededRandom(1), latencyMs: 100 })
  const view = clock.view({ rate: 1.01 })
  const came: string[] = []
  await network.transport('b', { clock: view }).listen('sim://b', (channel) =>
    channel.start({
      frame: (bytes) => came.push(Buffer.from(bytes).toString()),
      drained: () => undefined,
      closed: () => undefined,
    }),
  )
  const channel = await clock.complete(network.transport('a').connect('sim://b'))
  channel.start({ frame: () => undefined, drained: () => undefined, closed: () => undefined })
  for (const text of ['one', 'two']) {
    channel.send([Buffer.from(text)])
    await clock.advance(10)
  }
  await clock.advance(200)
  expect(came).toEqual(['one', 'two'])
})

describe('time', () => {
  test('connecting takes a round trip, a frame one way', async () => {
    const cluster = new Cluster(1, 10)
    const { a } = await cluster.pair()
    expect(cluster.clock.monotonic()).toBe(1020)
    say(a, 'x')
    await cluster.clock.advance(9)
    expect(cluster.events).toEqual([])
    await cluster.clock.advance(1)
    expect(cluster.events).toEqual(['b:x'])
  })

  test('frames of one channel stay in order, however much the latency varies', async () => {
    for (let seed = 0; seed < 20; seed++) {
      const cluster = new Cluster(seed, { min: 0, max: 50 })
      const { a } = await cluster.pair()
      const sent: string[] = []
      for (let count = 0; count < 100; count++) {
        say(a, `${count}`)
        sent.push(`b:${count}`)
        await cluster.clock.advance(count % 3)
      }
      await cluster.clock.advance(200)
      expect(cluster.events).toEqual(sent)
    }
  })

  test('the latency of one direction can be set alone', async () => {
    const cluster = new Cluster(1, 1)
    const { a, b } = await cluster.pair()
    cluster.network.setLatency('a', 'b', 100)
    say(a, 'slow')
    say(b, 'fast')
    await cluster.clock.advance(50)
    expect(cluster.events).toEqual(['a:fast'])
    await cluster.clock.advance(50)
    expect(cluster.events).toEqual(['a:fast', 'b:slow'])
  })
})

describe('cuts', () => {
  test('a cut direction is silent, the other one goes on, and healing delivers what waited', async () => {
    const cluster = new Cluster()
    const { a, b } = await cluster.pair()
    cluster.network.cut('a', 'b')
    say(a, 'one')
    await cluster.clock.advance(60_000)
    say(a, 'two')
    say(b, 'hello')
    await cluster.clock.advance(60_000)
    expect(cluster.events).toEqual(['a:hello'])
    cluster.network.heal('a', 'b')
    await cluster.clock.advance(10)
    expect(cluster.events).toEqual(['a:hello', 'b:one', 'b:two'])
  })

  test('with the way back cut, the sender is stopped by back-pressure', async () => {
    const cluster = new Cluster()
    const { a } = await cluster.pair()
    cluster.network.cut('b', 'a')
    const piece = Buffer.alloc(100_000, 'x')
    let sent = 0
    while (a.send([piece])) {
      sent += 1
      await cluster.clock.advance(10)
    }
    expect(sent).toBeLessThan(20)
    expect(cluster.events.length).toBeLessThan(sent)
    cluster.network.healAll()
    await cluster.clock.advance(1000)
    expect(cluster.events.filter((event) => event === 'a:drained')).toHaveLength(1)
    expect(a.bufferedBytes).toBe(0)
  })

  test('connecting through a cut, either way, is TIMEOUT; the listener learns that the dialler gave up', async () => {
    for (const [from, to] of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const) {
      const cluster = new Cluster()
      await cluster.listen()
      cluster.network.cut(from, to)
      const connecting = cluster.a.connect('sim://b', { timeoutMs: 300 })
      await expect(cluster.clock.complete(connecting)).rejects.toMatchObject({ code: 'TIMEOUT' })
      expect(cluster.clock.monotonic()).toBe(1300)
      await cluster.clock.advance(100)
      expect(cluster.events).toEqual(from === 'a' ? [] : ['b:closed CONNECTION_LOST'])
      cluster.network.healAll()
      await cluster.clock.advance(100)
      expect(cluster.network.connectionCount).toBe(0)
    }
  })

  test('a channel closed behind a cut ends here, and there once the cut is healed', async () => {
    const cluster = new Cluster()
    const { a } = await cluster.pair()
    cluster.network.partition(['a'], ['b'])
    say(a, 'last words')
    a.close()
    await cluster.clock.advance(5000)
    expect(cluster.events).toEqual(['a:closed in order'])
    cluster.network.healAll()
    await cluster.clock.advance(10)
    expect(cluster.events).toEqual(['a:closed in order', 'b:last words', 'b:closed in order'])
    expect(cluster.network.connectionCount).toBe(0)
  })
})

describe('deaths', () => {
  test('a reset breaks both sides at once and loses what was on its way', async () => {
    const cluster = new Cluster(1, 10)
    const { a } = await cluster.pair()
    say(a, 'lost')
    cluster.network.reset('b', 'a')
    await cluster.clock.advance(100)
    expect(cluster.events.toSorted()).toEqual(['a:closed CONNECTION_LOST', 'b:closed CONNECTION_LOST'])
    expect(cluster.network.connectionCount).toBe(0)
  })

  test('a killed process calls nobody; its peer gets what had left and then a lost connection', async () => {
    const cluster = new Cluster(1, 10)
    const { b } = await cluster.pair()
    say(b, 'left before')
    cluster.network.crash('b')
    cluster.views.b.stop()
    await cluster.clock.advance(100)
    expect(cluster.events).toEqual(['a:left before', 'a:closed CONNECTION_LOST'])
    await expect(cluster.clock.complete(cluster.a.connect('sim://b'))).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
    })
    await expect(cluster.b.connect('sim://a')).rejects.toMatchObject({ code: 'CLOSED' })
  })

  test('a machine without power is silent; after it is back, its peers are reset when they send', async () => {
    const cluster = new Cluster(1, 10)
    const { a } = await cluster.pair()
    cluster.network.crash('b', { of: 'machine' })
    cluster.views.b.stop()
    say(a, 'into the dark')
    await cluster.clock.advance(60_000)
    expect(cluster.events).toEqual([])
    const connecting = cluster.a.connect('sim://b', { timeoutMs: 100 })
    await expect(cluster.clock.complete(connecting)).rejects.toMatchObject({ code: 'TIMEOUT' })

    cluster.b = cluster.network.transport('b', { clock: cluster.clock.view() })
    await cluster.clock.advance(100)
    expect(cluster.events).toEqual(['a:closed CONNECTION_LOST'])
    const again = await cluster.pair()
    say(again.a, 'back')
    await cluster.clock.advance(10)
    expect(cluster.events.at(-1)).toBe('b:back')
  })

  test('a node that stands still takes nothing, and goes on where it stopped', async () => {
    const cluster = new Cluster()
    const { a, b } = await cluster.pair()
    cluster.views.b.pause()
    say(a, 'one')
    await cluster.clock.advance(1000)
    say(a, 'two')
    await cluster.clock.advance(1000)
    expect(cluster.events).toEqual([])
    cluster.views.b.resume()
    await cluster.clock.advance(10)
    expect(cluster.events).toEqual(['b:one', 'b:two'])
    say(b, 'awake')
    await cluster.clock.advance(10)
    expect(cluster.events.at(-1)).toBe('a:awake')
  })

  test('nothing is left of a dial whose dialler died, answered or not', async () => {
    for (const address of ['sim://b', 'sim://b:9']) {
      for (const of of ['process', 'machine'] as const) {
        const cluster = new Cluster(1, 10)
        await cluster.listen()
        void cluster.a.connect(address)
        await cluster.clock.advance(5)
        cluster.network.crash('a', { of })
        await cluster.clock.advance(20)
        cluster.network.transport('a')
        await cluster.clock.advance(100)
        expect(cluster.events).toEqual(address === 'sim://b' ? ['b:closed CONNECTION_LOST'] : [])
        expect(cluster.network.connectionCount).toBe(0)
      }
    }
  })

  test('nothing is left of a channel that its listener closed before the dialler gave up on it', async () => {
    const cluster = new Cluster(1, 10)
    await cluster.listen()
    cluster.network.cut('b', 'a')
    const connecting = cluster.a.connect('sim://b', { timeoutMs: 100 })
    await cluster.clock.advance(20)
    cluster.accepted[0]?.close()
    await expect(cluster.clock.complete(connecting)).rejects.toMatchObject({ code: 'TIMEOUT' })
    await cluster.clock.advance(100)
    expect(cluster.network.connectionCount).toBe(0)
  })

  test('a node listens only at its own name', async () => {
    const cluster = new Cluster()
    await expect(cluster.a.listen('sim://b', () => undefined)).rejects.toMatchObject({
      code: 'ADDRESS_INVALID',
    })
  })
})

describe('determinism', () => {
  /** Chatter among three nodes under random cuts, resets and crashes. */
  const run = async (
    seed: number,
  ): Promise<{ hash: string; closed: number; frames: number; left: number }> => {
    const random = new SeededRandom(seed)
    const trace = new Trace()
    const clock = new SimulatedClock({ shuffle: random.fork('clock') })
    const network = new SimulatedNetwork({ clock, random: random.fork('net'), trace: trace.add })
    const names = ['a', 'b', 'c']
    const faults = random.fork('faults')
    let frames = 0
    let closed = 0
    const open = new Set<Channel>()
    const handle = (channel: Channel): void => {
      open.add(channel)
      channel.start({
        frame: (bytes) => {
          frames += 1
          if (bytes.byteLength < 40) channel.send([bytes, Uint8Array.of(frames)])
        },
        drained: () => undefined,
        closed: (error) => {
          closed += 1
          open.delete(channel)
          trace.add(`closed ${error?.code}`)
        },
      })
    }
    const boot = async (name: string): Promise<void> => {
      await network.transport(name).listen(`sim://${name}`, handle)
    }
    for (const name of names) await boot(name)
    const dial = async (from: string, to: string): Promise<void> => {
      try {
        const channel = await network.transport(from).connect(`sim://${to}`, { timeoutMs: 200 })
        handle(channel)
        channel.send([Uint8Array.of(1)])
      } catch (error) {
        trace.add(`dial ${(error as UnderstudyError).code}`)
      }
    }
    for (let round = 0; round < 150; round++) {
      const [from, to] = faults.shuffle([...names]) as [string, string, string]
      void dial(from, to)
      if (faults.chance(0.2)) network.cut(from, to)
      if (faults.chance(0.2)) network.healAll()
      if (faults.chance(0.1)) network.reset(from, to)
      if (faults.chance(0.1)) faults.pick([...open, undefined])?.close()
      if (faults.chance(0.05)) {
        network.crash(to, { of: faults.pick(['process', 'machine']) })
        await boot(to)
      }
      await clock.advance(faults.below(20))
    }
    network.healAll()
    // So that no dial is under way any more.
    await clock.advance(1000)
    for (const channel of open) channel.close()
    await clock.advance(5000)
    trace.add(`${clock.monotonic()} ${network.connectionCount}`)
    return { hash: trace.hash, closed, frames, left: network.connectionCount }
  }

  test('one seed, one trace; another seed, another', async () => {
    const first = await run(1)
    expect(await run(1)).toEqual(first)
    expect((await run(2)).hash).not.toBe(first.hash)
    expect(first.frames).toBeGreaterThan(500)
    expect(first.closed).toBeGreaterThan(50)
  })

  test('connections do not pile up: once everything was closed, none is left', async () => {
    for (let seed = 10; seed < 20; seed++) expect(await run(seed)).toMatchObject({ left: 0 })
  })
})
