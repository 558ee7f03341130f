import type { Report } from '../core/index.ts';
import { maxLineBytes, type ReportLine, readReportLine, tooLong } from './report-lines.ts';

const newline = 0x0a;

/** What a piece of the pipe says: of each job, its last progress, its last result, and how much of it cannot be read. */
export interface ReportBatch {
  readonly reports: Map<number, Report[]>;
  /** Lines that cannot be read, of whatever job, and what is wrong with the last of them. */
  readonly unreadable: Unreadable | null;
}

/**
 * Takes the bytes of the pipe apart, and keeps what a job said last: a job that writes ten thousand lines costs the daemon no more than
 * reading them.
 */
export class ReportLines {
  #rest = Buffer.alloc(0);
  /** In the middle of a line that is too long. */
  #isSkipping = false;

  /**
   * @param isDrained whether the pipe is empty behind this piece. A line is written at once, so what has no end then is one
   *   that somebody forgot to end: left standing, it would spoil the next one, of whatever job.
   */
  read(piece: Uint8Array, isDrained: boolean): ReportBatch {
    const bytes = Buffer.concat([this.#rest, piece]);
    const batch = new Batch();
    let at = 0;
    for (let end = bytes.indexOf(newline); end !== -1; end = bytes.indexOf(newline, at)) {
      this.#take(bytes.subarray(at, end), batch);
      at = end + 1;
    }
    const rest = bytes.subarray(at);
    if (isDrained) {
      if (rest.length > 0) this.#take(rest, batch);
      this.#isSkipping = false;
      this.#rest = Buffer.alloc(0);
    } else if (rest.length > maxLineBytes) {
      if (!this.#isSkipping) batch.add(tooLong(rest.toString('utf8', 0, 32)));
      this.#isSkipping = true;
      this.#rest = Buffer.alloc(0);
    } else {
      this.#rest = Buffer.from(rest); // The piece is somebody else's memory.
    }
    return batch;
  }

  #take(line: Buffer, batch: Batch): void {
    const isEndOfSkipped = this.#isSkipping;
    this.#isSkipping = false;
    if (isEndOfSkipped || line.length === 0) return;
    batch.add(
      line.length > maxLineBytes ? tooLong(line.toString('utf8', 0, 32)) : readReportLine(line.toString('utf8')),
    );
  }
}

class Batch implements ReportBatch {
  readonly reports = new Map<number, Report[]>();
  unreadable: ReportBatch['unreadable'] = null;

  add({ jobId, report }: ReportLine): void {
    if (report.kind === 'unreadable') this.unreadable = added(this.unreadable, report);
    if (jobId === null) return;
    const earlier = this.reports.get(jobId) ?? [];
    const others = earlier.filter(({ kind }) => kind !== report.kind);
    const same = earlier.find(({ kind }) => kind === report.kind);
    const newest = report.kind === 'unreadable' && same?.kind === 'unreadable' ? added(same, report) : report;
    this.reports.set(jobId, [...others, newest]);
  }
}

type Unreadable = Extract<Report, { kind: 'unreadable' }>;

function added(earlier: Unreadable | null, later: Unreadable): Unreadable {
  return { ...later, lines: (earlier?.lines ?? 0) + later.lines };
}
