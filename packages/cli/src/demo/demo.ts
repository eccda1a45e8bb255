/**
 * The demo, act by act: load, bootstrap two followers while writes go on, kill a follower, kill the leader for good, prove.
 *
 * Writers never stop before the proof. Every act ends when something was seen to be so, not after a time; one that
 * takes too long fails the demo.
 */
import { count } from './display.ts'
import { failoverAct, type Failover } from './failover-act.ts'
import { prove, type Proof } from './proof.ts'
import { failed, FOUNDER, NAMES, seconds, Stage, type DemoOptions } from './stage.ts'

export interface DemoResult extends Proof, Failover {
  /** Acknowledged writes. */
  readonly commits: number
  readonly seconds: number
}

/** Runs the demo. Everything it started has ended when this settles. Throws the reason of an act that did not hold. */
export async function runDemo(options: DemoOptions): Promise<DemoResult> {
  const { clock, signal } = options
  const startedAt = clock.monotonic()
  const stage = await Stage.prepare(options)
  const stopShowing = stage.show()
  const stopped = Promise.withResolvers<never>()
  stopped.promise.catch(() => {})
  const stop = (): void => stopped.reject(signal.reason)
  signal.addEventListener('abort', stop, { once: true })
  try {
    // Whatever goes wrong in a process or a writer ends the demo, whichever act it is at.
    const { lost } = stage.cluster
    const result = await Promise.race([acts(stage), lost, stage.workload.failed, stopped.promise])
    return { ...result, seconds: Number(seconds(clock.monotonic() - startedAt)) }
  } finally {
    signal.removeEventListener('abort', stop)
    stopShowing()
    await stage.close()
  }
}

async function acts(stage: Stage): Promise<Omit<DemoResult, 'seconds'>> {
  await load(stage)
  await bootstrap(stage)
  await killFollower(stage)
  const failover = await failoverAct(stage)
  return { ...failover, ...(await proveAll(stage)), commits: stage.workload.commits }
}

async function load({ display, cluster, workload, cities }: Stage): Promise<void> {
  display.step(`A leader is started, ${count(cities.length)} cities are loaded, and clients begin to write`)
  const leader = cluster.start(FOUNDER, true)
  await leader.ready
  display.note(`leader ${FOUNDER} is process ${leader.pid} at ${leader.address}`)
  await workload.load(cities, (rows) => display.progress('load', rows, cities.length, 'rows'))
}

async function bootstrap(stage: Stage): Promise<void> {
  const { display, cluster, workload } = stage
  display.step(
    'Two followers are started with empty directories, and bootstrap while the leader keeps writing',
  )
  const before = workload.commits
  const followers = NAMES.filter((name) => name !== FOUNDER)
  for (const name of followers) display.note(`follower ${name} is process ${cluster.start(name).pid}`)
  await stage.caughtUp(followers)
  const meanwhile = workload.commits - before
  if (meanwhile === 0) throw failed('Nothing was written while the followers bootstrapped.')
  display.note(`both stream; ${count(meanwhile)} writes were acknowledged meanwhile`)
  await workload.setAcks(`any 1 (${followers.join(', ')}) durable`)
  display.note(
    'acks are semi-synchronous from now on: a write is acknowledged once the leader and a follower have it on disk',
  )
}

async function killFollower(stage: Stage): Promise<void> {
  const { display, clock, cluster, monitor } = stage
  const [victim] = stage.followers
  display.step(`Follower ${victim} is killed with SIGKILL; the others go on without it`)
  await cluster.process(victim!).kill()
  await stage.commits(stage.enough)
  const restartedAt = clock.monotonic()
  const restarted = cluster.start(victim!)
  const position = String((await restarted.ready)['position'])
  const missed = monitor.view(stage.leader).lsn - Number(position.split('/')[1])
  display.note(
    `${victim} is back as process ${restarted.pid} at ${position}, ${count(missed)} records behind`,
  )
  await stage.caughtUp([victim!])
  display.note(`${victim} caught up within ${seconds(clock.monotonic() - restartedAt)} s of its start`)
}

async function proveAll(stage: Stage): Promise<Proof> {
  const { display, cluster, workload, cities } = stage
  display.step('The clients stop; everything they were promised is looked for, and all nodes are compared')
  await workload.stop()
  const [leader, ...followers] = await cluster.connect([stage.leader, ...stage.followers])
  try {
    return await prove(leader!, followers, cities, workload, (what) => display.note(what))
  } finally {
    await Promise.all([leader!, ...followers].map((client) => client.close()))
  }
}
