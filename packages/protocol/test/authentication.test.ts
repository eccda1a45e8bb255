/** Who gets in, who does not, and what each of them learns. */
import type { ChannelSecurity, UnderstudyError } from '@understudy/contracts'
import { describe, expect, test } from 'vitest'
import {
  authenticatePeer,
  authenticateTo,
  Connection,
  decodeMessage,
  grants,
  verifierOf,
  type AcceptOptions,
  type DialOptions,
  type Grant,
  type Peer,
} from '../src/index.ts'
import { linked, seeded, TestClock, type LinkedChannel } from './channels.ts'

const SECRET = new Uint8Array(32).map((_, index) => index * 7 + 1)
const OTHER_SECRET = new Uint8Array(32).fill(9)
const GRANT: Grant = { name: 'b', roles: ['replicate', 'snapshot'], verifier: verifierOf(SECRET) }
const TIMEOUT = { timeoutMs: 1000 }

/** What was promised has happened. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

interface Attempt {
  readonly dial?: Partial<DialOptions>
  readonly accept?: Partial<AcceptOptions>
  readonly list?: readonly Grant[]
  readonly security?: { dialler?: ChannelSecurity; listener?: ChannelSecurity }
  readonly before?: (ends: { dialler: LinkedChannel; listener: LinkedChannel }) => void
  readonly seeds?: readonly [number, number]
}

/** One handshake. Each end closes with its own error when it fails, as the node and the client do. */
async function attempt({ dial, accept, list = [GRANT], security, before, seeds = [1, 2] }: Attempt = {}) {
  const ends = linked(security)
  before?.(ends)
  const clock = new TestClock()
  const dialling = new Connection(ends.dialler, clock)
  const listening = new Connection(ends.listener, clock, { stranger: true })
  const accepted = listening
    .next(TIMEOUT)
    .then((first) =>
      authenticatePeer(listening, first, {
        grants: grants(list),
        clock,
        random: seeded(seeds[1]),
        ...TIMEOUT,
        ...accept,
      }),
    )
    .catch((error: UnderstudyError) => {
      listening.close(error)
      return error
    })
  const dialled = authenticateTo(dialling, {
    credential: { name: 'b', secret: SECRET },
    random: seeded(seeds[0]),
    clock,
    ...TIMEOUT,
    ...dial,
  }).then(
    () => 'in' as const,
    (error: UnderstudyError) => {
      dialling.close(error)
      return error
    },
  )
  return { ...ends, dialling, listening, dialled: await dialled, accepted: await accepted }
}

const tls = (binding: number, identities: readonly string[] = []): ChannelSecurity => ({
  encrypted: true,
  identities,
  binding: new Uint8Array(32).fill(binding),
})

describe('a shared secret', () => {
  test('lets in who has it, under its name, roles and node names', async () => {
    const { dialled, accepted } = await attempt()
    expect(dialled).toBe('in')
    expect(accepted).toEqual({
      name: 'b',
      roles: new Set(['replicate', 'snapshot']),
      nodes: ['b'],
    } satisfies Peer)
    const named = await attempt({ list: [{ ...GRANT, nodes: ['b', 'c'] }] })
    expect(named.accepted).toMatchObject({ nodes: ['b', 'c'] })
  })

  test('a wrong secret, an unknown name, a name without a secret and an expired one get the same answer', async () => {
    const cases: Attempt[] = [
      { dial: { credential: { name: 'b', secret: OTHER_SECRET } } },
      { dial: { credential: { name: 'nobody', secret: SECRET } } },
      { list: [{ name: 'b', roles: ['read'], identities: ['URI:understudy://b'] }] },
      { list: [{ ...GRANT, expiresAt: 0 }] },
    ]
    const answers = new Set<string>()
    for (const each of cases) {
      const { dialled, accepted, listener } = await attempt(each)
      expect(accepted).toMatchObject({ code: 'AUTHENTICATION_FAILED' })
      expect(dialled).toMatchObject({ code: 'AUTHENTICATION_FAILED', details: { fromPeer: true } })
      const refusal = decodeMessage(listener.sent.at(-1)!)
      answers.add(JSON.stringify(refusal))
      // Challenge, then the refusal: also for a name that nobody has.
      expect(listener.sent.map((frame) => decodeMessage(frame).type)).toEqual(['authChallenge', 'refuse'])
    }
    expect(answers.size).toBe(1)
  })

  test('the listener learns why, the peer does not', async () => {
    const { dialled, accepted } = await attempt({ list: [{ ...GRANT, expiresAt: 0 }] })
    expect((accepted as UnderstudyError).details['reason']).toMatch(/expired at 1970/)
    expect((dialled as UnderstudyError).message).not.toMatch(/1970/)
  })

  test('an expiry in the future does not matter yet', async () => {
    expect((await attempt({ list: [{ ...GRANT, expiresAt: 1 }] })).dialled).toBe('in')
  })

  test('a listener that does not know the secret is an impostor: it gets nothing but a proof for this one exchange', async () => {
    // It has the right storedKey, say from a stolen file of another listener of the same name, but not its serverKey.
    const stolen = { ...verifierOf(SECRET), serverKey: new Uint8Array(32) }
    const { dialled } = await attempt({ list: [{ ...GRANT, verifier: stolen }] })
    expect(dialled).toMatchObject({
      code: 'AUTHENTICATION_FAILED',
      message: expect.stringContaining('impostor'),
    })
  })

  test('neither the secret nor a key of it is ever sent', async () => {
    const { dialler, listener } = await attempt()
    const { storedKey, serverKey } = verifierOf(SECRET)
    for (const frame of [...dialler.sent, ...listener.sent])
      for (const key of [SECRET, storedKey, serverKey]) expect(frame.includes(Buffer.from(key))).toBe(false)
  })

  test('a secret that is not 32 bytes long is refused before anything is sent', async () => {
    const { dialled, dialler } = await attempt({
      dial: { credential: { name: 'b', secret: Buffer.from('password') } },
    })
    expect(dialled).toMatchObject({ code: 'CREDENTIALS_INVALID' })
    // Only the farewell of the harness.
    expect(dialler.sent.map((frame) => decodeMessage(frame).type)).toEqual(['refuse'])
  })
})

