/**
 * The leader's side of a stream, as a follower gets it: Welcomes, records and heartbeats, changed on their way. Half of the
 * records that were changed get the checksums of what they became, so that what stands behind the checksum is tried.
 *
 * What is held against the bytes that arrived:
 *
 * 1. A record with a wrong checksum, or one that does not follow the one before, is never in the follower's log.
 * 2. What is in its log is what the leader has, or what arrived with right checksums in its place, bit for bit. A checksum
 *    proves no origin: over a network that others reach, TLS does.
 * 3. What it shows is what its log makes of an empty database, whoever wrote that log.
 */
import { redo } from '@understudy/replication'
import { MemoryStorage } from '@understudy/testkit'
import { Mutator, type Frame } from './mutator.ts'
import type { Position, RunContext } from './position.ts'
import { forge, isRecords, reseal, recordsIn } from './records.ts'
import { specimens } from './specimens.ts'
import { StreamWorld, type Disk, type Follower } from './stream-world.ts'

export const followersStream: Position = {
  name: "leader's side of a stream",
  weight: 12,
  frames: 3000,
  run,
}

async function run(context: RunContext): Promise<void> {
  const { random, watch, framesMax } = context
  const world = await StreamWorld.open(context)
  const recorded = await record(world)
  const records = recorded.filter(isRecords)
  const likely = Array.from({ length: 8 }, () => [...recorded, ...records]).flat()
  const mutator = new Mutator(random, [...likely, ...specimens()], 0.4)
  /** Records that arrived with right checksums and were never the leader's, as text. */
  const forged = new Set<string>()
  let follower = tapped(world, mutator, forged)
  while (watch.frames < framesMax) {
    for (let n = 0; n < 6 && follower.final() === undefined; n++) {
      await world.clock.advance(random.chance(0.1) ? 1500 : 4)
      watch.check()
    }
    const isForged = check(world, follower, forged)
    if (!isForged && follower.final() === undefined && random.chance(0.5)) continue
    await world.clock.complete(follower.following.close())
    await checkShown(world, follower)
    forged.clear()
    follower = tapped(world, mutator, forged)
  }
  await world.clock.complete(follower.following.close())
  await world.checkUntouched()
}

/** What a leader sends to a sound follower that starts from nothing. */
async function record(world: StreamWorld): Promise<Frame[]> {
  const frames: Frame[] = []
  world.transport.opened = (_, far) => {
    far.tap = (frame) => {
      frames.push(frame)
      return [frame]
    }
  }
  const follower = world.follow(world.emptyDisk(), 'recorded')
  await world.clock.advance(3000)
  await world.clock.complete(follower.following.close())
  world.transport.opened = undefined
  return frames
}

/** A follower from nothing whose every connection is changed on its way. */
function tapped(world: StreamWorld, mutator: Mutator, sound: Set<string>): Follower {
  const { random, watch } = world
  world.transport.opened = (_, far) => {
    // Records that end a connection are the last of it; so often a Welcome gets through.
    const damageChance = random.pick([0.3, 0.6, 0.9])
    far.tap = (frame) => {
      const isForged = isRecords(frame) && random.chance(damageChance / 2)
      if (isForged) return [forged(frame)]
      const changed = mutator.stream(frame, damageChance)
      const extra = random.chance(0.7)
        ? []
        : Array.from({ length: 1 + random.below(3) }, () => mutator.next())
      if (changed.length === 1 && changed[0] === frame && extra.length === 0) return changed
      const arriving = [...changed, ...extra].map((each) => (each === frame ? each : seal(each)))
      watch.sent(Math.max(1, arriving.length))
      return arriving
    }
  }
  const { log } = world.leader
  const seal = (frame: Frame): Frame =>
    !isRecords(frame) || random.chance(0.5) ? frame : noted(reseal(frame, random, log))
  const forged = (frame: Frame): Frame => {
    watch.sent()
    return noted(forge(frame, mutator, random, log))
  }
  const noted = (frame: Frame): Frame => {
    for (const { text } of recordsIn(frame)) sound.add(text)
    return frame
  }
  return world.follow(world.emptyDisk())
}

/** Whether the follower took a forged record; a breach if it took what could not be taken. */
function check(world: StreamWorld, { log }: Disk, forged: ReadonlySet<string>): boolean {
  const own = textsOf(log)
  const leaders = textsOf(world.leader.log)
  let isForged = false
  if (own.length > 0) world.watch.note('log held against the leader')
  for (const [index, text] of own.entries()) {
    if (text === leaders[index]) continue
    if (!isForged) world.watch.note('log with a forged record')
    isForged = true
    if (!forged.has(text))
      world.watch.fail(
        `record ${index + 1} of the follower is neither the leader's nor one that arrived sound`,
      )
  }
  return isForged
}

/** What a follower shows is made of its log and nothing else. */
async function checkShown(world: StreamWorld, { log, storage }: Disk): Promise<void> {
  const { clock, format, watch } = world
  if (storage.applied.lsn === 0) return
  if (storage.applied.lsn > log.durable) watch.fail('a follower shows more than it has durable')
  const again = new MemoryStorage({})
  const upTo = storage.applied.lsn
  await clock.complete(
    redo({ log, storage: again, formats: [format], clock, upTo, defer: (run) => clock.schedule(0, run) }),
  )
  if (again.digest() !== storage.digest()) watch.fail('a follower shows something else than its log says')
}

function textsOf(log: Disk['log']): string[] {
  const bytes = log.read(1, { bytesMax: 1 << 24, upTo: log.end.lsn })?.bytes
  return bytes === undefined ? [] : recordsIn(bytes, 0).map(({ text }) => text)
}
