import { formatDuration, formatSize, type Health, healthReason, overallHealth } from '../../protocol/index.ts';
import type { HookFacts } from './hooks.ts';

/** What the shells know about how the daemon is. */
export interface VitalFacts {
  readonly storeTrouble: string | null;
  readonly unwrittenChanges: number;
  readonly pausedFor: string | null;
  readonly configError: string | null;
  readonly guardianPid: number | null;
  /** Those that have reported progress, and then none for so long as the configuration says. */
  readonly stuckJobs: readonly number[];
  readonly unkillableJobs: readonly number[];
  /** Processes of an earlier daemon that its successor could not end. */
  readonly leftBehind: number;
  /** Retries that were put off so that not too many come at once. */
  readonly retriesHeldBack: number;
  readonly hooks: HookFacts;
  readonly loopLagMs: number;
  /** How late the newest pass of the sampler was, or is by now. */
  readonly samplerLagMs: number;
  readonly diskFreeBytes: number | null;
  readonly diskMinFreeBytes: number | null;
  readonly openFds: number;
  readonly maxFds: number | null;
}

/** A lag beyond this delays every deadline and answer noticeably. */
const loopLagLimitMs = 1_000;

/** Half of the shortest interval between checks that a built-in profile has. */
const samplerLagLimitMs = 5_000;

const descriptorShare = 0.9;

/** Says how the daemon is, with the reasons. */
export function assessHealth(facts: VitalFacts): Health {
  const {
    storeTrouble,
    pausedFor,
    configError,
    stuckJobs,
    unkillableJobs,
    leftBehind,
    loopLagMs,
    samplerLagMs,
    openFds,
    maxFds,
  } = facts;
  const reasons: Health['reasons'] = [];
  if (storeTrouble !== null)
    reasons.push(healthReason('STORE_FAILING', `${storeTrouble} ${facts.unwrittenChanges} changes wait.`));
  if (pausedFor !== null) reasons.push(healthReason('DISK_LOW', pausedFor));
  if (facts.guardianPid === null) reasons.push(healthReason('GUARDIAN_LOST', 'There is no guardian at the moment.'));
  if (configError !== null) reasons.push(healthReason('CONFIG_INVALID', configError));
  if (unkillableJobs.length > 0)
    reasons.push(healthReason('UNKILLABLE_JOBS', `SIGKILL did not end all of job ${unkillableJobs.join(', ')}.`));
  if (stuckJobs.length > 0)
    reasons.push(healthReason('STUCK_JOBS', `No progress any more from job ${someOf(stuckJobs)}.`));
  if (leftBehind > 0)
    reasons.push(healthReason('LEFT_BEHIND', `${leftBehind} processes of an earlier daemon are still there.`));
  if (facts.retriesHeldBack > 0)
    reasons.push(healthReason('RETRY_STORM', `${facts.retriesHeldBack} retries wait for their turn.`));
  if (facts.hooks.failures > 0)
    reasons.push(
      healthReason(
        'HOOKS_FAILING',
        `${facts.hooks.failures} hooks failed within the last hour; the last of them: ${facts.hooks.lastFailure}.`,
      ),
    );
  if (loopLagMs > loopLagLimitMs)
    reasons.push(
      healthReason('LOOP_LAG', `The daemon did not react for ${formatDuration(loopLagMs)} within the last minute.`),
    );
  if (samplerLagMs > samplerLagLimitMs)
    reasons.push(healthReason('SAMPLER_LATE', `Running jobs were looked at ${formatDuration(samplerLagMs)} late.`));
  if (maxFds !== null && openFds > maxFds * descriptorShare)
    reasons.push(healthReason('DESCRIPTORS_LOW', `${openFds} of at most ${maxFds} descriptors are open.`));
  return {
    status: overallHealth(reasons),
    reasons,
    checks: {
      loopLagMs: Math.round(loopLagMs),
      samplerLagMs: Math.round(samplerLagMs),
      diskFreeBytes: facts.diskFreeBytes,
      diskMinFreeBytes: facts.diskMinFreeBytes,
      openFds,
      maxFds,
      guardianPid: facts.guardianPid,
      unwrittenChanges: facts.unwrittenChanges,
      stuckJobs: [...stuckJobs],
      retriesHeldBack: facts.retriesHeldBack,
      hookFailures: facts.hooks.failures,
      unkillableJobs: [...unkillableJobs],
    },
  };
}

/** A sentence does not name a thousand jobs. */
function someOf(jobIds: readonly number[]): string {
  const most = 20;
  return `${jobIds.slice(0, most).join(', ')}${jobIds.length > most ? ` and ${jobIds.length - most} more` : ''}`;
}

export interface DiskRoom {
  /** For ordinary users: what is kept for root does not count. */
  readonly freeBytes: number;
  /** `null` where the file system does not count them. */
  readonly freeFiles: number | null;
}

/** statfs(2) */
export function diskRoom(disk: Record<'bavail' | 'bsize' | 'files' | 'ffree', number>): DiskRoom {
  return { freeBytes: disk.bavail * disk.bsize, freeFiles: disk.files === 0 ? null : disk.ffree };
}

/** What is short on a disk, in a sentence, or `null`. */
export function diskShortage(place: string, disk: DiskRoom, minFreeBytes: number | null): string | null {
  if (minFreeBytes === null) return null;
  if (disk.freeBytes < minFreeBytes)
    return `The disk of ${place} has ${formatSize(disk.freeBytes)} free, and corral keeps ${formatSize(minFreeBytes)} for the results of what runs.`;
  if (disk.freeFiles !== null && disk.freeFiles < minFreeFiles)
    return `The disk of ${place} has room for ${disk.freeFiles} more files only.`;
  return null;
}

/** Each attempt makes a file or two, and the store a few. */
const minFreeFiles = 64;
