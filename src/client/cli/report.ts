import type { BulkReport } from '../../protocol/index.ts';
import { inPieces } from '../pieces.ts';
import { exitCodes } from './exit-code.ts';
import { asRanges } from './job-ids.ts';
import { say } from './print.ts';

/** Jobs of one call: fewer than it may name, so that between two pieces the daemon has time for others. */
const pieceSize = 500;

/** Calls under way at once: while one is written down, the next is on its way. */
const callsUnderWay = 4;

/** Does bulk work in pieces, and says for each job that failed why. */
export async function reportOn(
  jobIds: readonly number[],
  work: (piece: number[]) => Promise<BulkReport>,
  json: boolean,
): Promise<BulkReport & { exitCode: number }> {
  const total: BulkReport = { requested: 0, done: 0, failed: 0, errors: [] };
  const pieces = inPieces([...new Set(jobIds)], pieceSize);
  const workThrough = async () => {
    for (let piece = pieces.shift(); piece !== undefined; piece = pieces.shift()) {
      const { requested, done, failed, errors } = await work(piece);
      total.requested += requested;
      total.done += done;
      total.failed += failed;
      total.errors.push(...errors);
    }
  };
  await Promise.all(Array.from({ length: callsUnderWay }, workThrough));
  total.errors.sort((a, b) => a.jobId - b.jobId);
  if (json) process.stdout.write(`${JSON.stringify(total, null, 2)}\n`);
  else for (const line of reasons(total.errors)) say(line);
  return { ...total, exitCode: total.failed === 0 ? 0 : exitCodes.partial };
}

const foldedReasons: Readonly<Record<string, string>> = {
  JOB_NOT_FOUND: 'do not exist (all that do: corral ls --all)',
  JOB_RUNNING: 'have not ended; wait for them, or end them first (corral cancel)',
  JOB_NOT_QUEUED: 'have started or ended, so they cannot be changed any more',
  QUEUE_FULL: 'find no room in the queue of the group; try again when some have started',
  JOB_NOT_RUNNING: 'do not run, or are being ended, so they cannot be signalled, paused, resumed or kept alive',
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
