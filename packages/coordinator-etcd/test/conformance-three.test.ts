import { conformsWith } from './support/conformance.ts'

conformsWith(3)
