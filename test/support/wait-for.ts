import { setTimeout as delay } from 'node:timers/promises';

/** Looks again and again until a condition holds. For what gives no event, such as the end of somebody else's processes. */
export async function waitFor(
  what: string,
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 10_000,
): Promise<number> {
  const startedMs = performance.now();
  for (;;) {
    if (await condition()) return performance.now() - startedMs;
    if (performance.now() - startedMs > timeoutMs) throw new Error(`waited ${timeoutMs} ms in vain until ${what}`);
    await delay(5);
  }
}
