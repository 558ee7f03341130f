import { randomBytes } from 'node:crypto';
import { type MethodResult, maxHoldMs, type ParsedParams } from '../../../protocol/index.ts';
import type { Call } from '../backend.ts';
import { hold } from '../hold.ts';

/** The scope lives with the connection on which this is said. */
export async function openScope(
  { scope, name }: ParsedParams<'scope.open'>,
  { backend, signal }: Call,
): Promise<MethodResult<'scope.open'>> {
  const { supervisor } = backend;
  const id = scope ?? randomBytes(16).toString('hex');
  const opened = await supervisor.ask<{ scope: string }>({ type: 'openScope', scope: id, name: name ?? null });
  const gone = () => supervisor.scopeClientGone(id);
  if (signal.aborted) gone();
  else signal.addEventListener('abort', gone, { once: true });
  return opened;
}

export async function closeScope(
  { scope, holdMs }: ParsedParams<'scope.close'>,
  call: Call,
): Promise<MethodResult<'scope.close'>> {
  const { supervisor } = call.backend;
  const untilMs = performance.now() + (holdMs ?? maxHoldMs);
  if (supervisor.scope(scope).status === 'open') await supervisor.ask({ type: 'closeScope', scope });
  for (;;) {
    const report = supervisor.scope(scope);
    const leftMs = untilMs - performance.now();
    if (report.status === 'closed' || leftMs <= 0 || call.signal.aborted) return report;
    await hold(call, leftMs, (wake) => [supervisor.onScopeClosed(scope, wake)]);
  }
}

export function reportScope({ scope }: ParsedParams<'scope.report'>, { backend }: Call): MethodResult<'scope.report'> {
  return backend.supervisor.scope(scope);
}
