import type { Call } from './backend.ts';

/** Does work for a client that stays with these jobs meanwhile. One that only asks how things are (`holdMs` 0) does not. */
export async function whileAttached<R>(
  { backend }: Call,
  jobIds: readonly number[],
  holdMs: number,
  work: () => Promise<R>,
): Promise<R> {
  if (holdMs <= 0) return work();
  const detach = backend.supervisor.attach(jobIds);
  try {
    return await work();
  } finally {
    detach();
  }
}
