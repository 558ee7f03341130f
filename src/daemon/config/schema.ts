import { z } from 'zod';
import { hookSection } from './hooks.ts';
import { capSection, policySection } from './policies.ts';
import { count, duration, number, size } from './values.ts';

/** Names that need no quotes in TOML. */
const profileName = z.string().regex(/^[A-Za-z0-9_-]{1,100}$/, 'a profile is named with letters, digits, _ and -');

/** A number that cannot be turned off. */
const pace = number(z.number('write a whole number').int().min(1).max(1_000_000));

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
  retry: z.strictObject({ 'max-per-second': pace.prefault(20), burst: pace.prefault(100) }).prefault({}),
  hooks: z.array(hookSection).max(100).prefault([]),
});

export type FileConfig = z.output<typeof fileSchema>;
