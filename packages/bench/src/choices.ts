/** What callers choose by name, and numbers that they give: the same checks for every benchmark. All throw `INVALID_ARGUMENT`. */
import { UnderstudyError } from '@understudy/contracts'

/** Those of `known` that were chosen, in its order; all of them without a choice. `kind` names one of them. */
export function chosen<N extends string>(
  names: readonly string[] | undefined,
  known: readonly N[],
  kind: { readonly one: string; readonly many: string },
): readonly N[] {
  if (names === undefined || names.length === 0) return known
  const unknown = names.find((name) => !known.includes(name as N))
  if (unknown === undefined) return known.filter((name) => names.includes(name))
  throw nothingMeasured(`There is no ${kind.one} ${unknown}`, `${kind.many}: ${known.join(', ')}.`)
}

export interface Measurements<S extends string, F extends string> {
  /** In the order in which they run. */
  readonly scenarios: readonly S[]
  readonly figures: readonly F[]
  /** Which scenario measures a figure. */
  readonly scenarioOf: (figure: F) => S
}

/** The scenarios that were chosen, by their own names or by those of figures; all of them without a choice. */
export function scenariosFor<S extends string, F extends string>(
  names: readonly string[] | undefined,
  { scenarios, figures, scenarioOf }: Measurements<S, F>,
): readonly S[] {
  if (names === undefined || names.length === 0) return scenarios
  const wanted = new Set<string>()
  for (const name of names) {
    const isFigure = figures.includes(name as F)
    if (!isFigure && !scenarios.includes(name as S))
      throw nothingMeasured(
        `There is no figure or scenario ${name}`,
        `Scenarios: ${scenarios.join(', ')}. Figures: ${figures.join(', ')}.`,
      )
    wanted.add(isFigure ? scenarioOf(name as F) : name)
  }
  return scenarios.filter((name) => wanted.has(name))
}

/** The value. */
export function positive(name: string, value: number, whole: boolean = false): number {
  if (value > 0 && Number.isFinite(value) && (!whole || Number.isInteger(value))) return value
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `${name} is ${value}; give a positive ${whole ? 'integer' : 'number'}. Nothing was measured.`,
  )
}

function nothingMeasured(what: string, advice: string): UnderstudyError {
  return new UnderstudyError('INVALID_ARGUMENT', `${what}; nothing was measured. ${advice}`)
}
