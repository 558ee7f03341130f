/** What the guardian becomes when the daemon has died: ends by their mark the processes that are left, and removes the leaves. */
import { removeLeaves } from './cgroup-tree.ts';
import { sweepProcesses } from './sweep.ts';

const [instance = '', killSwitch = ''] = process.argv.slice(2);
await sweepProcesses({ instance: Number(instance), leaders: [] });
if (killSwitch !== '') removeLeaves(killSwitch);
