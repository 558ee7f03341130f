import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const source = fileURLToPath(new URL('../programs/harm.c', import.meta.url));

/** Why test/programs/harm.c cannot be used; `false` where it can. */
export const whyNoHarm: string | false = whyNot();

function whyNot(): string | false {
  try {
    execFileSync('cc', ['--version'], { stdio: 'ignore' });
    return false;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      return 'there is no C compiler (cc) for the library that injects failures';
    throw error;
  }
}

/** Compiles the library that injects failures. Returns the variables that load it into a daemon. */
export function compileHarm(dir: string): Record<'LD_PRELOAD' | 'HARM_FSYNC' | 'HARM_SLOW' | 'HARM_HANG', string> {
  const library = `${dir}/harm.so`;
  execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl']);
  return {
    LD_PRELOAD: library,
    HARM_FSYNC: `${dir}/fsync-fails`,
    HARM_SLOW: `${dir}/fsync-slow`,
    HARM_HANG: `${dir}/disk-hangs`,
  };
}
