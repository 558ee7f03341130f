import {
  formatDuration,
  formatSize,
  type Health,
  type HealthReasonCode,
  healthReason,
  type Load,
  overallHealth,
} from '../../protocol/index.ts';
import type { HookFacts } from './hooks.ts';
import type { StalledQueue } from './stalls.ts';

/** What the shells know about how the daemon is. */
export interface VitalFacts {
  readonly storeTrouble: string | null;
  readonly unwrittenChanges: number;
  readonly pausedFor: string | null;
  readonly configError: string | null;
  /** Why changes of the configuration are not noticed, or `null`. */
  readonly configUnwatched: string | null;
  /** Caps that this host cannot hold jobs to, and why, each in a sentence. */
  readonly unenforcedCaps: readonly string[];
  readonly guardianPid: number | null;
  readonly load: Load;
  readonly startsPerMinute: number;
  readonly endsPerMinute: number;
  readonly stalledQueues: readonly StalledQueue[];
  readonly stalledLaunches: readonly number[];
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
  readonly storeLatencyMs: { readonly last: number | null; readonly max: number };
  readonly outputBytes: number;
  readonly outputLimitBytes: number | null;
  /** For how long it has been beyond the limit, seen at each beat; `null` where it is not. */
  readonly outputBeyondMs: number | null;
  /** For how long the disk has not said how much room it has. */
  readonly diskSilentMs: number;
  readonly diskFreeBytes: number | null;
  readonly diskMinFreeBytes: number | null;
  readonly openFds: number;
  readonly maxFds: number | null;
}

/** A lag beyond this delays every deadline and answer noticeably. */
const loopLagLimitMs = 1_000;

/** Half of the shortest interval between checks that a built-in profile has. */
const samplerLagLimitMs = 5_000;
/** What a turn of the loop may take, and a commit is the longest part of it. */
const storeLatencyLimitMs = 1_000;

/** What ended jobs have printed is deleted, and what running ones print is dropped, within a beat or two. */
const outputPatienceMs = 5_000;

/** A disk that is asked for its room says so in microseconds, without reading anything. */
const diskPatienceMs = 5_000;

const descriptorShare = 0.9;

