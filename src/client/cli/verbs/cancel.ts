import type { Command } from 'commander';
import { liveStatuses } from '../../../protocol/index.ts';
import { addBulkVerb } from '../bulk.ts';

export function addCancel(program: Command): void {
  addBulkVerb<{ kill?: true; wait?: true }>(program, {
    name: 'cancel',
    description: 'end jobs: SIGTERM to every process, the grace of the job, SIGKILL',
    participle: 'cancelled',
    statuses: liveStatuses,
    example: 'corral cancel 3..9 --wait',
    options: (command) =>
      command
        .option('-9, --kill', 'SIGKILL at once')
        .option('-w, --wait', 'return when every process of theirs is gone'),
    work: (client, jobIds, { kill }) => client.cancel(jobIds, { mode: kill ? 'kill' : 'graceful' }),
    afterwards: async (client, jobIds, { wait }) => {
      if (wait && jobIds.length > 0) await client.wait(jobIds);
    },
  });
}
