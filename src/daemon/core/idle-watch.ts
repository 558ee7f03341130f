/**
 * When a job counts as idle. A check compares two samples of a running job: it is quiet if the CPU time that was used between
 * them is at or below the threshold and no other signal of its policy shows activity. So many quiet checks in a row end it.
 *
 * What cannot be known is never taken for idle: a sample that failed, the first one, time in which the job was paused or nobody
 * looked. It proves nothing, so the count starts again. The rules say when a costly signal need not be read at all.
 */
import { formatDuration, type IdlePolicy, unreachable } from '../../protocol/index.ts';
import type { Progress } from './attempt.ts';
import type { Instant } from './instant.ts';

/** What is counted of an attempt's processes. `null`: it could not be read; absent: nobody tried. Numbers only grow. */
export interface Counts {
  /** CPU time, in µs. */
  readonly cpu?: number | null;
  /** Bytes of output. */
  readonly output?: number | null;
  /** Bytes read and written. The kernel leaves out those of recv(2), send(2) and their like; `talk` makes up for that. */
  readonly io?: number | null;
  /** What its processes have to do with others, by pid. */
  readonly talk?: ReadonlyMap<number, Talk> | null;
}

export type Counter = keyof Counts;

/** Of one process. */
export interface Talk {
  /** How often its threads have waited for something and gone on. */
  readonly waits: number;
  /** `null`: not known. */
  readonly connections: Connections | null;
}

/** The open connections of a process to others. */
export interface Connections {
  /** Bytes that have passed through those of TCP: the kernel counts them. */
  readonly bytes: number;
  /** How many there are of which it does not, such as Unix sockets. */
  readonly uncounted: number;
}

/** The signal that each counter belongs to, the cheapest to read first. */
const signalOf = { cpu: 'cpu', output: 'output', io: 'io', talk: 'io' } as const satisfies Record<Counter, string>;
const counters = Object.keys(signalOf) as Counter[];

export interface IdleSample {
  readonly atMonoMs: number;
  readonly counts: Counts;
}

/** What is remembered of a running job between two checks. Of this daemon's life only. */
export interface IdleWatch {
  /** Checks are due at whole intervals from here. */
  readonly sinceMonoMs: number;
  /** `null` while a sample is being taken. */
  readonly dueMonoMs: number | null;
  readonly lookedMonoMs: number;
  /** `null`: whatever comes next has nothing to be compared with. */
  readonly last: IdleSample | null;
  /** What the job had reported by then. */
  readonly progress: Progress | null;
  /** Quiet checks in a row, up to now. */
  readonly quiet: number;
  /** CPU use in the newest of them, oldest first. */
  readonly millicores: readonly number[];
}

/** Samples that a message names. */
const shownSamples = 30;

/** Checks of all jobs fall on a common beat, so that a thousand jobs are looked at together and not one by one. */
const longestBeatMs = 1_000;
const beatsPerInterval = 20;

/** A new leader has used nothing: so the first sample costs no look. */
const nothingUsed: Counts = { cpu: 0, output: 0, io: 0, talk: new Map() };

/** The watch over a job that has just been launched; `null`: its policy wants none. */
export function startWatch(rule: IdlePolicy | null, { monoMs }: Instant): IdleWatch | null {
  if (rule === null) return null;
  return {
    sinceMonoMs: monoMs,
    dueMonoMs: nextCheck(monoMs, rule.intervalMs, monoMs),
    lookedMonoMs: monoMs,
    last: { atMonoMs: monoMs, counts: nothingUsed },
    progress: null,
    quiet: 0,
    millicores: [],
  };
}

/** The watch over a job whose processes stood still: what was seen of it before cannot be compared with what comes. */
export function watchAnew(watch: IdleWatch | null): IdleWatch | null {
  return watch && { ...watch, last: null, quiet: 0, millicores: [] };
}

/** The first whole interval after a start that leaves at least half of one until then, on the beat. */
function nextCheck(sinceMonoMs: number, intervalMs: number, nowMonoMs: number): number {
  const beatMs = Math.min(longestBeatMs, intervalMs / beatsPerInterval);
  const passed = Math.max(1, Math.ceil((nowMonoMs - sinceMonoMs) / intervalMs + 0.5));
  return Math.ceil((sinceMonoMs + passed * intervalMs) / beatMs) * beatMs;
}

/**
 * What is to be read next of a job, given what has been: `null` where that is enough. Costlier signals are read only while no
 * cheaper one shows activity.
 */
export function nextCounter(
  check: { readonly rule: IdlePolicy; readonly last: IdleSample | null },
  counts: Counts,
  atMonoMs: number,
): Counter | null {
  for (const counter of counters) {
    if (!check.rule.signals.includes(signalOf[counter])) continue;
    if (!(counter in counts)) return counter;
    if (activityOf(counter, check.last, { atMonoMs, counts }, check.rule) === 'active') return null;
  }
  return null;
}

type Activity = 'quiet' | 'active' | 'unknown';

