import type { Command } from 'commander';
import { CorralError, isErrno } from '../../../protocol/index.ts';
import type { Client } from '../../index.ts';
import { exitCodeOf, exitCodes, explainEnd } from '../exit-code.ts';
import { addJobOptions, jobRequest } from '../job-options.ts';
import { say, write } from '../print.ts';
import { withClient } from '../session.ts';

export function addRun(program: Command): void {
  addJobOptions(program.command('run'))
    .description('run a job, show its output, exit with its code')
    .argument('[command...]', 'program and arguments')
    .passThroughOptions()
    .addHelpText(
      'after',
      '\nExample: corral run --max-runtime 10m -- make test\nCtrl-C cancels the job (SIGTERM, its grace, SIGKILL); a second Ctrl-C kills it at once.',
    )
    .action(withClient(run));
}

type Flags = Parameters<typeof jobRequest>[1];

async function run(client: Client, words: string[], flags: Flags): Promise<number> {
  const { id } = await client.submit(jobRequest(words, flags));
  const interruption = forwardInterrupts(client, id);
  const streams = flags.splitOutput ? (['stdout', 'stderr'] as const) : (['stdout'] as const);
  try {
    await Promise.all(streams.map((stream) => copyOutput(client, id, stream)));
  } catch (error) {
    if (!isErrno(error, 'EPIPE')) throw error;
    // Like any program whose reader has gone, the job ends.
    await client.cancel(id);
    await client.wait(id);
    return 128 + 13;
  }
  const [job] = await client.wait(id);
  if (job === undefined)
    throw new CorralError('INTERNAL', `The daemon lost track of job ${id}. Look for it: corral show ${id}`);
  const interrupted = interruption.exitCode();
  if (interrupted !== null && job.cause === 'cancel') return interrupted;
  const explanation = explainEnd(job);
  if (explanation !== null) say(explanation);
  return exitCodeOf(job);
}

/** First Ctrl-C: cancel gracefully. Second: kill. SIGTERM and a closed terminal count as the first. */
function forwardInterrupts(client: Client, jobId: number): { exitCode: () => number | null } {
  let first: 'SIGINT' | 'SIGTERM' | null = null;
  const onSignal = (signal: 'SIGINT' | 'SIGTERM') => {
    const mode = first === null ? 'graceful' : 'kill';
    first ??= signal;
    say(mode === 'graceful' ? `cancelling job ${jobId}; once more to kill it` : `killing job ${jobId}`);
    client
      .cancel(jobId, { mode })
      .catch((error: unknown) =>
        say(`job ${jobId} could not be cancelled: ${error instanceof Error ? error.message : error}`),
      );
  };
  process.on('SIGINT', () => onSignal('SIGINT'));
  process.on('SIGTERM', () => onSignal('SIGTERM'));
  return { exitCode: () => (first === null ? null : first === 'SIGINT' ? exitCodes.interrupted : 128 + 15) };
}

async function copyOutput(client: Client, jobId: number, stream: 'stdout' | 'stderr'): Promise<void> {
  const target = process[stream];
  for await (const piece of client.logs(jobId, { follow: true, stream })) await write(target, piece);
}
