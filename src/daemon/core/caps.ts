/** The most that any job may have, whoever asks. */
import type { CapSettings, IdlePolicy } from '../../protocol/index.ts';

/**
 * The values of the policies by their names, such as `idle.checks`, each with where it comes from. `idle` says whether there is such
 * a policy at all; its parts are there in any case.
 */
export type Flat = Map<string, { value: unknown; from: string }>;

export const fromCaps = 'config caps';

/**
 * Takes back what is beyond a cap. `null` is no limit at all, and so beyond any cap; but of the grace, it is none, and below all.
 *
 * @param flat what the job asks for, over its profile; changed
 * @param profile what its profile has
 */
export function limit(flat: Flat, profile: Flat, { idleMs, resources: _, ...caps }: CapSettings): void {
  for (const [name, cap] of Object.entries(caps)) {
    const known = flat.get(name);
    if (cap === undefined || known === undefined) continue;
    const isBeyond = known.value === null ? name !== 'killGraceMs' : Number(known.value) > cap;
    if (isBeyond) flat.set(name, { value: cap, from: fromCaps });
  }
  if (idleMs !== undefined) limitIdle(flat, profile, idleMs);
}

/** Beyond the schema's most there is no number of checks. */
const mostChecks = 1_000_000;

/**
 * An idle job is ended after so long, at the latest. A cap on the time alone could be had for nothing: a rule that is off or a dry
 * run ends no job, and one with a threshold of 0, with more signals or with checks so close together that any wakeup counts ends
 * hardly one. So none of these may be laxer than in the profile either.
 */
function limitIdle(flat: Flat, profile: Flat, capMs: number): void {
  const asked = partsOf(flat);
  const least = partsOf(profile);
  const isOff = flat.get('idle')?.value === null;
  const wantedMs = isOff ? Number.POSITIVE_INFINITY : asked.checks * asked.intervalMs;
  const intervalMs = Math.min(capMs, Math.max(asked.intervalMs, least.intervalMs));
  const mayChecks = Math.min(mostChecks, Math.max(1, Math.floor(capMs / intervalMs)));
  const isWithin = asked.signals.every((signal) => least.signals.includes(signal));
  const inForce: IdlePolicy = {
    cpuMillicores: Math.max(asked.cpuMillicores, least.cpuMillicores),
    checks: Math.min(mayChecks, Math.max(1, Math.ceil(wantedMs / intervalMs))),
    intervalMs,
    signals: isWithin ? asked.signals : least.signals,
    dryRun: false,
  };
  for (const [part, value] of Object.entries(inForce))
    if (isOff || value !== flat.get(`idle.${part}`)?.value) flat.set(`idle.${part}`, { value, from: fromCaps });
  flat.set('idle', { value: true, from: fromCaps });
}

function partsOf(flat: Flat): IdlePolicy {
  const part = <N extends keyof IdlePolicy>(name: N) => flat.get(`idle.${name}`)?.value as IdlePolicy[N];
  return {
    cpuMillicores: part('cpuMillicores'),
    checks: part('checks'),
    intervalMs: part('intervalMs'),
    signals: part('signals'),
    dryRun: part('dryRun'),
  };
}
