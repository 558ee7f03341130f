import { checked, mkfifo } from './libc.ts';

/** Makes a FIFO that its owner may read and write. mkfifo(3) */
export function makeFifo(path: string): void {
  checked('mkfifo', mkfifo(path, 0o600));
}
