import type { MethodResult, ParsedParams } from '../../../protocol/index.ts';
import { definitionFrom } from '../../core/index.ts';
import type { Call } from '../backend.ts';

export async function submit({ job }: ParsedParams<'submit'>, { backend }: Call): Promise<MethodResult<'submit'>> {
  const definitions = [definitionFrom(job, backend.jobDefaults)];
  const [submitted] = await backend.supervisor.ask<MethodResult<'submit'>[]>({ type: 'submit', definitions });
  if (submitted === undefined) throw new Error('a submit of one job made none');
  return submitted;
}
