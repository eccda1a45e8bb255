/**
 * The act that the demo is named for: the leader is killed in the middle of its writes and does not come back, a follower takes its
 * place, clients go on, and what was the leader returns as a follower.
 *
 * Nothing here promotes anybody: the nodes do, and the act looks at what clients get.
 */
import { count } from './display.ts'
import { readLostTails, type LostTails } from './lost-tail.ts'
import { seconds, type Stage } from './stage.ts'

export interface Failover {
  /** From the kill of the leader until a client had the answer to the first write that its successor took. */
  readonly failoverMs: number
  /** What the killed leader alone had. */
  readonly lostTails: LostTails
}

export async function failoverAct(stage: Stage): Promise<Failover> {
  const { display, workload } = stage
  display.step(
    'The leader is killed with SIGKILL in the middle of its writes, for good; a follower takes its place',
  )
  const dead = stage.leader
  await foretold(stage, dead)
  const failoverMs = await succeeded(stage, dead)
  await stage.commits(stage.enough)
  display.step(`${dead} is started again: it finds that ${stage.leader} leads, and follows`)
  const startedAt = stage.clock.monotonic()
  const returned = stage.cluster.start(dead)
  await returned.ready
  await stage.caughtUp(stage.followers)
  const lostTails = readLostTails(stage.cluster.directory(dead))
  const took = seconds(stage.clock.monotonic() - startedAt)
  display.note(
    `${dead} is back as process ${returned.pid}, and streams from ${stage.leader} within ${took} s of its start`,
  )
  display.note(describe(dead, lostTails))
  await stage.commits(stage.enough)
  display.note(`${count(workload.commits)} writes so far, and not one of them failed`)
  return { failoverMs, lostTails }
}

/** Waits until the nodes say that they would replace the leader, losing nothing. */
async function foretold(stage: Stage, leader: string): Promise<void> {
  const { display, monitor } = stage
  const fits = (): boolean => {
    const { forecast } = monitor.view(leader)
    return forecast?.outcome === 'promote' && forecast.mayLose === undefined
  }
  await stage.until(fits, `${leader} could be replaced without a loss`)
  const ms = monitor.view(leader).forecast?.tookMs ?? 0
  display.note(
    `${leader} foresees: if it died now, a follower would lead in about ${seconds(ms)} s, and no acknowledged write would be lost`,
  )
}

/** Kills the leader, and waits for the first write of the next one. Resolves with the milliseconds between. */
async function succeeded(stage: Stage, dead: string): Promise<number> {
  const { display, workload, clock, cluster } = stage
  await stage.until(() => workload.underWay > 1, 'several writes were under way')
  const killedAt = clock.monotonic()
  const { epoch } = workload.leading
  const { underWay, replayed } = workload
  await cluster.process(dead).kill()
  const isSucceeded = (): boolean => workload.leading.epoch > epoch && workload.leading.name !== dead
  await stage.until(isSucceeded, `another node than ${dead} took a write`)
  const { name, epoch: next, sinceMs } = workload.leading
  const failoverMs = Math.round(sinceMs - killedAt)
  display.note(
    `${name} leads epoch ${next}: its first write was acknowledged ${seconds(failoverMs)} s after the kill`,
  )
  // Every writer had at most one: with so many more answers all of them have theirs.
  await stage.commits(underWay)
  const known = workload.replayed - replayed
  display.note(
    `${underWay} writes were under way; clients sent them again, and ${name} had ${known} of them already`,
  )
  return failoverMs
}

function describe(node: string, { records, rows, ids }: LostTails): string {
  if (ids.length === 0) return `${node} had nothing that the others lack: no lost tail`
  const what = `${records === 1 ? '1 record' : `${count(records)} records`} with ${count(rows)} changed rows`
  return `its lost tail is kept: ${what} that nobody else had (${ids.join(', ')})`
}
