/** Limits on what an attempt may use: which of them this host can hold a job to, and what becomes of the others. */
import {
  type Cause,
  CorralError,
  formatSize,
  type LimitName,
  type LimitsView,
  type ResourceCaps,
  type ResourcesSpec,
  unreachable,
} from '../../protocol/index.ts';
import { fromCaps } from './caps.ts';
import type { Change } from './changes.ts';
import { currentAttempt, type Job, type SettledResources } from './job.ts';

/** How a host holds jobs to each kind of limit. Found out by trying, when the daemon starts. */
export interface HostLimits {
  readonly how: LimitsView;
  /** The lowest value of nice(2) that the daemon may give to a job. */
  readonly lowestNice: number;
}

/** What an attempt did at its limits, as far as the kernel counts it. */
export interface AtLimits {
  /** Processes that were ended for want of memory. */
  readonly oomKills: number;
  /** Whether it was its own limit that they met; if not, the host had no memory left. */
  readonly oomAtOwnLimit: boolean;
  /** Processes or threads that it could not make. */
  readonly refusedForks: number;
  /** Most memory that all of it had at once, the file cache included, in bytes. `null`: not known. */
  readonly peakMemoryBytes: number | null;
}

export const limitNames = ['memory', 'cpus', 'pids', 'nice'] as const satisfies readonly LimitName[];

/** As long as nobody has looked at the host, nothing can be promised. */
export const unknownHost: HostLimits = {
  how: {
    memory: { by: 'not enforced', why: 'the host was not looked at' },
    cpus: { by: 'not enforced', why: 'the host was not looked at' },
    pids: { by: 'not enforced', why: 'the host was not looked at' },
    nice: { by: 'not enforced', why: 'the host was not looked at' },
  },
  lowestNice: 20,
};

/** The limits that can be capped, by their fields. */
const capNames = { memory: 'memoryBytes', cpus: 'cpus', pids: 'pids' } as const;
type CapName = keyof typeof capNames;

/**
 * What a job asks for, and no more than the caps, as this host can give it.
 *
 * @throws CorralError `LIMIT_UNENFORCEABLE` where it cannot and the job does not say `best-effort`
 */
export function settleResources(
  asked: ResourcesSpec | undefined,
  host: HostLimits,
  caps: ResourceCaps = {},
): SettledResources | null {
  const capped = cappedBy(caps, asked ?? {}, host);
  if (asked === undefined && capped.length === 0) return null;
  const inForce: ResourcesSpec = {
    ...asked,
    ...Object.fromEntries(capped.map((name) => [capNames[name], caps[capNames[name]]])),
  };
  const isCap = (name: LimitName) => capped.some((one) => one === name);
  const from = Object.fromEntries(wantedLimits(inForce).map((name) => [name, isCap(name) ? fromCaps : 'job']));
  const settled = settleLeniently(inForce, from, host);
  const [reason] = settled.shortfalls;
  if (reason !== undefined && asked?.enforce !== 'best-effort') {
    throw new CorralError(
      'LIMIT_UNENFORCEABLE',
      `${reason} To have the job all the same, without this limit: --limits best-effort (in a request: "enforce": "best-effort").`,
    );
  }
  return settled;
}

/** The limits that are those of the caps: where the job asks for more, and where it asks for none and the host can enforce it. */
function cappedBy(caps: ResourceCaps, asked: ResourcesSpec, { how }: HostLimits): CapName[] {
  return capsOf(caps).filter((name) => {
    const value = asked[capNames[name]];
    return value === undefined ? how[name].by !== 'not enforced' : value > (caps[capNames[name]] ?? value);
  });
}

function capsOf(caps: ResourceCaps): CapName[] {
  return (Object.keys(capNames) as CapName[]).filter((name) => caps[capNames[name]] !== undefined);
}

/** The caps that this host cannot hold jobs to, each with the reason, in a sentence. */
export function unenforcedCaps(caps: ResourceCaps = {}, { how }: HostLimits): string[] {
  return capsOf(caps)
    .filter((name) => how[name].by === 'not enforced')
    .map((name) => `${inWords(name, caps)} that [caps] sets cannot be enforced on this host: ${how[name].why}.`);
}

/**
 * A job that an earlier daemon accepted: this one may be able to hold it to its limits in another way, or not at all. A limit that
 * the job did not ask for so is no reason not to run it: a new job would be accepted without.
 */
export function onThisHost(job: Job, host: HostLimits): Job {
  const { resources } = job.definition;
  if (resources === null) return job;
  const { from = {} } = resources;
  const settled = settleLeniently(resources, from, host, (name) => from[name] === fromCaps);
  return withResources(job, settled);
}

