import { z } from 'zod';

export const healthLevels = ['ok', 'degraded', 'failed'] as const;
export type HealthLevel = (typeof healthLevels)[number];

/**
 * Every reason for not being well. `failed`: corral cannot do now what it is for. `degraded`: it does, and something should be
 * looked at. docs/operations.md has a runbook for each; a test compares.
 */
export const healthReasons = {
  DAEMON_UNREACHABLE: {
    level: 'failed',
    about: 'No daemon answers on the socket.',
    todo: 'Start it: corral daemon start, or systemctl start corral. If that fails: corral doctor',
  },
  DAEMON_SILENT: {
    level: 'failed',
    about: 'The daemon takes connections and does not answer: it hangs, or is stopped.',
    todo: 'Under systemd the watchdog ends it within 30 s. Else end it yourself (kill -9, by the pid above), then: corral daemon start',
  },
  STORE_FAILING: {
    level: 'failed',
    about: 'The store cannot be written. Nothing is accepted or started; what runs goes on and can be ended.',
    todo: 'Look at the disk of the state directory (df, mount, dmesg). corral goes on by itself when the store can be written.',
  },
  DISK_LOW: {
    level: 'failed',
    about:
      'There is too little room on the disk of the state directory. Nothing is accepted or started; what runs goes on.',
    todo: 'Make room, for example: corral rm IDS. corral goes on by itself then.',
  },
  QUEUE_STALLED: {
    level: 'failed',
    about:
      'A job could be started (it is ready, and there is a slot for it) and has not been for 5 s: corral itself is broken.',
    todo: 'Please report it with the log. What runs is not harmed; a restart of the daemon begins anew with the queue as it is stored.',
  },
  GUARDIAN_LOST: {
    level: 'degraded',
    about: 'There is no guardian, so jobs would outlive a daemon that is killed now, until the next one starts.',
    todo: 'corral starts another each second; see its log for what prevents it, such as a limit on processes.',
  },
  CONFIG_INVALID: {
    level: 'degraded',
    about: 'The configuration was changed to something that cannot be used. The last good one stays in force.',
    todo: 'Mend the file at the line that is named. corral takes it over by itself; to be sure: corral daemon reload',
  },
  CONFIG_UNWATCHED: {
    level: 'degraded',
    about: 'The configuration cannot be watched, so a change of it is not noticed.',
    todo: 'After a change: corral daemon reload. Raise what is used up, such as fs.inotify.max_user_instances, and restart the daemon.',
  },
  CAPS_UNENFORCED: {
    level: 'degraded',
    about: 'The configuration caps what jobs may use, and this host cannot hold them to it. They run without.',
    todo: 'Give the daemon the controllers that are named (corral doctor says how), or take the cap out of the configuration.',
  },
  LAUNCH_STALLED: {
    level: 'degraded',
    about: 'Jobs have been starting for more than 30 s: the launch waits for something. Their slots are held.',
    todo: 'Find what the daemon waits for, such as the file system of its state directory: corral ls --status starting, then cat /proc/PID/task/*/stack',
  },
  UNKILLABLE_JOBS: {
    level: 'degraded',
    about: 'Processes of jobs are still there after SIGKILL, as in state D. Their slots stay held.',
    todo: 'Find what they wait for, such as a network file system: corral ls --status stopping, then cat /proc/PID/stack',
  },
  STUCK_JOBS: {
    level: 'degraded',
    about: 'Running jobs have reported progress, and then none for longer than `health.stuck-after`.',
    todo: 'Look at them: corral stuck --no-progress-for 30m, corral logs ID. End them: corral stuck reset --no-progress-for 30m',
  },
  LEFT_BEHIND: {
    level: 'degraded',
    about: 'Processes that an earlier daemon left behind are still there after SIGKILL.',
    todo: 'Find what they wait for, such as a network file system; a restart of the daemon tries again.',
  },
  RETRY_STORM: {
    level: 'degraded',
    about:
      'More retries have come due than `retry.burst` and `retry.max-per-second` let through. They start one after another.',
    todo: 'Find what the jobs fail for in common: corral ls --status queued, then corral logs ID. It passes by itself.',
  },
  HOOKS_FAILING: {
    level: 'degraded',
    about: 'Commands that are to tell what becomes of jobs have failed within the last hour.',
    todo: 'See which and why: corral events --json --job ID. Mend the command (hooks in the configuration, --notify of the job).',
  },
  LOOP_LAG: {
    level: 'degraded',
    about: 'The daemon was not able to react for more than a second within the last minute.',
    todo: 'Look for what starves it: load (top), slow disks (the store waits for fsync), a stopped machine.',
  },
  SAMPLER_LATE: {
    level: 'degraded',
    about: 'Running jobs were looked at more than five seconds late, so idle ones are ended late.',
    todo: 'Look for what starves the daemon: load (top), a stopped machine, many thousands of processes in tier scan.',
  },
  STORE_SLOW: {
    level: 'degraded',
    about: 'A commit of the store took longer than a second within the last minute. The daemon stands still meanwhile.',
    todo: 'Look at the disk of the state directory: iostat -x, and who else writes to it. A faster disk helps.',
  },
  OUTPUT_FULL: {
    level: 'degraded',
    about: 'The output of all jobs together is beyond `output.total-limit`, and stays there.',
    todo: 'End what writes so much (corral top, corral cancel ID), or raise output.total-limit.',
  },
  DISK_SILENT: {
    level: 'degraded',
    about: 'The disk of the state directory has been asked how much room it has, and has not answered for 5 s.',
    todo: 'Look at the file system, such as one of the network whose server is away: df, mount, dmesg. corral goes on by itself when it answers.',
  },
  DESCRIPTORS_LOW: {
    level: 'degraded',
    about: 'The daemon has used most of the file descriptors that it may have.',
    todo: 'Raise LimitNOFILE in the unit (or ulimit -n), or look for clients that never close.',
  },
} as const satisfies Record<string, { level: Exclude<HealthLevel, 'ok'>; about: string; todo: string }>;

