import { execFileSync } from 'node:child_process';

/** Why programs of tests that are written in Python cannot be run; `false` where they can. */
export const whyNoPython: string | false = whyNot();

function whyNot(): string | false {
  try {
    execFileSync('python3', ['--version'], { stdio: 'ignore' });
    return false;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 'there is no python3';
    throw error;
  }
}
