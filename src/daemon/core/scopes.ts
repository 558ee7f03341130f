/** Scopes: a client's bag of jobs. When it is closed, or its client goes away, all of them end. */
import { formatDuration, type ScopeReport } from '../../protocol/index.ts';
import type { Change } from './changes.ts';
import { type Decision, merge, nothing, refuse } from './decision.ts';
import type { Effect } from './effects.ts';
import type { Event } from './events.ts';
import type { Instant } from './instant.ts';
import type { Job } from './job.ts';
import type { Scope, ScopeEnd, ScopePhase, ScopeState, ScopeTally, StoredScope } from './scope-index.ts';
import type { State } from './state.ts';
import { isUnkillable, stopFor } from './stopping.ts';

/** After a restart of the daemon, the client of a scope is waited for this long. */
export const returnPatienceMs = 10_000;

/** Scopes that are open, or being closed, at once. Each is in memory. */
export const maxScopes = 1_000;

const endings: Readonly<Record<ScopeEnd, string>> = {
  closed: 'Its scope was closed.',
  'client-gone': 'The client of its scope went away.',
  'client-lost': `The client of its scope did not come back within ${formatDuration(returnPatienceMs)} of a restart of the daemon.`,
};

export function openScope(state: State, event: Extract<Event, { type: 'openScope' }>, now: Instant): Decision {
  const { request, scope: id, name, isKnown } = event;
  const known = state.scopes.get(id);
  const reply: Effect = { type: 'reply', request, result: { scope: id } };
  if (known?.scope.phase.status === 'open') {
    const { clients } = known.scope.phase;
    const change = moved(known.scope, { status: 'open', clients: clients + 1, returnByMonoMs: null });
    return { changes: [change], effects: [reply] };
  }
  if (known !== undefined || isKnown)
    return refuse(request, 'SCOPE_CLOSED', `The scope ${id} is closed. Open a new one: corral scope -- CMD`);
  if (state.admission === 'closing')
    return refuse(request, 'SHUTTING_DOWN', 'The daemon is stopping. Open the scope again once it is back.');
  if (state.scopes.size >= maxScopes) {
    return refuse(
      request,
      'TOO_MANY_SCOPES',
      `There are ${maxScopes} open scopes already. Close some, or end the clients that hold them.`,
    );
  }
  const phase: ScopePhase = { status: 'open', clients: 1, returnByMonoMs: null };
  const after: Scope = { id, name, openedWallMs: now.wallMs, phase };
  return { changes: [{ kind: 'scope', before: null, after }], effects: [reply] };
}

/** Why a scope takes no jobs; `null` where it does, or none is meant. Ask it wherever a job would go to a queue. */
export function whyScopeIsClosed(state: State, scope: string | null): string | null {
  if (scope === null || state.scopes.get(scope)?.scope.phase.status === 'open') return null;
  return `The scope ${scope} is closed, or never was, so it takes no jobs. Submit anew without it (--scope none), or open one: corral scope -- CMD`;
}

export function closeOnRequest(state: State, event: Extract<Event, { type: 'closeScope' }>, now: Instant): Decision {
  const reply: Effect = { type: 'reply', request: event.request, result: null };
  return merge([close(state, event.scope, 'closed', now), { changes: [], effects: [reply] }]);
}

/** A daemon that stops closes its connections; the scopes are open again when it is back, for as long as their clients are waited for. */
export function scopeClientGone(state: State, id: string, now: Instant): Decision {
  const scope = state.scopes.get(id)?.scope;
  if (scope?.phase.status !== 'open' || state.admission === 'closing') return nothing;
  const clients = scope.phase.clients - 1;
  if (clients <= 0) return close(state, id, 'client-gone', now);
  return { changes: [moved(scope, { ...scope.phase, clients })], effects: [] };
}

/** All live jobs at once. Queued ones end without having run; the others have their own grace. */
function close(state: State, id: string, end: ScopeEnd, now: Instant): Decision {
  const known = state.scopes.get(id);
  if (known?.scope.phase.status !== 'open') return nothing;
  const jobIds = [...known.live];
  const closing = moved(known.scope, { status: 'closing', end, closedWallMs: now.wallMs, jobIds, stage: 'ending' });
  const stops = jobIds.flatMap((jobId) => {
    const job = state.live.get(jobId);
    return job === undefined ? [] : stopFor('scope', job, now, endings[end]);
  });
  return merge([{ changes: [closing], effects: [] }, ...stops]);
}

