import { z } from 'zod';

/** `note`: good to know. `warning`: something that corral promises or can do is less than it could be. `problem`: it cannot work so. */
export const findingLevels = ['note', 'warning', 'problem'] as const;

export const findingSchema = z.object({
  level: z.enum(findingLevels),
  /** What it is about: `host`, `containment`, `limits`, `paths`, `configuration`, `store`, `versions` or `health`. */
  topic: z.string(),
  message: z.string(),
  /** What to do about it; `null` where there is nothing to do. */
  todo: z.string().nullable(),
});
export type Finding = z.infer<typeof findingSchema>;

/** What `corral doctor --json` prints. */
export const diagnosisSchema = z.object({
  /** Facts by topic, each a name and a value, for people. */
  facts: z.record(z.string(), z.record(z.string(), z.string())),
  findings: z.array(findingSchema),
});
export type Diagnosis = z.infer<typeof diagnosisSchema>;
