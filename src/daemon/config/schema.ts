import { z } from 'zod';
import { capSection, policySection } from './policies.ts';
import { count, duration, size } from './values.ts';

/** Names that need no quotes in TOML. */
const profileName = z.string().regex(/^[A-Za-z0-9_-]{1,100}$/, 'a profile is named with letters, digits, _ and -');

/**
 * The configuration file, key by key. A key that is added here can be set in the file and by a variable, and is shown by
 * `corral config show`. What each means is said in docs/configuration.md, and in systemd/examples/config.toml; a test compares.
 */
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
  retention: z.strictObject({ 'max-jobs': count.prefault(100_000) }).prefault({}),
  health: z.strictObject({ 'stuck-after': duration.prefault('30m') }).prefault({}),
  jobs: policySection.prefault({}),
  profiles: z.record(profileName, policySection.extend({ base: profileName.optional() })).prefault({}),
  caps: capSection.prefault({}),
});

export type FileConfig = z.output<typeof fileSchema>;
