/**
 * What `run` and `attach` do once there is a job: show its output, pass interruptions on, end with its code. And leave it
 * alone when the terminal goes away.
 */
import os from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { CorralError } from '../../protocol/index.ts';
import type { Client } from '../index.ts';
import { exitCodeOf, exitCodes, explainEnd } from './exit-code.ts';
import { ReaderGoneError, say, sayDropped, sayGone, write } from './print.ts';
import { sayWhyItWaits } from './why-it-waits.ts';

export interface AttachedJob {
  readonly id: number;
  readonly splitOutput: boolean;
}

export interface AttachOptions {
  /** Begin with the last so many lines of what there is. Absent: with the first. */
  readonly tailLines?: number;
  /** What becomes of the job when its output cannot be written any more. It is the caller's own only if the caller started it. */
  readonly whenUnwritable: 'cancel' | 'leave';
}

/** How long answers that are under way when the terminal goes away may take. */
const lastAnswersMs = 2_000;

/**
 * Stays with a job until it has ended, or the terminal has gone.
 *
 * @param find submits the job, or looks it up. A signal that comes meanwhile is not lost.
 * @returns the exit code of the verb
 */
export async function stayAttached(
  client: Client,
  find: () => Promise<AttachedJob>,
  options: AttachOptions,
): Promise<number> {
  const signals = new Signals(client);
  const over = new AbortController();
  const finding = find();
  const staying = finding.then((job) => {
    signals.aimAt(job.id);
    void sayWhyItWaits(client, job.id, over.signal);
    return showUntilEnded(client, job, signals, options);
  });
  try {
    const outcome = await Promise.race([staying, signals.hangup]);
    if (outcome !== 'hangup') return outcome;
  } catch (error) {
    if (!(error instanceof ReaderGoneError && error.reader === 'terminal')) throw error;
  } finally {
    over.abort();
  }
  return await detach(finding, signals);
}

async function showUntilEnded(
  client: Client,
  { id, splitOutput }: AttachedJob,
  signals: Signals,
  { tailLines, whenUnwritable }: AttachOptions,
): Promise<number> {
  const streams = splitOutput ? (['stdout', 'stderr'] as const) : (['stdout'] as const);
  // From the first attempt on, or from the end of the newest.
  const from = tailLines === undefined ? { firstAttempt: 1 } : { tailLines };
  const logsOptions = { follow: true, onDropped: sayDropped, ...from };
  const copy = async (stream: 'stdout' | 'stderr') => {
    const gone = stream === 'stdout' ? { onAttemptsGone: sayGone } : {}; // Said once, for both.
    for await (const piece of client.logs(id, { ...logsOptions, ...gone, stream })) await write(process[stream], piece);
  };
  try {
    await Promise.all(streams.map(copy));
  } catch (error) {
    const pipeIsGone = error instanceof ReaderGoneError && error.reader === 'pipe';
    const isUnwritable = error instanceof CorralError && error.code === 'OUTPUT_UNWRITABLE';
    if (!pipeIsGone && !isUnwritable) throw error;
    if (whenUnwritable === 'cancel') {
      // Like any program whose reader has gone or whose disk is full, the job ends.
      await client.cancel(id);
      await client.wait(id);
    }
    if (!isUnwritable) return 128 + os.constants.signals.SIGPIPE;
    const fate = whenUnwritable === 'cancel' ? 'was cancelled' : 'goes on';
    throw new CorralError(error.code, `${error.message} Job ${id} ${fate}; what it printed is kept: corral logs ${id}`);
  }
  const [job] = await client.wait(id);
  if (job === undefined)
    throw new CorralError('INTERNAL', `The daemon lost track of job ${id}. Look for it: corral show ${id}`);
  if (signals.exitCode !== null && job.cause === 'cancel') return signals.exitCode;
  const explanation = explainEnd(job);
  if (explanation !== null) say(explanation);
  return exitCodeOf(job);
}

/** The terminal has gone: the job goes on without us. A submit that was sent is answered first, so that its job has a name. */
async function detach(finding: Promise<AttachedJob>, signals: Signals): Promise<number> {
  const job = await inTime(finding);
  await inTime(signals.cancelling);
  if (job === null)
    say('the terminal went away before the daemon answered. See whether it took the job: corral ls --all');
  else if (signals.exitCode !== null)
    say(`the terminal went away while job ${job.id} was being cancelled. See: corral show ${job.id}`);
  else say(`the terminal went away; job ${job.id} goes on. Come back: corral attach ${job.id}`);
  return exitCodes.detached;
}

function inTime<T>(answer: Promise<T>): Promise<T | null> {
  return Promise.race([answer, delay(lastAnswersMs, null, { ref: false })]);
}

/**
 * Passes interruptions on to the job: the first cancels it gracefully, a second kills. One that comes before the job has an
 * id is carried out when it has.
 */
class Signals {
  readonly #client: Client;
  readonly #hangup = Promise.withResolvers<'hangup'>();
  #jobId: number | null = null;
  #count = 0;
  /** The exit code for a job that was cancelled from here; `null` where nobody interrupted. */
  exitCode: number | null = null;
  /** Settles when the daemon has answered the newest cancel. */
  cancelling: Promise<void> = Promise.resolve();

  constructor(client: Client) {
    this.#client = client;
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => this.#interrupt(signal));
    process.on('SIGHUP', () => this.#hangup.resolve('hangup'));
  }

  /** Resolves when the terminal was closed, or the connection to it lost. */
  get hangup(): Promise<'hangup'> {
    return this.#hangup.promise;
  }

  aimAt(jobId: number): void {
    this.#jobId = jobId;
    if (this.#count > 0) this.#cancel(jobId);
  }

  #interrupt(signal: 'SIGINT' | 'SIGTERM'): void {
    this.exitCode ??= 128 + os.constants.signals[signal];
    this.#count += 1;
    if (this.#jobId !== null) this.#cancel(this.#jobId);
  }

  #cancel(jobId: number): void {
    const mode = this.#count === 1 ? 'graceful' : 'kill';
    say(mode === 'graceful' ? `cancelling job ${jobId}; once more to kill it` : `killing job ${jobId}`);
    this.cancelling = this.#client.cancel(jobId, { mode }).then(
      () => undefined,
      (error: unknown) => {
        say(`job ${jobId} could not be cancelled: ${error instanceof Error ? error.message : error}`);
      },
    );
  }
}
