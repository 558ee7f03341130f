import type { Command } from 'commander';
import type { Client } from '../../index.ts';
import { asJobIds } from '../job-ids.ts';
import { inBulk, withClient } from '../session.ts';

export function addCancel(program: Command): void {
  program
    .command('cancel')
    .description('end jobs: SIGTERM to every process, the grace of the job, SIGKILL')
    .argument('<ids...>', 'job ids or ranges', asJobIds)
    .option('-9, --kill', 'SIGKILL at once')
    .option('-w, --wait', 'return when every process of theirs is gone')
    .option('--json', 'print the report as JSON')
    .addHelpText('after', '\nExample: corral cancel 3..9 --wait')
    .action(
      withClient(async (client: Client, jobIds: number[], flags: { kill?: true; wait?: true; json?: true }) => {
        const mode = flags.kill ? 'kill' : 'graceful';
        const code = await inBulk(jobIds, (piece) => client.cancel(piece, { mode }), flags.json ?? false);
        if (flags.wait && code === 0) await client.wait(jobIds);
        return code;
      }),
    );
}
