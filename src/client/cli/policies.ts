import { type PoliciesView, policyKeys, policyText, type SettledJob } from '../../protocol/index.ts';
import { commandLine, oneLine, printJson, printLine, printTable } from './print.ts';

/** The policies in force as the configuration would write them, each with where it comes from. */
export function printPolicies(policies: PoliciesView): void {
  printTable(
    ['POLICY', 'VALUE', 'FROM'],
    Object.entries(policies).map(([name, { value, from }]) => [
      Object.hasOwn(policyKeys, name) ? policyKeys[name as keyof typeof policyKeys] : name,
      String(policyText(name, value)) || 'none',
      from,
    ]),
  );
}

/** A job that was not submitted. */
export function printSettled(
  { job, existingId }: { readonly job: SettledJob; readonly existingId: number | null },
  format: 'json' | 'text',
): void {
  if (format === 'json') return printJson({ ...job, existingId });
  const lines: [string, string | null][] = [
    ['command', commandLine(job.command)],
    ['name', job.name],
    ['folder', job.cwd],
    ['group', `${job.group}, priority ${job.priority}`],
    ['profile', job.profile],
    ['scope', job.scope],
    ['not before', job.notBefore],
    ['after', afterText(job)],
    ['limits', resourcesText(job)],
    ['success', `exit code ${job.limits.successCodes.join(', ')}`],
    ['warning', job.warnings.length === 0 ? null : job.warnings.join('; ')],
    ['known as', existingId === null ? null : `job ${existingId}, by its idempotency key: a submit makes no other`],
  ];
  for (const [label, value] of lines) if (value !== null) printLine(`${label.padEnd(12)} ${oneLine(value)}`);
  printLine();
  printPolicies(job.policies);
}

export function afterText({ after, afterMode }: Pick<SettledJob, 'after' | 'afterMode'>): string | null {
  if (after.length === 0) return null;
  return `${after.join(', ')}${afterMode === 'any' ? ', however they end' : ''}`;
}

export function resourcesText({ resources }: Pick<SettledJob, 'resources'>): string | null {
  if (resources === null) return null;
  const { memoryBytes, cpus, pids, nice, enforcedBy, from } = resources;
  const said = { memory: memoryBytes && policyText('memoryBytes', memoryBytes), cpus, pids, nice };
  const parts = Object.entries(said).flatMap(([name, value]) => {
    const by = enforcedBy[name as keyof typeof enforcedBy];
    const isUsual = by === undefined || by === 'cgroup' || (name === 'nice' && by === 'each process');
    const source = from[name as keyof typeof from];
    const about = [...(isUsual ? [] : [by]), ...(source === 'config caps' ? [source] : [])].join(', ');
    return value === undefined ? [] : [`${name} ${value}${about === '' ? '' : ` (${about})`}`];
  });
  return parts.length === 0 ? null : parts.join(', ');
}
