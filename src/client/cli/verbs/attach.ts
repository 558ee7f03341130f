import type { Command } from 'commander';
import type { Client } from '../../index.ts';
import { stayAttached } from '../attached.ts';
import { exitCodes } from '../exit-code.ts';
import { asJobId } from '../job-ids.ts';
import { asLineCount } from '../job-options.ts';
import { withClient } from '../session.ts';

/** As many as tail -f and journalctl -f begin with. */
const usualLines = 10;

interface Flags {
  readonly lines: number | 'all';
}

export function addAttach(program: Command): void {
  program
    .command('attach')
    .description('come back to a job: show its output, exit with its code')
    .argument('<id>', 'job id', asJobId)
    .option('-n, --lines <count>', 'begin with the last so many lines, or all', asLineCount, usualLines)
    .addHelpText(
      'after',
      `
Example: corral attach 7
Example: corral attach -n all 7
Ctrl-C cancels the job (SIGTERM, its grace, SIGKILL); a second Ctrl-C kills it at once. To look on only: corral logs -f 7
If the terminal goes away, the job goes on. A job that has ended is shown, and its code passed on, at once.`,
    )
    .action(withClient(attach, { noDaemonCode: exitCodes.ourFailure }));
}

function attach(client: Client, jobId: number, { lines }: Flags): Promise<number> {
  const find = () => client.get(jobId);
  return stayAttached(client, find, {
    whenUnwritable: 'leave',
    ...(lines === 'all' ? {} : { tailLines: lines }),
  });
}
