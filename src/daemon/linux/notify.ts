import fs from 'node:fs';
import { checked, sendto, socket } from './libc.ts';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;
/** A manager that does not read must not stop the daemon. */
const MSG_DONTWAIT = 0x40;

/** sockaddr_un.sun_path. unix(7) */
const maxPathBytes = 108;

/** Speaks to the service manager over the datagram socket that it named in `$NOTIFY_SOCKET`. sd_notify(3) */
export class ServiceManager {
  readonly #fd: number;
  readonly #address: Buffer;

  /**
   * @param path `$NOTIFY_SOCKET`: a path, or with `@` in front a name in the abstract namespace
   * @throws RangeError where no such socket can be
   */
  constructor(path: string) {
    const name = Buffer.from(path);
    if (!/^[/@]./.test(path) || name.length >= maxPathBytes)
      throw new RangeError(`NOTIFY_SOCKET is "${path}", which is no address of a socket.`);
    if (path.startsWith('@')) name[0] = 0;
    const family = Buffer.alloc(2);
    family.writeUInt16LE(AF_UNIX);
    // A path ends with a NUL; an abstract name is as long as it is.
    this.#address = Buffer.concat([family, name, Buffer.alloc(path.startsWith('@') ? 0 : 1)]);
    this.#fd = checked('socket', socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  }

  /** Sends assignments such as `READY=1`, one a line. */
  tell(...assignments: readonly string[]): void {
    const message = Buffer.from(assignments.map((line) => line.replaceAll('\n', ' ')).join('\n'));
    checked(
      'sendto',
      sendto(this.#fd, message, message.length, MSG_NOSIGNAL | MSG_DONTWAIT, this.#address, this.#address.length),
    );
  }

  close(): void {
    fs.closeSync(this.#fd);
  }
}
