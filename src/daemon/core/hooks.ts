/** Which hooks are to be run, and for what: the pure half of notifications. */
import { type HookMoment, type HookSpec, unreachable } from '../../protocol/index.ts';
import type { Change } from './changes.ts';
import { attemptsBegun, type Job } from './job.ts';
import { hasEnded, holdsSlot } from './phase.ts';

/** A hook of the configuration: for all jobs, or those that have what is named. */
export interface GlobalHook extends HookSpec {
  readonly group: string | null;
  readonly profile: string | null;
  readonly name: string | null;
}

/** A hook that is to be run. */
export interface HookCall {
  /** As it was right after the transition. */
  readonly job: Job;
  readonly moment: HookMoment;
  readonly hook: HookSpec;
  readonly from: 'job' | 'config';
}

/** The hooks that these changes call for, in their order; those of the job itself come first. */
export function hookCalls(changes: readonly Change[], globalHooks: readonly GlobalHook[]): HookCall[] {
  return changes.flatMap((change) => {
    const moment = momentOf(change);
    if (change.kind !== 'job' || moment === null) return [];
    const job = change.after;
    const call = (from: HookCall['from']) => (hook: HookSpec) => ({ job, moment, hook, from });
    const applies = (hook: HookSpec) => hook.on.includes(moment);
    return [
      ...job.definition.hooks.filter(applies).map(call('job')),
      ...globalHooks.filter((hook) => applies(hook) && isFor(hook, job)).map(call('config')),
    ];
  });
}

function isFor({ group, profile, name }: GlobalHook, { definition }: Job): boolean {
  return (
    (group === null || group === definition.group) &&
    (profile === null || profile === definition.profile) &&
    (name === null || name === definition.name)
  );
}

function momentOf(change: Change): HookMoment | null {
  if (change.kind !== 'job' || change.before === null) return null;
  const { before, after } = change;
  if (before.phase.status === after.phase.status || hasEnded(before.phase)) return null;
  switch (after.phase.status) {
    case 'queued':
      // An attempt that never was, for want of room on the disk, is taken off the list.
      return holdsSlot(before.phase.status) && attemptsBegun(before) === attemptsBegun(after) ? 'retrying' : null;
    case 'starting':
      return null;
    case 'running':
    case 'stopping':
    case 'completed':
    case 'failed':
    case 'cancelled':
      return after.phase.status;
    default:
      return unreachable(after.phase);
  }
}

/** How a hook failed. */
export interface HookFailure {
  readonly moment: HookMoment;
  readonly command: readonly string[];
  /** What happened, in words. */
  readonly reason: string;
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** The end of what it wrote there. */
  readonly stderr: string;
}

/** What the shell knows of the hooks of the last hour. */
export interface HookFacts {
  readonly failures: number;
  /** The newest of them, in a sentence; `null`: none. */
  readonly lastFailure: string | null;
}

/** A failure in a sentence. */
export function describeHookFailure({ moment, command, reason, stderr }: HookFailure): string {
  const said = stderr.trim() === '' ? '' : `: ${stderr.trim()}`;
  return `the hook on "${moment}" (${command.join(' ').slice(0, 100)}) ${reason}${said}`;
}