describe('nothing can be replayed or relayed', () => {
  test('what a dialler sent once opens nothing again: the nonce of the listener is another', async () => {
    const first = await attempt()
    expect(first.dialled).toBe('in')
    const recorded = [...first.dialler.sent]
    const ends = linked()
    const clock = new TestClock()
    const listening = new Connection(ends.listener, clock, { stranger: true })
    for (const frame of recorded) ends.listener.receive(frame)
    const options = { grants: grants([GRANT]), clock, random: seeded(3), ...TIMEOUT }
    await expect(authenticatePeer(listening, await listening.next(TIMEOUT), options)).rejects.toMatchObject({
      code: 'AUTHENTICATION_FAILED',
    })
  })

  test('what a listener sent once convinces nobody again: the nonce of the dialler is another', async () => {
    const first = await attempt()
    const recorded = [...first.listener.sent]
    const ends = linked()
    const clock = new TestClock()
    const dialling = new Connection(ends.dialler, clock)
    for (const frame of recorded) ends.dialler.receive(frame)
    const credential = { name: 'b', secret: SECRET }
    await expect(
      authenticateTo(dialling, { credential, random: seeded(4), clock, ...TIMEOUT }),
    ).rejects.toMatchObject({
      code: 'AUTHENTICATION_FAILED',
    })
  })

  test('all answers of a listener have one deadline together, however late the first comes', async () => {
    const { dialler, listener } = linked()
    const clock = new TestClock()
    const credential = { name: 'b', secret: SECRET }
    const listening = new Connection(listener, clock)
    const begun = listening.next(TIMEOUT)
    let ended = ''
    const over = authenticateTo(new Connection(dialler, clock), {
      credential,
      random: seeded(4),
      clock,
      timeoutMs: 1000,
    }).catch((error: UnderstudyError) => {
      ended = error.code
    })
    await begun
    clock.advance(600)
    listening.send({ type: 'authChallenge', nonce: new Uint8Array(32) })
    await settled()
    clock.advance(399)
    await settled()
    expect(ended).toBe('')
    clock.advance(1)
    await over
    expect(ended).toBe('PEER_SILENT')
  })

  test('a proof is bound to the TLS session: through a relay with two sessions it is worth nothing', async () => {
    expect((await attempt({ security: { dialler: tls(1), listener: tls(1) } })).dialled).toBe('in')
    const relayed = await attempt({ security: { dialler: tls(1), listener: tls(2) } })
    expect(relayed.accepted).toMatchObject({ code: 'AUTHENTICATION_FAILED' })
    const unwrapped = await attempt({ security: { dialler: tls(1) } })
    expect(unwrapped.accepted).toMatchObject({ code: 'AUTHENTICATION_FAILED' })
  })

  test('behind a proxy that ends TLS the binding is off at both ends, or nobody gets in', async () => {
    const off = { channelBinding: false }
    expect((await attempt({ security: { dialler: tls(1) }, dial: off })).dialled).toBe('in')
    expect(
      (await attempt({ security: { dialler: tls(1), listener: tls(2) }, dial: off, accept: off })).dialled,
    ).toBe('in')
    const half = await attempt({ security: { dialler: tls(1), listener: tls(2) }, dial: off })
    expect(half.accepted).toMatchObject({ code: 'AUTHENTICATION_FAILED' })
  })

  test('one bit changed on the way, anywhere in any message, and nobody gets in', async () => {
    const { dialler, listener } = await attempt()
    for (const side of ['dialler', 'listener'] as const) {
      const frames = side === 'dialler' ? dialler.sent : listener.sent
      for (const [number, frame] of frames.entries()) {
        for (let bit = 0; bit < frame.length * 8; bit += 5) {
          const result = await attempt({
            before: (ends) => {
              let count = 0
              ends[side].tamper = (sent) => {
                if (count++ !== number) return sent
                const changed = Buffer.from(sent)
                changed[bit >> 3]! ^= 1 << (bit & 7)
                return changed
              }
            },
          })
          // The last message is the listener's: when that is changed the listener has let the right peer in already.
          expect(result.dialled, `${side} ${number} bit ${bit}`).not.toBe('in')
        }
      }
    }
  })
})