function settleLeniently(
  limits: ResourcesSpec,
  from: NonNullable<SettledResources['from']>,
  host: HostLimits,
  mayLack: (name: LimitName) => boolean = () => false,
): SettledResources {
  const { memoryBytes, cpus, pids, nice, enforce } = limits;
  const wanted = wantedLimits(limits);
  const found = wanted.map((name) => [name, howFor(name, limits, host)] as const);
  return {
    ...Object.fromEntries(
      Object.entries({ memoryBytes, cpus, pids, nice, enforce }).filter(([, value]) => value !== undefined),
    ),
    enforcedBy: Object.fromEntries(found.map(([name, { by }]) => [name, by])),
    from,
    shortfalls: found
      .filter(([name, { by }]) => by === 'not enforced' && !mayLack(name))
      .map(([name, { why }]) => `${inWords(name, limits)} cannot be enforced on this host: ${why}.`),
  };
}

/** The job with other limits, and with the warnings that come with those. */
export function withResources(job: Job, resources: SettledResources | null): Job {
  const before = job.definition.resources?.shortfalls ?? [];
  const others = job.warnings.filter((warning) => !before.includes(warning));
  return {
    ...job,
    definition: { ...job.definition, resources },
    warnings: [...(resources?.shortfalls ?? []), ...others],
  };
}

function wantedLimits({ memoryBytes, cpus, pids, nice }: ResourcesSpec): LimitName[] {
  const values = { memory: memoryBytes, cpus, pids, nice };
  return limitNames.filter((name) => values[name] !== undefined);
}

function howFor(name: LimitName, { nice }: ResourcesSpec, { how, lowestNice }: HostLimits): LimitsView[LimitName] {
  if (name !== 'nice' || nice === undefined || nice >= lowestNice || how.nice.by === 'not enforced') return how[name];
  const why = `the daemon may give no value below ${lowestNice}; give it more with LimitNICE= in its unit, or run it as root`;
  return { by: 'not enforced', why };
}

function inWords(name: LimitName, { memoryBytes = 0, cpus, pids, nice }: ResourcesSpec): string {
  switch (name) {
    case 'memory':
      return `The memory limit of ${formatSize(memoryBytes)}`;
    case 'cpus':
      return `The limit of ${cpus} ${cpus === 1 ? 'CPU' : 'CPUs'}`;
    case 'pids':
      return `The limit of ${pids} ${pids === 1 ? 'process' : 'processes'}`;
    case 'nice':
      return `Nice ${nice}`;
    default:
      return unreachable(name);
  }
}

const wantOfMemory = 'for want of memory';

/** What to say of an attempt that the kernel ended for want of memory. */
export function oomMessage(resources: SettledResources | null, at: AtLimits): string {
  const ended = `${at.oomKills === 1 ? 'one process was' : `${at.oomKills} processes were`} ended ${wantOfMemory}`;
  const limit = resources?.memoryBytes;
  if (limit === undefined || !at.oomAtOwnLimit) return `${ended}: the host, or what the daemon is in, had none left`;
  const peak = at.peakMemoryBytes === null ? '' : `, and its peak ${formatSize(at.peakMemoryBytes)}`;
  return `${ended}: its limit is ${formatSize(limit)}${peak}`;
}

const forksRefused = 'fork was refused ';

/** What there is to warn of when an attempt is over that ended for another cause: it went on, but not as it wanted. */
function limitWarnings(resources: SettledResources | null, cause: Cause | null, at: AtLimits): string[] {
  const { pids } = resources ?? {};
  const often = at.refusedForks === 1 ? 'once' : `${at.refusedForks} times`;
  return [
    ...(at.refusedForks > 0 && pids !== undefined
      ? [`${forksRefused}${often}: the limit is ${pids} ${pids === 1 ? 'process or thread' : 'processes and threads'}`]
      : []),
    ...(at.oomKills > 0 && cause !== 'oom' ? [oomMessage(resources, at)] : []),
  ];
}

/** The job with what its newest attempt did at its limits. Of earlier attempts, the events tell. */
export function warnOfLimits(job: Job, at: AtLimits | null): { job: Job; notes: Change[] } {
  const { resources } = job.definition;
  const warnings = at === null ? [] : limitWarnings(resources, currentAttempt(job).cause, at);
  if (warnings.length === 0) return { job, notes: [] };
  const shortfalls = resources?.shortfalls ?? [];
  const others = job.warnings.filter(
    (warning) => shortfalls.includes(warning) || !(warning.startsWith(forksRefused) || warning.includes(wantOfMemory)),
  );
  const after = { ...job, warnings: [...others, ...warnings] };
  return {
    job: after,
    notes: warnings.map((message) => ({ kind: 'note', job: after, note: 'warning', detail: { message } })),
  };
}
