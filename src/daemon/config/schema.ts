import { z } from 'zod';
import { parseDuration, parseSize } from '../../protocol/index.ts';

/** Text in the units that people write; `off` gives `null`. */
const duration = z
  .string('write it in quotes, such as "10s"')
  .transform((text, context) => read(() => parseDuration(text), context));
const size = z
  .string('write it in quotes, such as "64MiB"')
  .transform((text, context) => read(() => parseSize(text), context));

/** A number, which a variable of the environment gives as text; `off` gives `null`. */
const count = z.preprocess(
  (value) => (value === 'off' ? null : typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value),
  z.int('write a whole number, or "off"').min(0).nullable(),
);

function read(parse: () => number | null, context: z.RefinementCtx): number | null {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    context.addIssue({ code: 'custom', message: error.message });
    return z.NEVER;
  }
}

/** The configuration file, key by key. What each means is said in docs/configuration.md. */
export const fileSchema = z.strictObject({
  daemon: z
    .strictObject({
      containment: z.enum(['auto', 'cgroup', 'scan']).default('auto'),
      launcher: z.enum(['posix_spawn', 'execa']).default('posix_spawn'),
      'log-level': z.enum(['debug', 'info', 'warn', 'error']).default('info'),
    })
    .prefault({}),
  disk: z.strictObject({ 'min-free': size.prefault('32MiB') }).prefault({}),
  output: z.strictObject({ 'total-limit': size.prefault('4GiB') }).prefault({}),
  retention: z
    .strictObject({
      'max-jobs': count.prefault(100_000),
    })
    .prefault({}),
  jobs: z
    .strictObject({
      'kill-grace': duration.optional(),
      'max-runtime': duration.optional(),
    })
    .prefault({}),
});

export type FileConfig = z.output<typeof fileSchema>;

/** Keys that a variable of the environment overrides. */
export const environmentKeys: Readonly<Record<string, readonly [section: string, key: string]>> = {
  CORRAL_CONTAINMENT: ['daemon', 'containment'],
  CORRAL_LAUNCHER: ['daemon', 'launcher'],
  CORRAL_LOG_LEVEL: ['daemon', 'log-level'],
  CORRAL_DISK_MIN_FREE: ['disk', 'min-free'],
  CORRAL_RETENTION_MAX_JOBS: ['retention', 'max-jobs'],
  CORRAL_OUTPUT_TOTAL_LIMIT: ['output', 'total-limit'],
  CORRAL_JOBS_KILL_GRACE: ['jobs', 'kill-grace'],
  CORRAL_JOBS_MAX_RUNTIME: ['jobs', 'max-runtime'],
};
