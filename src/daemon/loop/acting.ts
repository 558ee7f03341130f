/** What was decided is done: the last step of the line. */
import { CorralError, stackOf, unreachable } from '../../protocol/index.ts';
import { type Effect, type Event, reachesProcesses, type Waits } from '../core/index.ts';
import type { Log, OutputShell, ProcessShell } from '../shells.ts';
import type { Answers } from './answers.ts';
import type { ScopeWatchers } from './scope-watchers.ts';

/** What effects reach. */
export interface Hands {
  readonly processes: ProcessShell;
  readonly output: OutputShell;
  readonly log: Log;
  readonly answers: Answers;
  readonly waits: Waits;
  readonly scopeWatchers: ScopeWatchers;
  /** What comes of an effect at once. */
  readonly emit: (event: Event) => void;
  /** Has the loop take another turn. */
  readonly goOn: () => void;
}

/** What reaches processes goes first, in one go: who is told that a job stands still is to find it so. */
export function actOn(effects: readonly Effect[], hands: Hands): void {
  const actEach = (some: readonly Effect[]) => {
    for (const effect of some) tryTo(effect.type, hands, () => act(effect, hands));
  };
  const reaching = effects.filter(reachesProcesses);
  if (reaching.length > 0) tryTo('on many jobs', hands, () => hands.processes.together(() => actEach(reaching)));
  actEach(effects.filter((effect) => !reachesProcesses(effect)));
}

/** What goes wrong with one job, because of what it did to its files or its cgroup, must not end the others. */
function tryTo(what: Effect['type'] | 'on many jobs', { log }: Hands, work: () => void): void {
  try {
    work();
  } catch (error) {
    log.error(`effect ${what} failed`, { error: stackOf(error) });
  }
}

function act(effect: Effect, { processes, output, answers, waits, scopeWatchers, emit, goOn }: Hands): void {
  switch (effect.type) {
    case 'reply':
      return answers.resolve(effect.request, effect.result);
    case 'refuse':
      return answers.reject(effect.request, new CorralError(effect.code, effect.message));
    case 'launch':
      return processes.launch(effect.job);
    case 'terminate':
      return processes.terminate(effect.jobId);
    case 'kill':
      return processes.kill(effect.jobId);
    case 'signal':
      return processes.signal(effect.jobId, effect.signal);
    case 'goOn':
      return goOn();
    case 'freeze':
      return processes.freeze(effect.jobId);
    case 'thaw':
      return processes.thaw(effect.jobId);
    case 'sample':
      return processes.sample(effect.checks);
    case 'removeOutput':
      return output.remove(effect.job, effect.attempts);
    case 'dropOutput': {
      const reason = output.drop(effect.job);
      if (reason !== null) emit({ type: 'outputKept', jobId: effect.job.id, reason });
      return;
    }
    case 'finished':
      return waits.jobEnded(effect.job.id);
    case 'countScope':
      return emit({
        type: 'scopeCounted',
        scope: effect.scope,
        processesLeft: processes.countAlive(effect.jobIds),
      });
    case 'scopeClosed':
      return scopeWatchers.closed(effect.scope);
    default:
      return unreachable(effect);
  }
}
