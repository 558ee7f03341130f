export { inspectStore, type StoreInspection } from './check.ts';
export { settingAside } from './file.ts';
export { schemaVersion } from './schema.ts';
export { SqliteStore } from './sqlite.ts';
export type { EventQuery, JobQuery, SketchQuery, Snapshot, Store } from './store.ts';
