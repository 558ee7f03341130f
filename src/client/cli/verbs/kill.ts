import os from 'node:os';
import { type Command, InvalidArgumentError } from 'commander';
import { type SignalName, signalNames } from '../../../protocol/index.ts';
import type { Client } from '../../index.ts';
import { asJobIds } from '../job-ids.ts';
import { inBulk, withClient } from '../session.ts';

export function addKill(program: Command): void {
  program
    .command('kill')
    .description('send a signal to every process of running jobs')
    .argument('<ids...>', 'job ids or ranges', asJobIds)
    .option('-s, --signal <signal>', 'by name or number, such as TERM, SIGUSR1 or 9', asSignal, 'SIGTERM')
    .option('--json', 'print the report as JSON')
    .addHelpText('after', '\nExample: corral kill -s USR1 7')
    .action(
      withClient((client: Client, jobIds: number[], flags: { signal: SignalName; json?: true }) =>
        inBulk(jobIds, (piece) => client.signal(piece, flags.signal), flags.json ?? false),
      ),
    );
}

/** As kill(1) takes it: `TERM`, `term`, `SIGTERM` or `15`. */
function asSignal(text: string): SignalName {
  const upper = text.toUpperCase();
  const found = signalNames.find(
    (name) => name === upper || name === `SIG${upper}` || String(os.constants.signals[name]) === text,
  );
  if (found === undefined)
    throw new InvalidArgumentError(`Known signals: ${signalNames.map((name) => name.slice(3)).join(', ')}.`);
  return found;
}
