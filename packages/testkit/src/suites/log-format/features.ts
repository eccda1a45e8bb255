/** The features of SQLite that every log format is tried with, in the order of the README's table. */
import { ALTER_FEATURES } from './alter-features.ts'
import { CONTEXT_FEATURES } from './context-features.ts'
import { EFFECT_FEATURES } from './effect-features.ts'
import { KEY_FEATURES } from './key-features.ts'
import { LARGE_FEATURES } from './large-features.ts'
import { ROW_FEATURES } from './row-features.ts'
import { SCHEMA_FEATURES } from './schema-features.ts'
import { STATEMENT_FEATURES } from './statement-features.ts'
import { VALUE_FEATURES } from './value-features.ts'
import { VIRTUAL_FEATURES } from './virtual-features.ts'
import type { Feature } from './types.ts'

export const FEATURES: readonly Feature[] = [
  ...ROW_FEATURES,
  ...EFFECT_FEATURES,
  ...VALUE_FEATURES,
  ...VIRTUAL_FEATURES,
  ...SCHEMA_FEATURES,
  ...ALTER_FEATURES,
  ...STATEMENT_FEATURES,
  ...KEY_FEATURES,
  ...CONTEXT_FEATURES,
  ...LARGE_FEATURES,
]
