import os from 'node:os';
import { type Command, InvalidArgumentError } from 'commander';
import { type SignalName, signalNames } from '../../../protocol/index.ts';
import { addBulkVerb } from '../bulk.ts';

export function addKill(program: Command): void {
  addBulkVerb<{ signal: SignalName }>(program, {
    name: 'kill',
    description: 'send a signal to every process of running jobs',
    participle: 'signalled',
    statuses: ['running', 'stopping'],
    example: 'corral kill -s USR1 7',
    options: (command) =>
      command.option('-s, --signal <signal>', 'by name or number, such as TERM, SIGUSR1 or 9', asSignal, 'SIGTERM'),
    work: (client, jobIds, { signal }) => client.signal(jobIds, signal),
  });
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
