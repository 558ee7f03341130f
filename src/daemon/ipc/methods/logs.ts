import {
  CorralError,
  isFinal,
  type MethodResult,
  maxLogChunkBytes,
  type ParsedParams,
} from '../../../protocol/index.ts';
import type { Job } from '../../core/index.ts';
import type { Call } from '../backend.ts';

/** One piece of output; with `holdMs` it waits for the file to grow, or for the job to change, whichever comes first. */
export async function logs(params: ParsedParams<'logs'>, call: Call): Promise<MethodResult<'logs'>> {
  const { supervisor, output } = call.backend;
  const untilMs = performance.now() + (params.holdMs ?? 0);
  for (;;) {
    const job = supervisor.job(params.jobId);
    const attempt = params.attempt ?? Math.max(1, job.attempts.length);
    if (params.attempt !== undefined && params.attempt > job.attempts.length && isFinal(job.phase.status)) {
      throw new CorralError(
        'INVALID_PARAMS',
        `Job ${job.id} has ${job.attempts.length} attempts; there is no attempt ${attempt}.`,
      );
    }
    // Asked before the read: what is written before the end is then never missed.
    const ended = hasEnded(job, attempt);
    const path = output.path(job.id, attempt, job.definition.splitOutput, params.stream ?? 'stdout');
    const size = output.size(path);
    const offset =
      params.offset === undefined ? 0 : params.offset < 0 ? Math.max(0, size + params.offset) : params.offset;
    const data = output.read(path, offset, params.maxBytes ?? maxLogChunkBytes);
    const leftMs = untilMs - performance.now();
    if (data.length > 0 || ended || leftMs <= 0 || call.signal.aborted) {
      return { data: data.toString('base64'), offset, nextOffset: offset + data.length, attempt, ended };
    }
    await somethingHappens({ jobId: job.id, path, size, leftMs, call });
  }
}

function hasEnded(job: Job, attempt: number): boolean {
  return isFinal(job.phase.status) || attempt < job.attempts.length;
}

interface Awaited {
  readonly jobId: number;
  readonly path: string;
  readonly size: number;
  readonly leftMs: number;
  readonly call: Call;
}

function somethingHappens({ jobId, path, size, leftMs, call }: Awaited): Promise<void> {
  const { supervisor, output } = call.backend;
  const { promise, resolve } = Promise.withResolvers<void>();
  const cleanups = [supervisor.onNextChange(jobId, resolve)];
  const timer = setTimeout(resolve, leftMs);
  cleanups.push(() => clearTimeout(timer));
  const giveUp = () => resolve();
  call.signal.addEventListener('abort', giveUp, { once: true });
  cleanups.push(() => call.signal.removeEventListener('abort', giveUp));
  // Before the first attempt there is no file; the job's change to running is what is waited for then.
  const stopWatching = output.watch(path, resolve);
  if (stopWatching !== null) cleanups.push(stopWatching);
  if (output.size(path) !== size) resolve();
  return promise.finally(() => {
    for (const cleanup of cleanups) cleanup();
  });
}
