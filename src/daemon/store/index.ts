export { schemaVersion } from './schema.ts';
export { SqliteStore } from './sqlite.ts';
export type { EventQuery, JobQuery, Snapshot, Store } from './store.ts';
