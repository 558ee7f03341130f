export { type ConfigStatus, LiveConfig } from './live.ts';
export type { Config } from './read.ts';
