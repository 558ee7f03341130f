import fs from 'node:fs';
import { checked, fallocate } from './libc.ts';

const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;

/**
 * Gives back the room that the beginning of a file takes. Offsets stay as they are: what was there reads as zeros. fallocate(2)
 *
 * @param isMeant asked of the file that was opened, which may not be the one that had this path before; where it is not meant,
 *   nothing is done
 * @throws an error with code `EOPNOTSUPP` where the file system cannot
 */
export function dropBeginning(path: string, bytes: number, isMeant: (file: fs.BigIntStats) => boolean): void {
  const fd = fs.openSync(path, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK | fs.constants.O_NOFOLLOW);
  try {
    if (!isMeant(fs.fstatSync(fd, { bigint: true }))) return;
    checked('fallocate', fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, bytes));
  } finally {
    fs.closeSync(fd);
  }
}
