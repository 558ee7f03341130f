import { z } from 'zod';

/** Long enough that nobody guesses one; plain enough for a variable of the environment and a command line. */
export const scopeIdSchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_-]{15,99}$/, 'a scope has an id of 16 to 100 letters, digits, _ and -');

export const scopeNameSchema = z
  .string()
  .min(1)
  .max(200)
  .refine((name) => name.isWellFormed() && !name.includes('\0'), 'the name holds a NUL byte or is not Unicode');

/** Said in place of an id, on the command line and to the library: the job belongs to no scope. */
export const noScope = 'none';

/** The variable in which a scope's id is handed on to whatever runs in it. */
export const scopeVariable = 'CORRAL_SCOPE';

export const scopeReportSchema = z
  .object({
    scope: z.string(),
    name: z.string().nullable(),
    status: z
      .enum(['open', 'closing', 'closed'])
      .describe('`closing`: it takes no more jobs, and its last ones are being ended. `closed`: all have ended.'),
    end: z
      .enum(['closed', 'client-gone', 'client-lost'])
      .nullable()
      .describe(
        'Why it was closed. `closed`: its client said so. `client-gone`: its connection ended. `client-lost`: it did not come back after a restart of the daemon.',
      ),
    openedAt: z.string(),
    closedAt: z.string().nullable(),
    jobs: z.int().describe('All jobs that were submitted to it.'),
    ended: z.int().describe('Those that had ended before it was closed, however they did.'),
    cleaned: z.int().describe('Those that were ended because it was closed.'),
    failed: z.int().describe('Those that should have ended and have not, as yet. 0 while it is open.'),
    errors: z
      .array(z.object({ jobId: z.int(), code: z.string(), message: z.string() }))
      .describe('Why, for each of them, 1,000 at most.'),
    processesLeft: z
      .int()
      .nullable()
      .describe('Live processes of its jobs, as they were counted. `null`: they are not counted while it is open.'),
  })
  .meta({ id: 'ScopeReport', description: 'What became of the jobs of a scope.' });
export type ScopeReport = z.infer<typeof scopeReportSchema>;
