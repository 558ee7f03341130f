/** Why an attempt, or a job that never had one, ended. The first cause wins and is never overwritten. */
export const causes = [
  'exit',
  'signal',
  'spawn-error',
  'oom',
  'max-runtime',
  'idle',
  'lease',
  'scope',
  'cancel',
  'output-limit',
  'dependency',
  'supervisor-lost',
  'start-deadline',
  'reset',
] as const;
export type Cause = (typeof causes)[number];
