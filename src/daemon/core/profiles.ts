/**
 * Profiles: named sets of policies. What a job gets is settled once, when it is submitted, from the built-in profiles, the
 * configuration and its own wishes, value by value, each with the name of where it came from.
 */
import {
  type CapSettings,
  CorralError,
  type IdlePolicy,
  type Policies,
  type PolicySettings,
  type RetryPolicy,
} from '../../protocol/index.ts';
import { type Flat, limit } from './caps.ts';
import type { HostLimits } from './resources.ts';

export interface Profile {
  readonly name: string;
  /** The profile whose values it takes where it says nothing itself; `null` for `default`, which says everything. */
  readonly base: string | null;
  /** What is built in; nothing, of a profile that the configuration makes. */
  readonly settings: PolicySettings;
  /** What the configuration says of it. */
  readonly configured: PolicySettings;
}

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;

/** What `default` has. Every other profile says what differs. */
const everything = {
  maxRuntimeMs: null,
  killGraceMs: 5_000,
  startDeadlineMs: null,
  leaseMs: null,
  ttlMs: dayMs,
  idle: {
    cpuMillicores: 4,
    checks: 30,
    intervalMs: minuteMs,
    signals: ['cpu', 'io', 'output', 'progress', 'client'],
    dryRun: false,
  },
  retry: {
    limit: 0,
    delayMs: 1_000,
    maxDelayMs: 10 * minuteMs,
    jitter: 0.5,
    causes: ['exit', 'signal', 'oom', 'max-runtime', 'idle', 'output-limit'],
    exitCodes: null,
    // For jobs that want shorter pauses: with these, which grow to ten minutes, nothing fails so often.
    breakerFailures: 10,
    breakerWindowMs: minuteMs,
  },
  onSupervisorLost: 'fail',
  outputLimitBytes: 256 * 1024 ** 2,
  onOutputLimit: 'truncate',
} satisfies Policies;

/**
 * A service is run again for ever, up to a minute apart. Its pauses are 1, 2, 4 … 32 s and then 60 s, each up to a half shorter by
 * chance, so the 16th of failures without a run between them comes 301 to 603 s after the first: what fails at once is given up
 * after five to ten minutes, and what needs something that is away for five minutes lives. In 20 minutes there are so many also of
 * one that fails within 39 s of each start, or whose pauses are long already (15 times 60 s). One that runs for 80 s and more
 * each time never has so many.
 */
const serviceRetry = {
  limit: null,
  maxDelayMs: minuteMs,
  breakerFailures: 16,
  breakerWindowMs: 20 * minuteMs,
} satisfies Partial<RetryPolicy>;

const streamIdle = { cpuMillicores: 4, checks: 5, intervalMs: 10_000, signals: ['cpu'] } satisfies Partial<IdlePolicy>;

/** The numbers of the design, section 6. */
export const builtInProfiles: readonly Profile[] = [
  { name: 'default', base: null, settings: everything, configured: {} },
  {
    name: 'stream',
    base: 'default',
    settings: { idle: streamIdle, leaseMs: 3 * minuteMs, ttlMs: 2 * minuteMs },
    configured: {},
  },
  { name: 'batch', base: 'default', settings: { maxRuntimeMs: 30 * minuteMs, retry: { limit: 2 } }, configured: {} },
  {
    name: 'test',
    base: 'default',
    settings: { idle: streamIdle, maxRuntimeMs: 10 * minuteMs, ttlMs: 2 * minuteMs },
    configured: {},
  },
  {
    name: 'service',
    base: 'default',
    settings: { idle: null, retry: serviceRetry },
    configured: {},
  },
];

/** Everything that settles what a job gets where its caller says nothing, or asks for too much. */
export interface JobDefaults {
  /** By name; `default` is among them. */
  readonly profiles: ReadonlyMap<string, Profile>;
  /** What the configuration says for all jobs; a profile other than `default` that names a value wins. */
  readonly jobs: PolicySettings;
  /** What no job may exceed. */
  readonly caps: CapSettings;
  /** What this host can hold jobs to. Absent: nothing is known of it, and no limit can be promised. */
  readonly hostLimits?: HostLimits;
}

export const builtInDefaults: JobDefaults = {
  profiles: new Map(builtInProfiles.map((profile) => [profile.name, profile])),
  jobs: {},
  caps: {},
};

export interface SettledPolicies {
  readonly profile: string;
  readonly policies: Policies;
  /** Where each value comes from, by its name, such as `idle.checks`. */
  readonly sources: Readonly<Record<string, string>>;
}

/** Jobs that ask for the same get one object, which the store digests once. Forgotten with the configuration that it came from. */
const settledBefore = new WeakMap<JobDefaults, Map<string, SettledPolicies>>();

