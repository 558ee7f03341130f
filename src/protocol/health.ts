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
  DESCRIPTORS_LOW: {
    level: 'degraded',
    about: 'The daemon has used most of the file descriptors that it may have.',
    todo: 'Raise LimitNOFILE in the unit (or ulimit -n), or look for clients that never close.',
  },
} as const satisfies Record<string, { level: Exclude<HealthLevel, 'ok'>; about: string; todo: string }>;

export type HealthReasonCode = keyof typeof healthReasons;

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
      loopLagMs: z.int().describe('Longest time in the last minute in which the daemon did not react.'),
      samplerLagMs: z
        .int()
        .describe(
          'How late running jobs were looked at, to see whether they are idle; the newest pass, if it was within the last minute.',
        ),
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

/** The worst of them. */
export function overallHealth(reasons: Health['reasons']): HealthLevel {
  return healthLevels.findLast((level) => reasons.some((reason) => reason.level === level)) ?? 'ok';
}
