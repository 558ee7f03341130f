/** pidusage 4.1.0 ships no types. These cover what corral uses of it; read against lib/procfile.js and lib/history.js. */
declare module 'pidusage' {
  interface Figures {
    /** Resident memory in bytes. */
    memory: number;
    /** CPU time in ms, without that of its children. */
    ctime: number;
  }

  interface Options {
    /** How long it remembers a process, and keeps its descriptor, in ms. With 0 it never answers. */
    maxage: number;
  }

  /** Rejects only where it could look at none. It changes the list that it is given. */
  export default function pidusage(
    pids: number[],
    options: Options,
  ): Promise<Record<string, Figures | null | undefined>>;
}
