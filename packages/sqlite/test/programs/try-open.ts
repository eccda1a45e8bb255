/** Another process: tries to open a storage in, and to lock, the directory of its argument; prints the codes of the errors. */
import { join } from 'node:path'
import { lockDirectory, openStorage } from '@understudy/sqlite'

const directory = String(process.argv[2])
const codes = [() => openStorage({ path: join(directory, 'data.db') }), () => lockDirectory(directory)].map(
  (attempt) => {
    try {
      attempt()
      return undefined
    } catch (error) {
      return (error as { code?: string }).code
    }
  },
)
process.stdout.write(JSON.stringify(codes))
