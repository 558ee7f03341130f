/** The output of an attempt is held to its limit: its oldest part is dropped, or the job ends. */
import { formatSize } from '../../protocol/index.ts';
import type { Attempt, OutputSize } from './attempt.ts';
import { type Decision, merge, nothing, replace } from './decision.ts';
import type { Event } from './events.ts';
import type { Instant } from './instant.ts';
import { currentAttempt, type Job, withAttempt } from './job.ts';
import { stopFor } from './stopping.ts';

/** Output is dropped in whole blocks of the file system, and down to this share of the limit: not a bit at every look. */
const blockBytes = 4_096;
const keptShare = 0.75;

type Measured = Extract<Event, { type: 'outputMeasured' }>;

/** Somebody has looked at the files of a running attempt. */
export function outputMeasured(job: Job, event: Measured, now: Instant): Decision {
  const { outputLimitBytes, onOutputLimit } = job.definition.policies;
  const limit = Math.min(
    outputLimitBytes ?? Number.POSITIVE_INFINITY,
    event.totalLeavesBytes ?? Number.POSITIVE_INFINITY,
  );
  const attempt = currentAttempt(job);
  if (attempt.number !== event.attempt) return nothing;
  const dropped = { stdout: stillDropped('stdout', attempt, event), stderr: stillDropped('stderr', attempt, event) };
  const kept = {
    stdout: event.size.stdout - dropped.stdout,
    stderr: event.size.stderr - dropped.stderr,
  };
  if (kept.stdout <= limit && kept.stderr <= limit) {
    const wasCut = dropped.stdout !== attempt.dropped.stdout || dropped.stderr !== attempt.dropped.stderr;
    return wasCut ? replace(job, withAttempt(job, { dropped })) : dropAgain(job, event, kept);
  }
  if (onOutputLimit === 'kill') {
    const whose = event.totalLeavesBytes === null ? 'its limit' : 'what the output of all jobs together leaves it';
    const message = `its output has ${formatSize(kept.stdout + kept.stderr)}, and ${whose} is ${formatSize(limit)}`;
    return stopFor('output-limit', job, now, message);
  }
  const drop = (stream: keyof OutputSize) =>
    kept[stream] <= limit
      ? dropped[stream]
      : Math.max(dropped[stream], floorToBlock(event.size[stream] - limit * keptShare));
  const after = withAttempt(job, { dropped: { stdout: drop('stdout'), stderr: drop('stderr') } });
  return replace(job, after, { type: 'dropOutput', job: after });
}

/** A job may cut its own file short. Nothing is missing from one that is shorter than what was dropped of it: it began anew. */
function stillDropped(stream: keyof OutputSize, { dropped }: Attempt, { size }: Measured): number {
  return size[stream] < dropped[stream] ? 0 : dropped[stream];
}

/** A file that was cut short and grew again between two looks has room taken where nothing should be. */
function dropAgain(job: Job, { onDisk }: Measured, kept: OutputSize): Decision {
  const { dropped } = currentAttempt(job);
  const isFilled = (stream: keyof OutputSize) =>
    dropped[stream] > 0 && onDisk[stream] > Math.max(0, kept[stream]) + 2 * blockBytes;
  return isFilled('stdout') || isFilled('stderr') ? { changes: [], effects: [{ type: 'dropOutput', job }] } : nothing;
}

/** The file system cannot drop the beginning of a file, so the job is ended before it fills the disk. */
export function outputKept(job: Job, reason: string, now: Instant): Decision {
  const whole = withAttempt(job, { dropped: { stdout: 0, stderr: 0 } });
  const message = `its output reached its limit, and the file system cannot drop the oldest part of it (${reason})`;
  return merge([replace(job, whole), stopFor('output-limit', whole, now, message)]);
}

function floorToBlock(bytes: number): number {
  return Math.max(0, Math.floor(bytes / blockBytes) * blockBytes);
}
