import { type PoliciesView, type PolicyName, policyKeys, policyText, type ShownKey } from '../../protocol/index.ts';
import { type JobDefaults, type Profile, policiesView, settlePolicies } from '../core/index.ts';
import { configKeys } from './keys.ts';
import { valueAt } from './policies.ts';

export interface WhatIsInForce {
  /** The file, and the variables over it. */
  readonly merged: Readonly<Record<string, unknown>>;
  readonly jobDefaults: JobDefaults;
  /** File and line, or the variable, of a key that is set. */
  readonly sourceOf: (path: readonly string[]) => string;
}

/** Every key in force as the file would have it, with where it comes from: file and line, a variable, or what is built in. */
export function shownKeys({ merged, jobDefaults, sourceOf }: WhatIsInForce): ShownKey[] {
  const uncapped = policiesView(settlePolicies({}, 'default', { ...jobDefaults, caps: {} }));
  const shown: Shown = (path, unset) => {
    const value = valueAt(merged, path);
    const key = path.join('.');
    if (value === undefined) return unset === null ? [] : [{ key, ...unset }];
    return isTable(value) ? [] : [{ key, value: plain(value), from: sourceOf(path) }];
  };
  return [
    ...configKeys
      .filter(({ path }) => path[1] !== 'NAME')
      .flatMap(({ path, fallback }) => shown(path, ifUnset(path, fallback, uncapped))),
    ...[...jobDefaults.profiles.values()].flatMap((profile) => shownProfile(profile, shown)),
  ];
}

type Unkeyed = Omit<ShownKey, 'key'>;
type Shown = (path: readonly string[], unset: Unkeyed | null) => ShownKey[];

/** What is so where a key is not set. `null`: there is nothing to show, as of parts of an idle policy that is off. */
function ifUnset([section, ...rest]: readonly string[], fallback: unknown, uncapped: PoliciesView): Unkeyed | null {
  if (section !== 'jobs') return { value: plain(fallback ?? 'off'), from: 'default' };
  const name = nameOf(rest.join('.'));
  const inForce = uncapped[name];
  return inForce === undefined ? null : { value: policyText(name, inForce.value), from: inForce.from };
}

/** What a profile says itself. What `default` says is shown as that which holds for all jobs. */
function shownProfile({ name, base, settings, configured }: Profile, shown: Shown): ShownKey[] {
  const from = 'built in';
  const builtIn = flattened(name === 'default' ? {} : settings);
  const policies = new Set([...builtIn.keys(), ...flattened(configured).keys()]);
  return [
    ...(base === null ? [] : shown(['profiles', name, 'base'], { value: base, from })),
    ...[...policies].flatMap((policy) => {
      const value = builtIn.get(policy);
      const isOff = policy.startsWith('idle.') && configured.idle === null;
      const unset = value === undefined || isOff ? null : { value: policyText(policy, value), from };
      return shown(['profiles', name, ...policyKeys[policy].split('.')], unset);
    }),
  ];
}

/** Each value by the name that the view has for it. */
function flattened(settings: object): Map<PolicyName, PoliciesView[string]['value']> {
  return new Map(
    Object.entries(settings).flatMap(([name, value]): [PolicyName, PoliciesView[string]['value']][] =>
      isTable(value)
        ? Object.entries(value).map(([part, one]) => [`${name}.${part}` as PolicyName, one])
        : [[name as PolicyName, value]],
    ),
  );
}

function nameOf(key: string): PolicyName {
  const found = Object.entries(policyKeys).find(([, one]) => one === key);
  if (found === undefined) throw new Error(`there is no policy ${key}`);
  return found[0] as PolicyName;
}

function isTable(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** As JSON has it. Lists of tables are shown as text. */
function plain(value: unknown): ShownKey['value'] {
  if (Array.isArray(value)) return value.map((one) => (typeof one === 'object' ? JSON.stringify(one) : one));
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value;
  return JSON.stringify(value);
}
