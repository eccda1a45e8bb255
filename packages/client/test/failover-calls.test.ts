/** Calls about who leads: what is sent, what comes back, what is no answer. */
import { UnderstudyError } from '@understudy/contracts'
import { expect, test } from 'vitest'
import { Cluster, failureOf, turns } from './harness.ts'

const CHANGED = { leader: 'b', epoch: 4, tookMs: 80 }

test('wishes travel whole, with the default time of the client', async () => {
  const cluster = new Cluster()
  const seen: unknown[] = []
  const address = await cluster.start({
    handlers: {
      promote: (request) => {
        seen.push(request)
        return CHANGED
      },
      switchover: (request) => {
        seen.push(request)
        return { ...CHANGED, mayLose: { after: { epoch: 3, lsn: 7 } } }
      },
      pauseFailover: (paused) => void seen.push(paused),
      decisions: ({ limit }) => {
        seen.push(limit)
        return ['{"at":1}']
      },
    },
  })
  const client = await cluster.connect(address, { timeoutMs: 7000 })
  expect(await client.promote()).toEqual(CHANGED)
  expect(await client.promote({ target: 'b', acceptLoss: true, timeoutMs: 50 })).toEqual(CHANGED)
  expect(await client.switchover({ target: 'b' })).toEqual({
    ...CHANGED,
    mayLose: { after: { epoch: 3, lsn: 7 } },
  })
  expect(await client.pauseFailover(true)).toBeUndefined()
  expect(await client.pauseFailover(false)).toBeUndefined()
  expect(await client.decisions()).toEqual(['{"at":1}'])
  expect(await client.decisions(3)).toEqual(['{"at":1}'])
  expect(seen).toEqual([
    { acceptLoss: false, timeoutMs: 7000 },
    { target: 'b', acceptLoss: true, timeoutMs: 50 },
    { target: 'b', timeoutMs: 7000 },
    true,
    false,
    100,
    3,
  ])
})

test('the reason of a refusal arrives as the node said it', async () => {
  const cluster = new Cluster()
  const refusal = new UnderstudyError(
    'FAILOVER_REFUSED',
    'Not done: c may lack commits. Nobody was promoted.',
  )
  const address = await cluster.start({ handlers: { promote: () => Promise.reject(refusal) } })
  const client = await cluster.connect(address)
  expect(await failureOf(client.promote())).toMatchObject({
    code: 'FAILOVER_REFUSED',
    message: refusal.message,
  })
})

test('the answer of the node that the time was not enough arrives before the client gives up', async () => {
  const cluster = new Cluster()
  const late = Promise.withResolvers<object>()
  const address = await cluster.start({ handlers: { switchover: () => late.promise } })
  const client = await cluster.connect(address)
  const failure = failureOf(client.switchover({ timeoutMs: 1000 }))
  await turns()
  await cluster.clock.advance(1100)
  late.reject(new UnderstudyError('TIMEOUT', 'No leader took over within 1000 ms.'))
  await turns()
  expect(await failure).toMatchObject({ code: 'TIMEOUT', message: 'No leader took over within 1000 ms.' })
})

test.each([
  ['promote', {}],
  ['switchover', { leader: 'b' }],
] as const)('a %s that is answered with something else is a violation', async (kind, answer) => {
  const cluster = new Cluster()
  const address = await cluster.start({ handlers: { [kind]: () => answer } })
  const client = await cluster.connect(address)
  expect(await failureOf(client[kind]())).toMatchObject({ code: 'PROTOCOL_VIOLATION' })
})

test('decisions that are no texts are a violation', async () => {
  const cluster = new Cluster()
  const address = await cluster.start({ handlers: { decisions: () => [1] as unknown as string[] } })
  const client = await cluster.connect(address)
  expect(await failureOf(client.decisions())).toMatchObject({ code: 'PROTOCOL_VIOLATION' })
})
