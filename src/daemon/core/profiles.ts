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

export interface Profile {
  readonly name: string;
  /** The profile whose values it takes where it says nothing itself; `null` for `default`, which says everything. */
  readonly base: string | null;
  readonly settings: PolicySettings;
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
    breakerFailures: 10,
    breakerWindowMs: minuteMs,
  },
  onSupervisorLost: 'fail',
  outputLimitBytes: 256 * 1024 ** 2,
  onOutputLimit: 'truncate',
} satisfies Policies;

const streamIdle = { cpuMillicores: 4, checks: 5, intervalMs: 10_000, signals: ['cpu'] } satisfies Partial<IdlePolicy>;

/** The numbers of the design, section 6. */
export const builtInProfiles: readonly Profile[] = [
  { name: 'default', base: null, settings: everything },
  {
    name: 'stream',
    base: 'default',
    settings: { idle: streamIdle, leaseMs: 3 * minuteMs, ttlMs: 2 * minuteMs },
  },
  { name: 'batch', base: 'default', settings: { maxRuntimeMs: 30 * minuteMs, retry: { limit: 2 } } },
  {
    name: 'test',
    base: 'default',
    settings: { idle: streamIdle, maxRuntimeMs: 10 * minuteMs, ttlMs: 2 * minuteMs },
  },
  {
    name: 'service',
    base: 'default',
    settings: { idle: null, retry: { limit: null, maxDelayMs: minuteMs } },
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

/** One value of the policies. `idle` and its parts are values of their own: `idle` says whether there is such a policy at all. */
type Flat = Map<string, { value: unknown; from: string }>;

/**
 * Settles the policies of a job.
 *
 * @throws CorralError `PROFILE_NOT_FOUND`
 */
export function settlePolicies(asked: PolicySettings, profileName: string, defaults: JobDefaults): SettledPolicies {
  const flat: Flat = new Map();
  for (const { name, settings } of lineage(profileName, defaults)) {
    put(flat, settings, `profile ${name}`);
    if (name === 'default') put(flat, defaults.jobs, 'config jobs');
  }
  put(flat, asked, 'job');
  limit(flat, defaults.caps);
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

/** `null` is no limit at all, and so beyond any cap. */
function limit(flat: Flat, caps: CapSettings): void {
  for (const [name, cap] of Object.entries(caps)) {
    const known = flat.get(name);
    if (cap === undefined || known === undefined) continue;
    if (known.value === null || Number(known.value) > cap) flat.set(name, { value: cap, from: 'cap' });
  }
}
