import {
  CorralError,
  describeIssues,
  jobSpecSchema,
  type MethodResult,
  maxDependenciesInBatch,
  type ParsedParams,
} from '../../../protocol/index.ts';
import { definitionFrom } from '../../core/index.ts';
import type { Call } from '../backend.ts';

/** Each job is checked once the defaults are filled in; one bad job refuses the whole batch, by its place in it. */
export async function submitBatch(
  { defaults, jobs }: ParsedParams<'submitBatch'>,
  { backend }: Call,
): Promise<MethodResult<'submitBatch'>> {
  const sharedEnv = defaults?.env;
  const definitions = jobs.map((job, index) => {
    const { env, ...rest } = { ...defaults, ...job };
    // The shared environment was checked with the defaults; checking it again for each of thousands of jobs would be waste.
    const isShared = env !== undefined && env === sharedEnv;
    const parsed = jobSpecSchema.safeParse({ ...rest, env: isShared ? {} : env });
    if (!parsed.success)
      throw new CorralError('INVALID_PARAMS', `Job ${index + 1} of the batch: ${describeIssues(parsed.error, [])}`);
    const spec = isShared ? { ...parsed.data, env } : parsed.data;
    return definitionFrom(spec, backend.jobDefaults);
  });
  const named = definitions.reduce((sum, { after }) => sum + after.length, 0);
  if (named > maxDependenciesInBatch) {
    throw new CorralError(
      'INVALID_PARAMS',
      `The jobs of the batch name ${named} others in after, and one batch may name ${maxDependenciesInBatch}. Send it in pieces.`,
    );
  }
  return { jobs: await backend.supervisor.ask({ type: 'submit', definitions }) };
}
