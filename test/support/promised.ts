import os from 'node:os';

/** More processes than this that want to run, for each processor, and a machine does not keep up. */
const mostPerProcessor = 2;

/** How much longer what is promised may take there: whoever is promised a second shares the processors with nobody. */
const patience = 5;

/** The time in which something is promised to be done. A machine that has more to do than it can is given more of it. */
export function promisedMs(ms: number): number {
  const isBusy = (os.loadavg()[0] ?? 0) > mostPerProcessor * os.availableParallelism();
  return isBusy ? patience * ms : ms;
}
