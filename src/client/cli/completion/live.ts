import { CorralError, finalStatuses, liveStatuses } from '../../../protocol/index.ts';
import { type Client, connect, type ListOptions } from '../../index.ts';
import { commandLine, oneLine } from '../print.ts';
import type { Candidate, JobChoice, Live } from './candidates.ts';

/** Somebody holds the Tab key: better no candidates than a wait. */
const patienceMs = 1_000;

/** More than a person reads through; the newest come first. */
const mostJobs = 100;
const aboutWidth = 60;

const queries: Readonly<Record<JobChoice, ListOptions>> = {
  live: { statuses: [...liveStatuses], order: 'newest', limit: mostJobs },
  ended: { statuses: [...finalStatuses], order: 'newest', limit: mostJobs },
  recent: { order: 'newest', limit: mostJobs },
};

/** Asks a daemon that runs. It starts none, and has nothing to say where it fails: a message would land in the line being typed. */
export const liveDaemon: Live = {
  jobs: (choice) =>
    ask(async (client) => {
      const { jobs } = await client.list(queries[choice]);
      return jobs.map(({ id, status, command }) => ({
        value: String(id),
        about: `${status}: ${commandLine(command)}`.slice(0, aboutWidth),
      }));
    }),
  groups: () =>
    ask(async (client) =>
      (await client.groups()).map(({ name, active, parallel }) => ({
        value: oneLine(name),
        about: `${active} of ${parallel} slots in use`,
      })),
    ),
  profiles: () =>
    ask(async (client) => (await client.config()).profiles.map((name) => ({ value: oneLine(name), about: '' }))),
};

async function ask(question: (client: Client) => Promise<Candidate[]>): Promise<Candidate[]> {
  try {
    await using client = await connect({ autoStart: false, timeoutMs: patienceMs, reconnectMs: 0 });
    return await question(client);
  } catch (error) {
    if (error instanceof CorralError) return [];
    throw error;
  }
}
