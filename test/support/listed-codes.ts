/** What the core refuses requests with, held against the lists by which clients go. */
import type { Effect, Event, Request } from '../../src/daemon/core/index.ts';
import { type ErrorCode, isListed, type MethodName, methods } from '../../src/protocol/index.ts';

/** The methods that put each request to the core. */
const methodsOf: Readonly<Record<Request['type'], readonly MethodName[]>> = {
  submit: ['submit', 'submitBatch'],
  settle: ['settle'],
  edit: ['edit'],
  move: ['move'],
  retry: ['retry'],
  cancel: ['cancel'],
  signal: ['signal'],
  report: ['progress', 'result'],
  resetStuck: ['stuck.reset'],
  pause: ['pause'],
  resume: ['resume'],
  remove: ['remove'],
  forgetEarlier: [], // The daemon itself.
  addGroup: ['group.add'],
  setGroup: ['group.set'],
  removeGroup: ['group.remove'],
  runPending: ['group.runPending'],
  pauseGroup: ['group.pause'],
  resumeGroup: ['group.resume'],
  heartbeat: ['heartbeat'],
  openScope: ['scope.open'],
  closeScope: ['scope.close'],
};

export interface Refusal {
  readonly method: MethodName;
  readonly code: ErrorCode;
  /** Whether docs/protocol.md names the code for the method. */
  readonly isListed: boolean;
}

/** What of a request was refused: all of it, or some jobs of it. */
export function refusalsOf(event: Event, effects: readonly Effect[]): Refusal[] {
  if (!('request' in event)) return [];
  return methodsOf[event.type].flatMap((method) => {
    const listed = methods[method];
    const errorsPerJob: readonly ErrorCode[] = 'errorsPerJob' in listed ? listed.errorsPerJob : [];
    return effects.flatMap((effect): Refusal[] => {
      if (effect.type === 'refuse') return [{ method, code: effect.code, isListed: isListed(effect.code, method) }];
      if (effect.type !== 'reply') return [];
      return codesIn(effect.result).map((code) => ({ method, code, isListed: errorsPerJob.includes(code) }));
    });
  });
}

/** Those that a report names for single jobs. */
function codesIn(result: unknown): ErrorCode[] {
  const { errors = [] } = (result ?? {}) as { errors?: readonly { code: ErrorCode }[] };
  return errors.map(({ code }) => code);
}
