export { Alarm } from './alarm.ts';
export { Answers } from './answers.ts';
export { type Entry, Ledger } from './ledger.ts';
export { Pace } from './pace.ts';
export { ScopeWatchers } from './scope-watchers.ts';
export { logTransitions } from './transition-log.ts';
export { Watchers } from './watchers.ts';
