import {
  CorralError,
  isFinal,
  type MethodResult,
  maxLogChunkBytes,
  type ParsedParams,
} from '../../../protocol/index.ts';
import { attemptsBegun, type Job } from '../../core/index.ts';
import { whileAttached } from '../attachment.ts';
import type { Call } from '../backend.ts';
import { hold } from '../hold.ts';

/** One piece of output; with `holdMs` it waits for the file to grow, or for the job to change, whichever comes first. */
export function logs(params: ParsedParams<'logs'>, call: Call): Promise<MethodResult<'logs'>> {
  return whileAttached(call, [params.jobId], params.holdMs ?? 0, () => readPiece(params, call));
}

async function readPiece(params: ParsedParams<'logs'>, call: Call): Promise<MethodResult<'logs'>> {
  const { supervisor, output } = call.backend;
  const untilMs = performance.now() + (params.holdMs ?? 0);
  // The same one to the end, even if another begins while this waits.
  const attempt = params.attempt ?? Math.max(1, attemptsBegun(supervisor.job(params.jobId)));
  for (;;) {
    const job = supervisor.job(params.jobId);
    const newest = attemptsBegun(job);
    // The first one of a job that never started has no output, and will have none.
    if (attempt > Math.max(1, newest) && isFinal(job.phase.status)) {
      throw new CorralError(
        'INVALID_PARAMS',
        `Job ${job.id} has had ${newest} attempts; there is no attempt ${attempt}.`,
      );
    }
    refuseGone(job, attempt);
    // Asked before the read: what is written before the end is then never missed.
    const ended = hasEnded(job, attempt);
    const path = output.path(job.id, attempt, job.definition.splitOutput, params.stream ?? 'stdout');
    const size = output.size(path);
    const asked = params.offset === undefined ? 0 : params.offset < 0 ? size + params.offset : params.offset;
    const dropped = job.attempts.find(({ number }) => number === attempt)?.dropped[params.stream ?? 'stdout'] ?? 0;
    const offset = Math.max(asked, dropped);
    const data = output.read(path, offset, params.maxBytes ?? maxLogChunkBytes);
    const leftMs = untilMs - performance.now();
    if (data.length > 0 || ended || leftMs <= 0 || call.signal.aborted) {
      const nextOffset = offset + data.length;
      return { data: data.toString('base64'), offset, nextOffset, attempt, ended, attempts: newest };
    }
    await hold(call, leftMs, (wake) => {
      // Before the first attempt there is no file; the job's change to running is what is waited for then.
      const unsubscribe = [supervisor.onNextChange(job.id, wake), output.watch(path, wake)];
      if (output.size(path) !== size) wake();
      return unsubscribe.filter((end) => end !== null);
    });
  }
}

/** @throws CorralError `ATTEMPT_GONE` */
function refuseGone(job: Job, attempt: number): void {
  const oldest = job.attempts[0]?.number ?? 1;
  if (attempt >= oldest) return;
  throw new CorralError(
    'ATTEMPT_GONE',
    `Attempt ${attempt} of job ${job.id} is not kept any more; ${oldest} to ${attemptsBegun(job)} are. See: corral logs --attempt ${oldest} ${job.id}`,
  );
}

function hasEnded(job: Job, attempt: number): boolean {
  return isFinal(job.phase.status) || attempt < attemptsBegun(job);
}
