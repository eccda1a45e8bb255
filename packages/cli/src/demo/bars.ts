/** The demo in a terminal: bars that fill, and one line for each node that changes in place under what was printed. */
import { MultiBar, Presets, type SingleBar } from 'cli-progress'
import pc from 'picocolors'
import { count, nodeLine, type Display } from './display.ts'

const BAR = `{name} ${pc.cyan('{bar}')} {percentage} % of {amount}`

const CLEAR_TO_END = '\u001B[0K'

export function barDisplay(terminal: NodeJS.WritableStream): Display {
  const options = { stream: terminal, format: BAR, barsize: 30, hideCursor: true, gracefulExit: false }
  const bars = new MultiBar({ ...options, forceRedraw: true }, Presets.shades_classic)
  const progresses = new Map<string, SingleBar>()
  const finished = new Set<string>()
  const lines = new Map<string, SingleBar>()
  // A printed line takes the place of a bar, whose rest would stay behind it.
  const print = (text: string): void => bars.log(`${text}${CLEAR_TO_END}\n`)
  return {
    step: (text) => print(pc.bold(text)),
    note: (text) => print(`  ${text}`),
    progress(name, done, total, unit) {
      if (finished.has(name)) return
      const amount = `${count(total)} ${unit}`
      const bar = progresses.get(name) ?? bars.create(total, 0, { name: name.padEnd(12), amount })
      progresses.set(name, bar)
      bar.setTotal(total)
      bar.update(done, { amount })
      if (done < total) return
      // A full bar becomes a line above, so that the nodes stay together below.
      bars.remove(bar)
      progresses.delete(name)
      finished.add(name)
      print(`  ${name}: ${amount}`)
    },
    nodes(views) {
      for (const view of views) {
        const line = lines.get(view.name) ?? bars.create(1, 0, {}, { format: '  {line}' })
        lines.set(view.name, line)
        line.update({ line: nodeLine(view) })
      }
    },
    close() {
      bars.update()
      bars.stop()
    },
  }
}
