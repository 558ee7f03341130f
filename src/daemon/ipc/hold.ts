import type { Call } from './backend.ts';

/**
 * Holds a call open until something wakes it, its time is over, or its client has gone.
 *
 * @param subscribe is given what wakes the call; returns how to unsubscribe
 */
export function hold(call: Call, leftMs: number, subscribe: (wake: () => void) => (() => void)[]): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const wake = () => resolve();
  const timer = setTimeout(wake, leftMs);
  call.signal.addEventListener('abort', wake, { once: true });
  const unsubscribe = subscribe(wake);
  return promise.finally(() => {
    clearTimeout(timer);
    call.signal.removeEventListener('abort', wake);
    for (const end of unsubscribe) end();
  });
}