/** Scopes whose last job has ended have their processes counted. Asked once a turn, like `schedule`. */
export function settleScopes(state: State): Decision {
  const changes: Change[] = [];
  const effects: Effect[] = [];
  for (const { scope, live } of state.scopes.values()) {
    const { phase } = scope;
    if (phase.status !== 'closing' || phase.stage === 'counting' || live.size > 0) continue;
    changes.push(moved(scope, { ...phase, stage: 'counting' }));
    effects.push({ type: 'countScope', scope: scope.id, jobIds: phase.jobIds });
  }
  return { changes, effects };
}

export function scopeCounted(state: State, id: string, processesLeft: number): Decision {
  const known = state.scopes.get(id);
  if (known?.scope.phase.status !== 'closing' || known.scope.phase.stage !== 'counting') return nothing;
  const { end, closedWallMs } = known.scope.phase;
  const tally: ScopeTally = { ended: known.ended, cleaned: known.cleaned };
  const closed = moved(known.scope, { status: 'closed', end, closedWallMs, processesLeft, tally });
  return { changes: [closed], effects: [{ type: 'scopeClosed', scope: id }] };
}

function moved(before: Scope, phase: ScopePhase): Change {
  return { kind: 'scope', before, after: { ...before, phase } };
}

/** When the client of some scope is waited for no longer. */
export function nextScopeDeadline(state: State): number | null {
  let next: number | null = null;
  for (const { scope } of state.scopes.values()) {
    const at = scope.phase.status === 'open' ? scope.phase.returnByMonoMs : null;
    if (at !== null && (next === null || at < next)) next = at;
  }
  return next;
}

/** Closes the scopes whose clients did not come back. */
export function closeDeserted(state: State, now: Instant): Decision {
  const isDeserted = ({ scope: { phase } }: ScopeState) =>
    phase.status === 'open' && phase.returnByMonoMs !== null && phase.returnByMonoMs <= now.monoMs;
  const deserted = [...state.scopes.values()].filter(isDeserted);
  return merge(deserted.map(({ scope }) => close(state, scope.id, 'client-lost', now)));
}

/** Takes over the scopes that the store holds, before its jobs. */
export function restoreScopes(state: State, stored: readonly StoredScope[], now: Instant): void {
  for (const { scope, ended, cleaned } of stored) {
    const { phase } = scope;
    const open: ScopePhase = { status: 'open', clients: 0, returnByMonoMs: now.monoMs + returnPatienceMs };
    const revived: Scope = { ...scope, phase: phase.status === 'open' ? open : phase };
    state.scopes.set(scope.id, { scope: revived, ended, cleaned, live: new Set() });
  }
}

/** Ends jobs that a restart has put back to the queue of a scope that was being closed. */
export function endLeftovers(state: State, now: Instant): Decision {
  const isLeftOver = ({ definition }: Job) => whyScopeIsClosed(state, definition.scope) !== null;
  return merge([...state.live.values()].filter(isLeftOver).map((job) => stopFor('scope', job, now, endings.closed)));
}

/** What became of a scope, as far as that is known now. @param processesLeft live processes of its jobs */
export function scopeReport(
  { scope, ended, cleaned }: StoredScope,
  live: readonly Job[],
  processesLeft: number | null,
): ScopeReport {
  const { phase } = scope;
  const left = phase.status === 'open' ? [] : live;
  return {
    scope: scope.id,
    name: scope.name,
    status: phase.status,
    end: phase.status === 'open' ? null : phase.end,
    openedAt: new Date(scope.openedWallMs).toISOString(),
    closedAt: phase.status === 'open' ? null : new Date(phase.closedWallMs).toISOString(),
    jobs: ended + live.length,
    ended: ended - cleaned,
    cleaned,
    failed: left.length,
    errors: left.slice(0, maxErrors).map(whyLeft),
    processesLeft: phase.status === 'closed' ? phase.processesLeft : processesLeft,
  };
}

/** Jobs of a report that are named, so that it fits a frame. */
const maxErrors = 1_000;

function whyLeft(job: Job): ScopeReport['errors'][number] {
  if (isUnkillable(job))
    return {
      jobId: job.id,
      code: 'JOB_UNKILLABLE',
      message: `Processes of job ${job.id} are still there after SIGKILL, as in state D. Find what they wait for: corral show ${job.id}`,
    };
  return {
    jobId: job.id,
    code: 'JOB_RUNNING',
    message: `Job ${job.id} is still ${job.phase.status}: its grace is not over. To end it at once: corral cancel --kill ${job.id}`,
  };
}
