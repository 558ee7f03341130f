import { z } from 'zod';

export const resourcesSchema = z
  .strictObject({
    memoryBytes: z
      .number()
      .int()
      .min(1024 * 1024)
      .max(2 ** 50)
      .optional()
      .describe('Memory of all processes together, in bytes.'),
    cpus: z
      .number()
      .min(0.01)
      .max(100_000)
      .optional()
      .describe('CPU time per time, all processes together: 1.5 is one core and a half.'),
    pids: z.number().int().min(1).max(4_194_304).optional().describe('Processes and threads at once.'),
    nice: z.number().int().min(-20).max(19).optional().describe('Scheduling priority, see nice(1).'),
    enforce: z
      .enum(['strict', 'best-effort'])
      .optional()
      .describe(
        'What becomes of a limit that this host cannot enforce: `strict` refuses the job, `best-effort` takes it with a warning. Absent: `strict`.',
      ),
  })
  .meta({ id: 'Resources', description: 'Limits on what the processes of an attempt may use.' });
export type ResourcesSpec = z.output<typeof resourcesSchema>;

/** The most that any job may use. A job that asks for no limit gets these. */
export type ResourceCaps = Pick<ResourcesSpec, 'memoryBytes' | 'cpus' | 'pids'>;

/** The kinds of limits that a job can ask for. */
export type LimitName = 'memory' | 'cpus' | 'pids' | 'nice';

const enforcement = z
  .enum(['cgroup', 'each process', 'not enforced'])
  .describe(
    '`cgroup`: the kernel holds all processes of an attempt together to it. `each process`: each of them has it for itself.',
  );

const limitView = z
  .object({
    by: enforcement,
    why: z.string().nullable().describe('Why it is not `cgroup`, in words. `null` where it is, or cannot be better.'),
  })
  .meta({ id: 'Limit', description: 'How this host holds jobs to one kind of limit.' });

export const limitsViewSchema = z
  .object({ memory: limitView, cpus: limitView, pids: limitView, nice: limitView })
  .meta({ id: 'Limits', description: 'How this host holds jobs to the limits that they ask for.' });
export type LimitsView = z.infer<typeof limitsViewSchema>;

const limitSource = z
  .enum(['job', 'config caps'])
  .describe(
    '`job`: what it asked for. `config caps`: the configuration allows no more, and the job asked for more or for none.',
  );

export const resourcesViewSchema = resourcesSchema
  .extend({
    enforcedBy: z
      .object({
        memory: enforcement.optional(),
        cpus: enforcement.optional(),
        pids: enforcement.optional(),
        nice: enforcement.optional(),
      })
      .describe('How the job is held to each limit.'),
    from: z
      .object({ memory: limitSource, cpus: limitSource, pids: limitSource, nice: limitSource })
      .partial()
      .describe('Where each limit comes from.'),
  })
  .meta({ id: 'ResourcesInForce', description: 'The limits of a job, and how it is held to them.' });

export type ResourcesView = z.output<typeof resourcesViewSchema>;

/** How a host holds jobs to limits, for people: one line for each kind. */
export function limitFacts(limits: LimitsView): Record<string, string> {
  return Object.fromEntries(
    Object.entries(limits).map(([name, { by, why }]) => [`limits of ${name}`, why === null ? by : `${by}: ${why}`]),
  );
}
