/** How far a matrix is: a bar with the time left on a terminal, a line for each step elsewhere. */
import cliProgress from 'cli-progress'
import type { MatrixReporter } from '../matrix/runner.ts'

/** Measurements on which the time left is reckoned. */
const ETA_STEPS = 20

/** `say` is for where lines do not move. */
export function progress(say: (line: string) => void, clock: { now(): number }): MatrixReporter {
  return process.stderr.isTTY ? bar() : lines(say, clock)
}

function bar(): MatrixReporter {
  const shown = new cliProgress.SingleBar({
    format: '{bar} {value}/{total}, {eta_formatted} left  {note}',
    etaBuffer: ETA_STEPS,
    hideCursor: true,
    stream: process.stderr,
  })
  return {
    begin: (measurements) => shown.start(measurements, 0, { note: '' }),
    step: (note) => shown.increment(1, { note }),
    note: (note) => shown.update({ note }),
    end: () => shown.stop(),
  }
}

export function lines(say: (line: string) => void, clock: { now(): number }): MatrixReporter {
  const state = { measurements: 0, done: 0, beganMs: 0 }
  return {
    begin: (measurements) => Object.assign(state, { measurements, done: 0, beganMs: clock.now() }),
    step: (note) => {
      state.done++
      const leftMs = ((clock.now() - state.beganMs) / state.done) * (state.measurements - state.done)
      say(`${state.done}/${state.measurements}, ${timeText(leftMs)} left: ${note}`)
    },
    note: say,
    end: () => undefined,
  }
}

export function timeText(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000)
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
