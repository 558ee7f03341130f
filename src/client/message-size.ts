import { CorralError, frameLimits, type JobSpec, showBytes } from '../protocol/index.ts';

/** What a frame holds beside the job: less than 200 bytes. */
const envelopeBytes = 1024;

export const maxJobBytes = frameLimits.maxFrameBytes - envelopeBytes;

/** Bytes that a value takes on the wire. */
export function wireBytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value) ?? '');
}

/**
 * The daemon closes a connection that sends a larger frame; this says which part of the job is too large, before it is sent.
 *
 * @param sharedBytes what goes in the same frame beside this job
 * @throws CorralError `INVALID_PARAMS`
 */
export function checkJobFits(job: Partial<JobSpec>, what: string, sharedBytes = 0): void {
  if (wireBytes(job) + sharedBytes <= maxJobBytes) return;
  const [field, value] = largestOf(Object.entries(job));
  const why =
    field === 'env'
      ? whyEnvironment(job.env ?? {})
      : field === 'command'
        ? whyCommand(job.command ?? [])
        : `its ${field} has ${wireBytes(value)} bytes.`;
  const beside = sharedBytes === 0 ? '' : ` beside the ${sharedBytes} that the batch has in common`;
  throw new CorralError(
    'INVALID_PARAMS',
    `${what} does not fit one message of ${maxJobBytes} bytes${beside}: ${why} Nothing was submitted.`,
  );
}

function whyEnvironment(env: Readonly<Record<string, string>>): string {
  const variables = Object.entries(env);
  const largest = largestOf(variables);
  const name = showBytes(largest[0]);
  return `its environment has ${wireBytes(env)} bytes in ${variables.length} variables, and the largest, ${name}, has ${wireBytes(largest[1])}. Leave out what the job does not need (env -u ${name} corral …), or hand it over in a file.`;
}

function whyCommand(command: readonly string[]): string {
  const [index, argument] = largestOf([...command.entries()]);
  return `its command has ${wireBytes(command)} bytes in ${command.length} arguments, and the largest, argument ${index}, has ${wireBytes(argument)}. Hand it over in a file or as standard input (--stdin).`;
}

function largestOf<K>(entries: readonly (readonly [key: K, value: unknown])[]): readonly [key: K, value: unknown] {
  return entries.reduce((a, b) => (wireBytes(b[1]) > wireBytes(a[1]) ? b : a));
}
