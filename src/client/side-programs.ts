/** Programs of the daemon's that do their work beside it, or without it. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import {
  CorralError,
  type Diagnosis,
  diagnosisSchema,
  isErrorCode,
  programUrl,
  type ShownConfig,
  shownConfigSchema,
} from '../protocol/index.ts';
import { nodeFlags } from './daemon-process.ts';

/** The doctor's findings on a store that is damaged throughout. */
const maxOutputBytes = 64 * 1024 * 1024;

/** Looks at the host, the paths and the store. `--deep` and `--tier-known` are said in daemon/doctor.ts. */
export async function diagnose(args: readonly string[]): Promise<Diagnosis> {
  return diagnosisSchema.parse(JSON.parse(await run('doctor', args)));
}

/**
 * Copies the store as it is now to a new file, also while a daemon writes to it.
 *
 * @throws CorralError `INVALID_PARAMS`, `STORE_FAILED`
 */
export async function backUpStore(file: string): Promise<void> {
  await run('backup', [file]);
}

/**
 * What the configuration comes to for a daemon that starts now.
 *
 * @param file read this one, whatever the environment says; absent: as the daemon would
 * @throws CorralError `CONFIG_INVALID`
 */
export async function readConfig(file?: string): Promise<ShownConfig> {
  return shownConfigSchema.parse(JSON.parse(await run('read-config', file === undefined ? ['show'] : ['check', file])));
}

/** What a program printed. One that fails says why in a line of JSON on its stderr. */
async function run(name: 'doctor' | 'backup' | 'read-config', args: readonly string[]): Promise<string> {
  const program = fileURLToPath(programUrl(`../daemon/${name}`, import.meta.url));
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [...nodeFlags, program, ...args], {
      maxBuffer: maxOutputBytes,
    });
    return stdout;
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? /^\{.*\}$/m.exec(String(error.stderr))?.[0] : undefined;
    if (said === undefined) throw error;
    const { code, message } = JSON.parse(said) as { code: string; message: string };
    throw new CorralError(isErrorCode(code) ? code : 'INTERNAL', message);
  }
}
