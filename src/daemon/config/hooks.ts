import { z } from 'zod';
import { hookMoments, parseDuration } from '../../protocol/index.ts';
import type { GlobalHook } from '../core/index.ts';

const text = z.string().min(1).max(200);

/** One `[[hooks]]` of the file: a command for all jobs, or those that have what is named. */
export const hookSection = z.strictObject({
  on: z.array(z.enum(hookMoments)).min(1),
  command: z.union(
    [z.string().min(1), z.array(z.string()).min(1)],
    'write a line of shell in quotes, or a list of program and arguments',
  ),
  timeout: z
    .string('write it in quotes, such as "10s"')
    .refine(isLimit, 'write a time, such as "10s"; a hook must have a limit')
    .optional(),
  group: text.optional(),
  profile: text.optional(),
  name: text.optional(),
});

function isLimit(duration: string): boolean {
  try {
    return parseDuration(duration) !== null;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

export function hookFrom(section: z.output<typeof hookSection>): GlobalHook {
  const { on, command, timeout, group = null, profile = null, name = null } = section;
  const timeoutMs = timeout === undefined ? undefined : (parseDuration(timeout) ?? undefined);
  return {
    on,
    command: typeof command === 'string' ? ['/bin/sh', '-c', command] : command,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    group,
    profile,
    name,
  };
}