describe('a certificate', () => {
  const list: Grant[] = [
    { name: 'b', roles: ['replicate'], identities: ['URI:understudy://b', 'DNS:b.example'] },
  ]
  const credential = { name: 'b', certificate: true } as const

  test('lets in who shows one of the names', async () => {
    const security = { dialler: tls(1), listener: tls(1, ['CN:x', 'DNS:b.example']) }
    const { dialled, accepted, dialler } = await attempt({ list, dial: { credential }, security })
    expect(dialled).toBe('in')
    expect(accepted).toMatchObject({ name: 'b', roles: new Set(['replicate']) })
    expect(dialler.sent).toHaveLength(1)
  })

  test.each([
    ['another name', tls(1, ['DNS:c.example'])],
    ['a name of another kind', tls(1, ['CN:b.example'])],
    ['no certificate', tls(1)],
    ['a name without encryption', { encrypted: false, identities: ['DNS:b.example'] }],
  ])('%s lets nobody in', async (_, listener) => {
    const { dialled, accepted } = await attempt({
      list,
      dial: { credential },
      security: { dialler: tls(1), listener },
    })
    expect(accepted).toMatchObject({ code: 'AUTHENTICATION_FAILED' })
    expect(dialled).toMatchObject({ code: 'AUTHENTICATION_FAILED' })
  })

  test('opens no credential that has only a secret', async () => {
    const security = { dialler: tls(1), listener: tls(1, ['DNS:b']) }
    const { accepted } = await attempt({ dial: { credential }, security })
    expect(accepted).toMatchObject({ code: 'AUTHENTICATION_FAILED' })
  })

  test('is not offered on a connection without encryption', async () => {
    const { dialled, dialler } = await attempt({ list, dial: { credential } })
    expect(dialled).toMatchObject({ code: 'AUTHENTICATION_FAILED', message: expect.stringContaining('TLS') })
    expect(dialler.sent.map((frame) => decodeMessage(frame).type)).toEqual(['refuse'])
  })
})

describe('out of turn', () => {
  test('a Hello in place of an AuthBegin is told that a credential is needed', async () => {
    const ends = linked()
    const clock = new TestClock()
    const listening = new Connection(ends.listener, clock, { stranger: true })
    new Connection(ends.dialler, clock).send({
      type: 'hello',
      versionMin: 1,
      versionMax: 1,
      purpose: 'client',
      cluster: '',
      node: 'x',
      history: [],
      end: { epoch: 0, lsn: 0, crc: 0 },
      formats: [],
    })
    const first = await listening.next(TIMEOUT)
    await expect(
      authenticatePeer(listening, first, { grants: grants([GRANT]), clock, random: seeded(1), ...TIMEOUT }),
    ).rejects.toMatchObject({ code: 'AUTHENTICATION_REQUIRED' })
  })

  test('a stranger can have nothing decoded but the handshake', async () => {
    const ends = linked()
    const listening = new Connection(ends.listener, new TestClock(), { stranger: true })
    new Connection(ends.dialler, new TestClock()).send({ type: 'request', id: 1, body: { kind: 'status' } })
    await expect(listening.next(TIMEOUT)).rejects.toMatchObject({ code: 'PROTOCOL_VIOLATION' })
  })

  test('a listener of another version says so', async () => {
    const { accepted } = await attempt({
      before: ({ dialler }) => {
        // Field 2 of an AuthBegin: the version.
        dialler.tamper = (frame) => {
          const changed = Buffer.from(frame)
          if (changed[0] === 4) changed[7] = 2
          return changed
        }
      },
    })
    expect(accepted).toMatchObject({ code: 'PROTOCOL_VERSION' })
  })

  test('a list with a name twice, without a proof or with an unknown role lets nobody in', () => {
    const verifier = verifierOf(SECRET)
    for (const list of [
      [GRANT, GRANT],
      [{ name: 'x', roles: ['read'] }],
      [{ name: 'x', roles: ['root'], verifier }],
    ] as Grant[][])
      expect(() => grants(list)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
  })
})
