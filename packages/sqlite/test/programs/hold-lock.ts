/** Another process: locks the directory of its argument, says so, and waits to be killed. */
import { lockDirectory } from '@understudy/sqlite'

lockDirectory(String(process.argv[2]))
process.stdout.write('locked\n')
setInterval(() => {}, 1000)
