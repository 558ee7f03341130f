/** The keys of the configuration, one by one, with the variable that overrides each: made from the schema. */
import { z } from 'zod';
import { fileSchema } from './schema.ts';

export interface ConfigKey {
  /** `['retry', 'limit']` of section `jobs` is `['jobs', 'retry', 'limit']`. */
  readonly path: readonly string[];
  /** `null`: only the file can have it. */
  readonly variable: string | null;
  /** As the file would have it; `undefined` where the schema has none. */
  readonly fallback: unknown;
}

/** Those that stand in the file under a name of the user's choice have `NAME` in its place. */
export const configKeys: readonly ConfigKey[] = [...keysIn(fileSchema, [], undefined)];

function* keysIn(schema: z.ZodType, path: readonly string[], fallback: unknown): Generator<ConfigKey> {
  if (schema instanceof z.ZodPrefault || schema instanceof z.ZodDefault)
    return yield* keysIn(schema.def.innerType as z.ZodType, path, schema.def.defaultValue);
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable)
    return yield* keysIn(schema.unwrap() as z.ZodType, path, fallback);
  if (schema instanceof z.ZodRecord) return yield* keysIn(schema.valueType as z.ZodType, [...path, 'NAME'], undefined);
  if (schema instanceof z.ZodObject) {
    for (const [key, inner] of Object.entries(schema.shape))
      yield* keysIn(inner as z.ZodType, [...path, key], undefined);
    return;
  }
  const table = tableIn(schema);
  const isForFileOnly = path.includes('NAME') || isListOfTables(schema);
  yield { path, variable: isForFileOnly ? null : variableOf(path), fallback };
  if (table !== null) yield* keysIn(table, path, undefined);
}

/** Of a key that is a word or a table, such as `idle`, what the table may have. */
function tableIn(schema: z.ZodType): z.ZodType | null {
  if (!(schema instanceof z.ZodPipe)) return null;
  const inner = schema.out instanceof z.ZodNullable ? schema.out.unwrap() : schema.out;
  return inner instanceof z.ZodObject ? inner : null;
}

/** `[[hooks]]` */
function isListOfTables(schema: z.ZodType): boolean {
  return schema instanceof z.ZodArray && schema.element instanceof z.ZodObject;
}

/** `CORRAL_JOBS_MAX_RUNTIME`; of section `daemon`, which comes first to mind, `CORRAL_LOG_LEVEL`. */
function variableOf(path: readonly string[]): string {
  const words = path[0] === 'daemon' ? path.slice(1) : path;
  return `CORRAL_${words.join('_').replaceAll('-', '_').toUpperCase()}`;
}
