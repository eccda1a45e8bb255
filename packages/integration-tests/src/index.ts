/** The simulation, for programs that run it. */
export { simulate, type Outcome } from './simulation/simulation.ts'
export { drawShape, type Shape } from './simulation/shape.ts'
