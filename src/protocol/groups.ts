import { z } from 'zod';

export const groupModes = ['auto', 'manual'] as const;
export type GroupMode = (typeof groupModes)[number];

/** Most groups of a daemon: all of them together must fit a frame, and each costs a look whenever something happens. */
export const maxGroups = 1_000;

/** A name is typed, and shown in tables. */
export const groupNameSchema = z
  .string()
  .min(1)
  .max(100)
  .refine((name) => name.isWellFormed(), 'the name holds half of a surrogate pair, which is not Unicode')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it is about
  .refine((name) => !/[\u0000-\u001f\u007f-\u009f]/.test(name), 'the name holds a control character')
  .describe('Its name: 1 to 100 characters, without control characters.');

/** What can be set of a group. */
export const groupSettings = {
  parallel: z
    .number()
    .int()
    .min(0)
    .max(100_000)
    .optional()
    .describe('Slots: jobs that may run at once. 0 starts nothing.'),
  maxQueued: z.number().int().min(0).max(1_000_000).optional().describe('Jobs that may wait.'),
  rate: z
    .number()
    .min(0.000_001)
    .max(100_000)
    .nullable()
    .optional()
    .describe('Most starts per second; retries count. `null`: no limit.'),
  burst: z
    .number()
    .int()
    .min(1)
    .max(100_000)
    .optional()
    .describe('So many starts may come at once, where there were fewer before, than `rate` allows.'),
  mode: z
    .enum(groupModes)
    .optional()
    .describe('`auto`: jobs start by themselves. `manual`: by `group.runPending` only.'),
  paused: z.boolean().optional().describe('`true`: nothing is started; what runs goes on. `false`: as `group.resume`.'),
};

export const groupViewSchema = z
  .object({
    name: z.string(),
    parallel: z.int().describe('Slots: jobs that may run at once. 0 starts nothing.'),
    maxQueued: z.int().describe('Jobs that may wait. A submit beyond it gets `QUEUE_FULL`.'),
    rate: z.number().nullable().describe('Most starts per second. `null`: no limit.'),
    burst: z.int().describe('So many starts may come at once before `rate` holds.'),
    mode: z.enum(groupModes).describe('`auto`: jobs start by themselves. `manual`: by `group.runPending` only.'),
    paused: z.boolean().describe('Nothing is started.'),
    queued: z.int().describe('Jobs that wait.'),
    active: z.int().describe('Slots in use: jobs that are starting, running or stopping.'),
    starts: z.int().describe('Attempts that were begun since the daemon started.'),
    ends: z
      .int()
      .describe(
        'Jobs that have ended since the daemon started. With `queued` and `active` that makes all that were submitted to it.',
      ),
  })
  .meta({ id: 'Group', description: 'A queue with its own slots.' });
export type GroupView = z.infer<typeof groupViewSchema>;

export const runPendingSchema = z
  .object({
    total_pending: z.int().describe('Jobs of the group that were waiting when it was asked.'),
    started: z.int().describe('How many were started: 0 or 1.'),
    job_ids: z.array(z.int()).describe('Which.'),
    message: z.string().describe('What was done, or why nothing was.'),
  })
  .meta({ id: 'RunPending', description: 'What became of the wish to start the next job of a manual group.' });
export type RunPending = z.infer<typeof runPendingSchema>;

/** What a client, or a daemon, says of a name that no group has. */
export function noSuchGroup(name: string, known: readonly string[]): string {
  const shown = known.slice(0, 10).join(', ');
  const more = known.length > 10 ? ` and ${known.length - 10} more` : '';
  return `There is no group "${name}". Make it: corral group add ${name}; there is: ${shown}${more}.`;
}
