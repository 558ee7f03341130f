import { type Command, InvalidArgumentError } from 'commander';
import { type SignalName, signalNames } from '../../../protocol/index.ts';
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

export function addKill(program: Command): void {
  program
    .command('kill')
    .description('send a signal to every process of running jobs')
    .argument('<ids...>', 'job ids or ranges', asJobIds)
    .option('-s, --signal <signal>', 'such as TERM, USR1 or KILL', asSignal, 'SIGTERM')
    .option('--json', 'print the report as JSON')
    .addHelpText('after', '\nExample: corral kill -s USR1 7')
    .action(
      withClient((client: Client, jobIds: number[], flags: { signal: SignalName; json?: true }) =>
        inBulk(jobIds, (piece) => client.signal(piece, flags.signal), flags.json ?? false),
      ),
    );
}

export function addRm(program: Command): void {
  program
    .command('rm')
    .description('delete the record and the output of jobs that have ended')
    .argument('<ids...>', 'job ids or ranges', asJobIds)
    .option('--json', 'print the report as JSON')
    .addHelpText('after', '\nExample: corral rm 3..9')
    .action(
      withClient((client: Client, jobIds: number[], flags: { json?: true }) =>
        inBulk(jobIds, (piece) => client.remove(piece), flags.json ?? false),
      ),
    );
}

function asSignal(text: string): SignalName {
  const upper = text.toUpperCase();
  const found = signalNames.find((name) => name === upper || name === `SIG${upper}`);
  if (found === undefined)
    throw new InvalidArgumentError(`Known signals: ${signalNames.map((name) => name.slice(3)).join(', ')}.`);
  return found;
}