export type HealthReasonCode = keyof typeof healthReasons;

const waitingSchema = z
  .object({
    jobId: z.int(),
    sinceMs: z.int().describe('For how long by now, in milliseconds of the wall clock.'),
  })
  .meta({ id: 'Waiting' });
export type Waiting = z.infer<typeof waitingSchema>;

const groupLoadSchema = z
  .object({
    name: z.string(),
    queued: z.int(),
    active: z.int().describe('Jobs that hold a slot: starting, running or stopping.'),
    slots: z.int().describe('0 where the group is paused.'),
  })
  .meta({ id: 'GroupLoad' });
export type GroupLoad = z.infer<typeof groupLoadSchema>;

const loadSchema = z.object({
  queued: z.int().describe('Jobs that have not started.'),
  active: z.int().describe('Jobs that hold a slot: starting, running or stopping.'),
  slots: z.int().describe('Slots of all groups that are not paused.'),
  groups: z.array(groupLoadSchema).describe('The same for each group.'),
  oldestQueued: waitingSchema.nullable().describe('The job that has been in its queue for the longest time.'),
  longestRunning: waitingSchema.nullable().describe('The job whose attempt has been running for the longest time.'),
});
export type Load = z.infer<typeof loadSchema>;

export const healthSchema = z.object({
  status: z.enum(healthLevels),
  reasons: z.array(
    z
      .object({
        code: z.string().describe('See docs/operations.md.'),
        level: z.enum(healthLevels),
        message: z.string().describe('What is the matter here and now.'),
        todo: z.string().describe('What to do about it.'),
      })
      .meta({ id: 'HealthReason' }),
  ),
  checks: z
    .object({
      ...loadSchema.shape,
      startsPerMinute: z.int().describe('Attempts begun within the last minute.'),
      endsPerMinute: z.int().describe('Attempts ended within the last minute.'),
      stalledQueues: z.array(z.string()).describe('Groups in which a job could start, and does not.'),
      stalledLaunches: z.array(z.int()).describe('Jobs whose launch does not answer.'),
      loopLagMs: z.int().describe('Longest time in the last minute in which the daemon did not react.'),
      samplerLagMs: z
        .int()
        .describe(
          'How late running jobs were looked at, to see whether they are idle; the newest pass, if it was within the last minute.',
        ),
      storeLatencyMs: z
        .object({ last: z.int().nullable(), max: z.int() })
        .describe(
          'How long commits of the store took: the last one (`null`: none yet), the longest within the last minute.',
        ),
      outputBytes: z.int().describe('What the output of all jobs takes on the disk.'),
      outputLimitBytes: z.int().nullable().describe('Most that it may take. `null` where that is turned off.'),
      diskSilentMs: z
        .int()
        .describe('For how long the disk of the state directory has not answered; next to 0 where it does.'),
      diskFreeBytes: z
        .int()
        .nullable()
        .describe('Room on the disk of the state directory. `null` where it cannot be asked.'),
      diskMinFreeBytes: z
        .int()
        .nullable()
        .describe('Below this nothing is accepted or started. `null` where that is turned off.'),
      openFds: z.int().describe('Open descriptors of the daemon.'),
      maxFds: z.int().nullable().describe('As many as it may have. `null`: no limit.'),
      guardianPid: z.int().nullable(),
      unwrittenChanges: z.int().describe('Changes that wait for the store to work again.'),
      stuckJobs: z
        .array(z.int())
        .describe('Running jobs that have reported progress, and then none for `health.stuck-after`.'),
      retriesHeldBack: z.int().describe('Retries that wait for their turn, because too many came due at once.'),
      hookFailures: z.int().describe('Hooks that failed, or were not run, within the last hour.'),
      unkillableJobs: z.array(z.int()).describe('Jobs with processes that SIGKILL did not end.'),
    })
    .meta({ id: 'HealthChecks' }),
});
export type Health = z.infer<typeof healthSchema>;

/** A reason as it is reported, with what is the matter in this case. */
export function healthReason(code: HealthReasonCode, message: string): Health['reasons'][number] {
  const { level, todo } = healthReasons[code];
  return { code, level, message, todo };
}

/** What `daemon.health` answers beside the reasons. */
export type HealthChecks = Health['checks'];

/** The worst of them. */
export function overallHealth(reasons: Health['reasons']): HealthLevel {
  return healthLevels.findLast((level) => reasons.some((reason) => reason.level === level)) ?? 'ok';
}
