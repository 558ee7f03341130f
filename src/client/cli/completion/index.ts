export { type Candidate, type Completion, complete, type JobChoice, type Live } from './candidates.ts';
export { liveDaemon } from './live.ts';
export { completionScripts, type Shell } from './scripts.ts';
