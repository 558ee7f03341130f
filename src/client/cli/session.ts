import { type BulkReport, CorralError, maxJobIds } from '../../protocol/index.ts';
import { type Client, type ConnectOptions, connect } from '../index.ts';
import { exitCodes } from './exit-code.ts';
import { asRanges } from './job-ids.ts';
import { say, sayError } from './print.ts';

export interface VerbOptions extends ConnectOptions {
  /** `run` and `wait` pass on the code of a job: an absent daemon must not look like a job that exited with 3. */
  readonly noDaemonCode?: number;
}

/** Runs a verb with a connection and makes what it returns, or throws, the exit code. */
export function withClient<A extends unknown[]>(
  verb: (client: Client, ...args: A) => Promise<number>,
  options: VerbOptions = {},
) {
  return async (...args: A): Promise<void> => {
    process.exitCode = await exitCodeFrom(async () => {
      await using client = await connect({ onNotice: say, ...options });
      return await verb(client, ...args);
    }, options.noDaemonCode);
  };
}

/** Errors of ours become a line and a code; anything else is a defect, and shows as one. */
export async function exitCodeFrom(
  work: () => Promise<number>,
  noDaemonCode: number = exitCodes.notRunning,
): Promise<number> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof CorralError)) throw error;
    const code = sayError(error);
    return code === exitCodes.notRunning ? noDaemonCode : code;
  }
}

/** Does bulk work in pieces that the daemon takes, and says for each job that failed why. */
export async function inBulk(
  jobIds: readonly number[],
  work: (piece: number[]) => Promise<BulkReport>,
  json: boolean,
): Promise<number> {
  const total: BulkReport = { requested: 0, done: 0, failed: 0, errors: [] };
  for (let at = 0; at < jobIds.length; at += maxJobIds) {
    const report = await work(jobIds.slice(at, at + maxJobIds));
    total.requested += report.requested;
    total.done += report.done;
    total.failed += report.failed;
    total.errors.push(...report.errors);
  }
  if (json) process.stdout.write(`${JSON.stringify(total, null, 2)}\n`);
  else for (const line of reasons(total.errors)) say(line);
  return total.failed === 0 ? 0 : exitCodes.partial;
}

const foldedReasons: Readonly<Record<string, string>> = {
  JOB_NOT_FOUND: 'do not exist (all that do: corral ls --all)',
  JOB_RUNNING: 'have not ended, so they cannot be removed; end them first (corral cancel)',
  JOB_NOT_RUNNING: 'do not run, so they cannot be signalled',
};

/** Why jobs failed: a line for each reason, not for each of the thousand jobs of a range. */
function reasons(errors: BulkReport['errors']): string[] {
  return [...Map.groupBy(errors, ({ code }) => code)].map(([code, same]) => {
    const [first] = same;
    if (first !== undefined && same.length === 1) return first.message;
    const count = same.length.toLocaleString('en');
    return `${count} of these ${foldedReasons[code] ?? `failed with ${code}`}: ${asRanges(same.map(({ jobId }) => jobId))}`;
  });
}
