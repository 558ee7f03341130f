import type { JobView } from '../../protocol/index.ts';
import { type Job, viewOf } from '../core/index.ts';
import type { Backend } from './backend.ts';

/** An answer carries views up to this size together: commands may be long, and it must fit a frame. */
const maxPageBytes = 512 * 1024;

/** As many of the jobs, from the first on, as fit one answer. */
export function pageOf(jobs: Iterable<Job>, { output, supervisor }: Pick<Backend, 'output' | 'supervisor'>): JobView[] {
  const page: JobView[] = [];
  let bytes = 0;
  for (const job of jobs) {
    const view = viewOf(job, output.facts(job), supervisor.waitingFor(job));
    bytes += Buffer.byteLength(JSON.stringify(view));
    if (page.length > 0 && bytes > maxPageBytes) break;
    page.push(view);
  }
  return page;
}
