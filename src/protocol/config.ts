import { z } from 'zod';

export const configStatusSchema = z
  .object({
    path: z.string().nullable().describe('`null`: there is no file.'),
    loadedAt: z.string().describe('When the configuration in force was read.'),
    error: z.string().nullable().describe('Why the file as it is now is not in force.'),
    atNextStart: z
      .array(z.string())
      .describe('Keys that were changed since the daemon started, and that it looks at only when it starts.'),
  })
  .meta({ id: 'ConfigStatus' });

const shownKeySchema = z
  .object({
    key: z.string().describe('As in the file, with the section: `jobs.max-runtime`.'),
    value: z
      .union([z.string(), z.number(), z.boolean(), z.array(z.union([z.string(), z.number()]))])
      .describe('As the file would have it.'),
    from: z
      .string()
      .describe(
        'Where it comes from: `FILE:LINE`, the variable, or `default`; of policies that are not configured, the profile; `built in` of what the built-in profiles say.',
      ),
  })
  .meta({ id: 'ConfigKey', description: 'A key of the configuration in force.' });
export type ShownKey = z.output<typeof shownKeySchema>;

/** What a configuration comes to. */
export const shownConfigSchema = z.object({
  path: z.string().nullable().describe('`null`: there is no file.'),
  keys: z.array(shownKeySchema),
  profiles: z.array(z.string()).describe('The names of all profiles.'),
});
export type ShownConfig = z.output<typeof shownConfigSchema>;
