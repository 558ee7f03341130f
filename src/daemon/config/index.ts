export { type ConfigStatus, LiveConfig } from './live.ts';
export { type Config, checkConfigFile, readConfig } from './read.ts';
export { showConfig } from './show.ts';
export { ConfigWatch } from './watch.ts';
