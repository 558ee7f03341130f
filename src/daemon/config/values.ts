/** How values are written in the file, and in variables of the environment, whose text stands for a number or a list as well. */
import { z } from 'zod';
import { parseDuration, parseSize } from '../../protocol/index.ts';

/** Text in the units that people write; `off` gives `null`. */
export const duration = z
  .string('write it in quotes, such as "10s"')
  .transform((text, context) => read(() => parseDuration(text), context));
export const size = z
  .string('write it in quotes, such as "64MiB"')
  .transform((text, context) => read(() => parseSize(text), context));

function read(parse: () => number | null, context: z.RefinementCtx): number | null {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    context.addIssue({ code: 'custom', message: error.message });
    return z.NEVER;
  }
}

/**
 * A number.
 *
 * @param words what may stand in place of one, such as `unlimited`, and what it means
 */
export function number<S extends z.ZodType>(schema: S, words: Readonly<Record<string, number | null>> = {}) {
  return z.preprocess((value) => {
    if (typeof value !== 'string') return value;
    if (Object.hasOwn(words, value)) return words[value];
    return numeric(value);
  }, schema);
}

/** A number from 0 on; `off` gives `null`. */
export const count = number(z.int('write a whole number, or "off"').min(0).nullable(), { off: null });

export function flag<S extends z.ZodType>(schema: S) {
  return z.preprocess((value) => (value === 'true' ? true : value === 'false' ? false : value), schema);
}

/** A list; as text, with commas between. */
export function list<S extends z.ZodType>(schema: S, words: Readonly<Record<string, null>> = {}) {
  return z.preprocess((value) => {
    if (typeof value !== 'string') return value;
    if (Object.hasOwn(words, value)) return null;
    return value === '' ? [] : value.split(',').map((item) => numeric(item.trim()));
  }, schema);
}

function numeric(text: string): string | number {
  return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
}