/** What is the matter, in a sentence or two for each reason that the daemon itself can find; none where all is well. */
const findings: Record<FoundByDaemon, (facts: VitalFacts) => readonly string[]> = {
  STORE_FAILING: ({ storeTrouble, unwrittenChanges }) =>
    storeTrouble === null ? [] : [`${storeTrouble} ${unwrittenChanges} changes wait.`],
  DISK_LOW: ({ pausedFor }) => (pausedFor === null ? [] : [pausedFor]),
  QUEUE_STALLED: ({ stalledQueues }) =>
    stalledQueues.map(
      ({ group, jobId }) => `Group "${group}" has a slot for job ${jobId}, which is ready, and does not start it.`,
    ),
  GUARDIAN_LOST: ({ guardianPid }) => (guardianPid === null ? ['There is no guardian at the moment.'] : []),
  CONFIG_INVALID: ({ configError }) => (configError === null ? [] : [configError]),
  CONFIG_UNWATCHED: ({ configUnwatched }) => (configUnwatched === null ? [] : [configUnwatched]),
  CAPS_UNENFORCED: ({ unenforcedCaps }) => (unenforcedCaps.length === 0 ? [] : [unenforcedCaps.join(' ')]),
  LAUNCH_STALLED: ({ stalledLaunches: jobs }) =>
    jobs.length === 0 ? [] : [`The launch of job ${someOf(jobs)} does not answer.`],
  UNKILLABLE_JOBS: ({ unkillableJobs: jobs }) =>
    jobs.length === 0 ? [] : [`SIGKILL did not end all of job ${someOf(jobs)}.`],
  STUCK_JOBS: ({ stuckJobs: jobs }) => (jobs.length === 0 ? [] : [`No progress any more from job ${someOf(jobs)}.`]),
  LEFT_BEHIND: ({ leftBehind }) =>
    leftBehind === 0 ? [] : [`${leftBehind} processes of an earlier daemon are still there.`],
  RETRY_STORM: ({ retriesHeldBack }) =>
    retriesHeldBack === 0 ? [] : [`${retriesHeldBack} retries wait for their turn.`],
  HOOKS_FAILING: ({ hooks: { failures, lastFailure } }) =>
    failures === 0 ? [] : [`${failures} hooks failed within the last hour; the last of them: ${lastFailure}.`],
  LOOP_LAG: ({ loopLagMs }) =>
    loopLagMs <= loopLagLimitMs
      ? []
      : [`The daemon did not react for ${formatDuration(loopLagMs)} within the last minute.`],
  SAMPLER_LATE: ({ samplerLagMs }) =>
    samplerLagMs <= samplerLagLimitMs ? [] : [`Running jobs were looked at ${formatDuration(samplerLagMs)} late.`],
  STORE_SLOW: ({ storeLatencyMs: { max } }) =>
    max <= storeLatencyLimitMs ? [] : [`A commit took ${formatDuration(max)} within the last minute.`],
  OUTPUT_FULL: ({ outputBytes, outputLimitBytes, outputBeyondMs }) =>
    outputLimitBytes === null || outputBeyondMs === null || outputBeyondMs <= outputPatienceMs
      ? []
      : [`The output of all jobs takes ${formatSize(outputBytes)}, and may take ${formatSize(outputLimitBytes)}.`],
  DISK_SILENT: ({ diskSilentMs }) =>
    diskSilentMs <= diskPatienceMs
      ? []
      : [
          `The disk of the state directory has been asked for its room and has not answered for ${formatDuration(diskSilentMs)}.`,
        ],
  DESCRIPTORS_LOW: ({ openFds, maxFds }) =>
    maxFds === null || openFds <= maxFds * descriptorShare
      ? []
      : [`${openFds} of at most ${maxFds} descriptors are open.`],
};

/** Where there is no daemon that answers, a client finds that. */
type FoundByDaemon = Exclude<HealthReasonCode, 'DAEMON_UNREACHABLE' | 'DAEMON_SILENT'>;

/** Says how the daemon is, with the reasons. */
export function assessHealth(facts: VitalFacts): Health {
  const reasons = (Object.keys(findings) as FoundByDaemon[]).flatMap((code) =>
    findings[code](facts).map((message) => healthReason(code, message)),
  );
  return {
    status: overallHealth(reasons),
    reasons,
    checks: {
      ...facts.load,
      startsPerMinute: facts.startsPerMinute,
      endsPerMinute: facts.endsPerMinute,
      stalledQueues: facts.stalledQueues.map(({ group }) => group),
      stalledLaunches: [...facts.stalledLaunches],
      loopLagMs: Math.round(facts.loopLagMs),
      samplerLagMs: Math.round(facts.samplerLagMs),
      storeLatencyMs: { last: wholeMs(facts.storeLatencyMs.last), max: Math.round(facts.storeLatencyMs.max) },
      outputBytes: facts.outputBytes,
      outputLimitBytes: facts.outputLimitBytes,
      diskSilentMs: Math.round(facts.diskSilentMs),
      diskFreeBytes: facts.diskFreeBytes,
      diskMinFreeBytes: facts.diskMinFreeBytes,
      openFds: facts.openFds,
      maxFds: facts.maxFds,
      guardianPid: facts.guardianPid,
      unwrittenChanges: facts.unwrittenChanges,
      stuckJobs: [...facts.stuckJobs],
      retriesHeldBack: facts.retriesHeldBack,
      hookFailures: facts.hooks.failures,
      unkillableJobs: [...facts.unkillableJobs],
    },
  };
}

function wholeMs(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms);
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
