/** What `progress` and `result` have in common: a job speaks of itself. */
import { CorralError } from '../../protocol/index.ts';
import type { VerbOptions } from './session.ts';

/** Which job reports: the one that is named, else the one that this runs in. Then its attempt is known, too. */
export function reporter(named: number | undefined): { jobId: number; attempt?: number } {
  if (named !== undefined) return { jobId: named };
  const jobId = idFrom(process.env.CORRAL_JOB_ID);
  if (jobId === null) {
    throw new CorralError(
      'INVALID_PARAMS',
      'This does not run in a job (there is no CORRAL_JOB_ID), so say which one it is about: --job ID',
    );
  }
  const attempt = idFrom(process.env.CORRAL_ATTEMPT);
  return attempt === null ? { jobId } : { jobId, attempt };
}

function idFrom(text: string | undefined): number | null {
  const id = /^\d+$/.test(text ?? '') ? Number(text) : 0;
  return Number.isSafeInteger(id) && id > 0 ? id : null;
}

/** A daemon that is started for a report knows of no job. */
export const noNewDaemon: VerbOptions = { autoStart: false };
