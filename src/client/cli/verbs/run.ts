import os from 'node:os';
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
    .action(withClient(run, { noDaemonCode: exitCodes.ourFailure }));
}

type Flags = Parameters<typeof jobRequest>[1];

async function run(client: Client, words: string[], flags: Flags): Promise<number> {
  const request = jobRequest(words, flags);
  const interruption = new Interruption(client);
  const { id } = await client.submit(request);
  interruption.aimAt(id);
  const streams = flags.splitOutput ? (['stdout', 'stderr'] as const) : (['stdout'] as const);
  try {
    await Promise.all(streams.map((stream) => copyOutput(client, id, stream)));
  } catch (error) {
    const isPipe = isErrno(error, 'EPIPE');
    if (!isPipe && !(error instanceof CorralError && error.code === 'OUTPUT_UNWRITABLE')) throw error;
    // Like any program whose reader has gone or whose disk is full, the job ends.
    await client.cancel(id);
    await client.wait(id);
    if (isPipe) return 128 + os.constants.signals.SIGPIPE;
    throw new CorralError(
      error.code,
      `${error.message} Job ${id} was cancelled; what it printed is kept: corral logs ${id}`,
    );
  }
  const [job] = await client.wait(id);
  if (job === undefined)
    throw new CorralError('INTERNAL', `The daemon lost track of job ${id}. Look for it: corral show ${id}`);
  if (interruption.exitCode !== null && job.cause === 'cancel') return interruption.exitCode;
  const explanation = explainEnd(job);
  if (explanation !== null) say(explanation);
  return exitCodeOf(job);
}

/**
 * Passes interruptions on to the job. The first, be it Ctrl-C, SIGTERM or a closed terminal, cancels it gracefully; a second
 * kills. One that comes before the job has an id is carried out when it has.
 */
class Interruption {
  readonly #client: Client;
  #jobId: number | null = null;
  #count = 0;
  exitCode: number | null = null;

  constructor(client: Client) {
    this.#client = client;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => this.#interrupt(signal));
  }

  aimAt(jobId: number): void {
    this.#jobId = jobId;
    if (this.#count > 0) this.#cancel(jobId);
  }

  #interrupt(signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP'): void {
    this.exitCode ??= 128 + os.constants.signals[signal];
    this.#count += 1;
    if (this.#jobId !== null) this.#cancel(this.#jobId);
  }

  #cancel(jobId: number): void {
    const mode = this.#count === 1 ? 'graceful' : 'kill';
    say(mode === 'graceful' ? `cancelling job ${jobId}; once more to kill it` : `killing job ${jobId}`);
    this.#client.cancel(jobId, { mode }).catch((error: unknown) => {
      say(`job ${jobId} could not be cancelled: ${error instanceof Error ? error.message : error}`);
    });
  }
}

async function copyOutput(client: Client, jobId: number, stream: 'stdout' | 'stderr'): Promise<void> {
  const target = process[stream];
  for await (const piece of client.logs(jobId, { follow: true, stream })) await write(target, piece);
}
