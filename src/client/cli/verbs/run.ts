import type { Command } from 'commander';
import type { Client } from '../../index.ts';
import { stayAttached } from '../attached.ts';
import { exitCodes } from '../exit-code.ts';
import { addJobOptions, jobRequest } from '../job-options.ts';
import { printSettled } from '../policies.ts';
import { say } from '../print.ts';
import { withClient } from '../session.ts';

export function addRun(program: Command): void {
  addJobOptions(program.command('run'))
    .description('run a job, show its output, exit with its code')
    .argument('[command...]', 'program and arguments')
    .option('--dry-run', 'run nothing: print the job as it would be, its policies, and where each comes from')
    .option('--json', 'with --dry-run: print JSON')
    .passThroughOptions()
    .addHelpText(
      'after',
      `
Example: corral run --max-runtime 10m -- make test
Ctrl-C cancels the job (SIGTERM, its grace, SIGKILL); a second Ctrl-C kills it at once.
If the terminal goes away, the job goes on: corral attach ID comes back to it.`,
    )
    .action(withClient(run, { noDaemonCode: exitCodes.ourFailure }));
}

type Flags = Parameters<typeof jobRequest>[1] & { dryRun?: true; json?: true };

async function run(client: Client, words: string[], flags: Flags): Promise<number> {
  const request = jobRequest(words, flags);
  if (flags.dryRun) {
    printSettled(await client.settle(request), flags.json ? 'json' : 'text');
    return 0;
  }
  const submit = async () => {
    const { id, warnings = [] } = await client.submit(request);
    for (const warning of warnings) say(warning);
    return { id, splitOutput: flags.splitOutput ?? false };
  };
  return stayAttached(client, submit, { whenUnwritable: 'cancel' });
}