function activityOf(counter: Counter, last: IdleSample | null, sample: IdleSample, rule: IdlePolicy): Activity {
  if (last === null) return 'unknown';
  if (counter === 'talk') return talkBetween(last.counts.talk ?? null, sample.counts.talk ?? null);
  const before = last.counts[counter] ?? null;
  const count = sample.counts[counter] ?? null;
  if (before === null || count === null || count < before) return 'unknown';
  switch (counter) {
    case 'cpu': {
      const millicores = millicoresBetween(before, count, sample.atMonoMs - last.atMonoMs);
      return millicores <= rule.cpuMillicores ? 'quiet' : 'active';
    }
    case 'output':
    case 'io':
      return count > before ? 'active' : 'quiet';
    default:
      return unreachable(counter);
  }
}

/** Whether a process has run since the look before. Of one that has not, connections need not be looked at. */
export function hasRun(before: Talk | undefined, waits: number): boolean {
  return before?.waits !== waits;
}

/**
 * Bytes that passed show by themselves. Where they are not counted, a process that has run is taken to have done so for its peer.
 * One that has none, such as a server that only listens, runs now and then for reasons of its own.
 */
function talkBetween(before: Counts['talk'] | null, now: Counts['talk'] | null): Activity {
  if (before == null || now == null) return 'unknown';
  const found = [...now].map(([pid, { waits, connections }]): Activity => {
    const known = before.get(pid);
    if (!hasRun(known, waits)) return 'quiet';
    if (connections === null) return 'unknown';
    if (connections.uncounted > 0) return 'active';
    // A new process had none.
    const bytes = known === undefined ? 0 : known.connections?.bytes;
    if (bytes === undefined) return connections.bytes === 0 ? 'quiet' : 'unknown';
    return connections.bytes === bytes ? 'quiet' : 'active';
  });
  return strongest(found);
}

/** One that is active decides; one that is not known is stronger than all that are quiet. */
function strongest(found: readonly Activity[]): Activity {
  if (found.includes('active')) return 'active';
  return found.includes('unknown') ? 'unknown' : 'quiet';
}

/** 1 µs in 1 ms is one thousandth of a core. */
function millicoresBetween(beforeUsec: number, usec: number, elapsedMs: number): number {
  return (usec - beforeUsec) / elapsedMs;
}

export interface Observation {
  readonly watch: IdleWatch;
  /** `idle`: the check was quiet, and the last that was missing. It is said once for each run of quiet checks. */
  readonly verdict: Activity | 'idle';
}

/** What came of a look. `unseen`: it failed, or says nothing, as of a paused job. `heardOf`: there was a report or a client. */
export type Look = IdleSample | 'unseen' | 'heardOf';

/** Takes a look into account. */
export function observe(watch: IdleWatch, look: Look, rule: IdlePolicy, now: Instant): Observation {
  const sample = typeof look === 'string' ? null : look;
  const verdict = look === 'heardOf' ? 'active' : judge(watch.last, sample, rule);
  const next = {
    ...watch,
    dueMonoMs: nextCheck(watch.sinceMonoMs, rule.intervalMs, now.monoMs),
    lookedMonoMs: sample?.atMonoMs ?? now.monoMs,
    last: sample,
  };
  if (verdict !== 'quiet') return { watch: { ...next, quiet: 0, millicores: [] }, verdict };
  const quiet = watch.quiet + 1;
  const used = usedBetween(watch.last, sample);
  const millicores = used === null ? [] : [...watch.millicores.slice(1 - shownSamples), used];
  return { watch: { ...next, quiet, millicores }, verdict: quiet === rule.checks ? 'idle' : 'quiet' };
}

function judge(last: IdleSample | null, sample: IdleSample | null, rule: IdlePolicy): Activity {
  if (last === null || sample === null) return 'unknown';
  const elapsedMs = sample.atMonoMs - last.atMonoMs;
  // Nobody looked for longer than that: the machine was stopped, or the daemon was.
  if (elapsedMs <= 0 || elapsedMs > 2 * rule.intervalMs) return 'unknown';
  return strongest(
    counters
      .filter((counter) => rule.signals.includes(signalOf[counter]))
      .map((counter) => activityOf(counter, last, sample, rule)),
  );
}

function usedBetween(last: IdleSample | null, sample: IdleSample | null): number | null {
  const before = last?.counts.cpu ?? null;
  const count = sample?.counts.cpu ?? null;
  if (last === null || sample === null || before === null || count === null) return null;
  return millicoresBetween(before, count, sample.atMonoMs - last.atMonoMs);
}

/** Why a job counts as idle, with the samples that decided it. */
export function idleReason({ quiet, millicores }: IdleWatch, rule: IdlePolicy): string {
  const others = rule.signals.filter((signal) => signal !== 'cpu');
  const checks = `${quiet} check${quiet === 1 ? '' : 's'}, ${formatDuration(rule.intervalMs)} apart`;
  const without = others.length === 0 ? '' : `, without ${others.join(', ')}`;
  if (!rule.signals.includes('cpu')) return checks + without;
  const earlier = quiet > millicores.length ? '…, ' : '';
  const samples = millicores.map((used) => used.toFixed(1)).join(', ');
  return `${checks}${without}, at or below ${rule.cpuMillicores} millicores: ${earlier}${samples}`;
}
