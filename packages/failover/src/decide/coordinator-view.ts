/** What a coordinator holds, as a decision sees it: ceilings of ids and addresses are no part of who leads. */
import type { Observation } from '@understudy/contracts'
import type { CoordinatorView } from './observations.ts'

export function coordinatorView({ revision, state, lease }: Observation): CoordinatorView {
  return {
    kind: 'reachable',
    revision,
    ...(state && {
      state: {
        epoch: state.epoch,
        runId: state.runId,
        ...(state.leader && { leader: state.leader.name }),
        acks: state.acks,
        paused: state.paused,
      },
    }),
    ...(lease && { lease: { holder: lease.holder, epoch: lease.epoch, freeAtMs: lease.freeAtMs } }),
  }
}
