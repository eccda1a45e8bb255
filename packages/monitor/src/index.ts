/** Shows a node to operators: Prometheus metrics, health, readiness, status and events over HTTP. */
export { startMonitor, type Monitor } from './monitor.ts'
export { MONITOR_LIMITS, type MonitorLimits, type MonitorOptions } from './options.ts'
export { healthOf, type Health, type Reason } from './health.ts'
export { roleOf, type RoleAnswer } from './roles.ts'
export { readinessOf, stalenessOf, type Readiness, type ReadinessQuestion } from './readiness.ts'