/** Different wishes that are remembered for one configuration. */
const mostRemembered = 1_000;

/**
 * Settles the policies of a job: those of its profile, over those of the profiles that it builds upon, over what the configuration
 * says for all jobs, over the profile `default`; what the job asks for over all of them; and no more than the caps.
 *
 * @throws CorralError `PROFILE_NOT_FOUND`
 */
export function settlePolicies(asked: PolicySettings, profileName: string, defaults: JobDefaults): SettledPolicies {
  const known = settledBefore.get(defaults) ?? new Map<string, SettledPolicies>();
  settledBefore.set(defaults, known);
  const wish = JSON.stringify([profileName, asked]);
  const settled = known.get(wish) ?? settleAnew(asked, profileName, defaults);
  if (known.size >= mostRemembered) known.clear();
  known.set(wish, settled);
  return settled;
}

function settleAnew(asked: PolicySettings, profileName: string, defaults: JobDefaults): SettledPolicies {
  const flat: Flat = new Map();
  for (const { name, settings, configured } of lineage(profileName, defaults)) {
    put(flat, settings, `profile ${name}`);
    put(flat, configured, `config profiles.${name}`);
    if (name === 'default') put(flat, defaults.jobs, 'config jobs');
  }
  const ofProfile = new Map(flat);
  put(flat, asked, 'job');
  limit(flat, ofProfile, defaults.caps);
  const value = (name: string) => flat.get(name)?.value;
  const group = (prefix: string) =>
    Object.fromEntries(
      [...flat]
        .filter(([name]) => name.startsWith(`${prefix}.`))
        .map(([name, { value }]) => [name.slice(prefix.length + 1), value]),
    );
  const policies = {
    ...Object.fromEntries(Object.keys(everything).map((name) => [name, value(name)])),
    idle: value('idle') === null ? null : (group('idle') as unknown as IdlePolicy),
    retry: group('retry') as unknown as RetryPolicy,
  } as unknown as Policies;
  const sources = Object.fromEntries(
    [...flat]
      .filter(([name]) =>
        name.startsWith('idle.') ? policies.idle !== null : name !== 'idle' || policies.idle === null,
      )
      .map(([name, { from }]) => [name, from]),
  );
  return { profile: profileName, policies, sources };
}

/** A profile and those that it builds upon, the most general first. */
function lineage(name: string, { profiles }: JobDefaults): Profile[] {
  const profile = profiles.get(name);
  if (profile === undefined) {
    throw new CorralError(
      'PROFILE_NOT_FOUND',
      `There is no profile "${name}". Take one of ${[...profiles.keys()].join(', ')}, or add it to the configuration as [profiles.${name}].`,
    );
  }
  return [...(profile.base === null ? [] : lineage(profile.base, { profiles, jobs: {}, caps: {} })), profile];
}

/** What the configuration says of a profile. */
export interface ConfiguredProfile {
  readonly name: string;
  /** Absent: that of the built-in profile of this name, else `default`. */
  readonly base?: string | undefined;
  readonly settings: PolicySettings;
}

/**
 * The built-in profiles with what the configuration says on top, and those that it makes.
 *
 * @param fail called with a profile whose base cannot be, and why; must throw
 */
export function profilesWith(
  configured: readonly ConfiguredProfile[],
  fail: (name: string, reason: string) => never,
): ReadonlyMap<string, Profile> {
  const profiles = new Map(builtInProfiles.map((profile) => [profile.name, profile]));
  for (const { name, base, settings } of configured) {
    const builtIn = profiles.get(name);
    profiles.set(name, {
      name,
      base: base ?? (builtIn === undefined ? 'default' : builtIn.base),
      settings: builtIn?.settings ?? {},
      configured: settings,
    });
  }
  for (const { name } of configured) {
    const passed: string[] = [];
    for (let at: string | null = name; at !== null; at = profiles.get(at)?.base ?? null) {
      passed.push(at);
      const base: string | null | undefined = profiles.get(at)?.base;
      if (typeof base === 'string' && passed.includes(base))
        fail(at, `${[...passed, base].join(' builds upon ')}; a profile must come down to "default"`);
      if (typeof base === 'string' && !profiles.has(base))
        fail(at, `there is no profile "${base}"; take one of ${[...profiles.keys()].join(', ')}`);
    }
  }
  return profiles;
}

function put(flat: Flat, settings: PolicySettings, from: string): void {
  for (const [name, value] of Object.entries(settings)) {
    if (value === undefined) continue;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      flat.set(name, { value, from });
      continue;
    }
    if (name === 'idle') flat.set(name, { value: true, from });
    for (const [part, one] of Object.entries(value))
      if (one !== undefined) flat.set(`${name}.${part}`, { value: one, from });
  }
}
