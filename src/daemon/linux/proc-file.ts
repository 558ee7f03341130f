import fs from 'node:fs';
import { isErrno } from '../../protocol/index.ts';

/** The kernel gives at most a page at once, and less only where the next line would not fit, or at the end. */
const pieceBytes = 4096;
const longestLineBytes = 2048;

/** Of the whole process: such reads are synchronous, and copy out of it before the next begins. */
const piece = Buffer.allocUnsafeSlow(pieceBytes);

/** Runs a read under /proc or of a cgroup; gives `undefined` where it has gone, or is not ours to look at. */
export function ifProcessLives<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH', 'ENODEV', 'EACCES', 'EPERM', 'EINVAL', 'ENOTSUP', 'EOPNOTSUPP'))
      return undefined;
    throw error;
  }
}

/**
 * Reads a small file of the kernel as text; `undefined` where it has gone, or is not ours to look at. A third faster than
 * `fs.readFileSync`, which asks for a size that such files do not have, and takes 64 KiB for each.
 */
export function readProcFile(path: string): string | undefined {
  return ifProcessLives(() => {
    const fd = fs.openSync(path, 'r');
    try {
      return readFromStart(fd);
    } finally {
      fs.closeSync(fd);
    }
  });
}

/** Reads an open file of the kernel anew, from its beginning. proc(5): each such read makes the text anew. */
export function readFromStart(fd: number): string {
  let text = '';
  for (;;) {
    const bytes = fs.readSync(fd, piece, 0, pieceBytes, text.length);
    text += piece.toString('latin1', 0, bytes);
    if (bytes < pieceBytes - longestLineBytes) return text;
  }
}
