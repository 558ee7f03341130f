import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Report } from '../../src/daemon/core/index.ts';
import { ReportLines } from '../../src/daemon/process/report-batch.ts';
import { maxLineBytes, readReportLine } from '../../src/daemon/process/report-lines.ts';

const progress = (percent: number | null, message: string | null): Report => ({ kind: 'progress', percent, message });
const result = (json: string | null): Report => ({ kind: 'result', json });

describe('a line', () => {
  const lines: { line: string; jobId: number | null; report: Report | RegExp }[] = [
    { line: '7 progress 40 half done', jobId: 7, report: progress(40, 'half done') },
    { line: '7 progress 40', jobId: 7, report: progress(40, null) },
    { line: '7 progress 12.5% and on', jobId: 7, report: progress(12.5, 'and on') },
    { line: '  7  progress  40 %  half ', jobId: 7, report: progress(40, 'half') },
    { line: '7 progress half done', jobId: 7, report: progress(null, 'half done') },
    { line: '7 progress - 3 files done', jobId: 7, report: progress(null, '3 files done') },
    { line: '7 progress 3rd file', jobId: 7, report: progress(null, '3rd file') },
    { line: '7 progress 40\r', jobId: 7, report: progress(40, null) },
    { line: '7 progress 0', jobId: 7, report: progress(0, null) },
    { line: '7 result {"rows": 7}', jobId: 7, report: result('{"rows":7}') },
    { line: '7 result "a  b"', jobId: 7, report: result('"a  b"') },
    { line: '7 result null', jobId: 7, report: result(null) },
    { line: '7 progress', jobId: 7, report: /needs a percentage or a message/ },
    { line: '7 progress -', jobId: 7, report: /needs a percentage or a message/ },
    { line: '7 progress 150 files', jobId: 7, report: /from 0 to 100, and not 150/ },
    { line: `7 progress ${'x'.repeat(501)}`, jobId: 7, report: /at most 500 characters/ },
    { line: '7 progress a\0b', jobId: 7, report: /NUL/ },
    { line: '7 result {rows: 7}', jobId: 7, report: /is JSON, and not "\{rows: 7\}"/ },
    { line: `7 result ${'['.repeat(100)}${']'.repeat(100)}`, jobId: 7, report: /more than 64 deep/ },
    { line: '7 result', jobId: 7, report: /is JSON/ },
    { line: '7 percent 40', jobId: 7, report: /"progress" or "result"/ },
    { line: '7', jobId: null, report: /A report is/ },
    { line: 'progress 40', jobId: null, report: /A report is/ },
    { line: '-1 progress 40', jobId: null, report: /A report is/ },
    { line: `${'9'.repeat(30)} progress 40`, jobId: null, report: /A report is/ },
    { line: '\u0000\u001b[2J', jobId: null, report: /A report is/ },
  ];
  for (const { line, jobId, report } of lines) {
    test(JSON.stringify(line.slice(0, 60)), () => {
      const read = readReportLine(line);
      assert.equal(read.jobId, jobId);
      if (!(report instanceof RegExp)) return assert.deepEqual(read.report, report);
      assert.ok(read.report.kind === 'unreadable');
      assert.match(read.report.message, report);
    });
  }

  test('whatever the bytes, a line is read or says why not', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (line) => {
        const { report } = readReportLine(line);
        assert.ok(['progress', 'result', 'unreadable'].includes(report.kind));
      }),
    );
  });
});

/** What a reader makes of bytes that come in pieces, the newest of each kind. */
function readAll(pieces: readonly Buffer[], isDrained: (index: number) => boolean): Map<number, Report[]> {
  const lines = new ReportLines();
  const newest = new Map<number, Report[]>();
  for (const [index, piece] of pieces.entries()) {
    for (const [jobId, reports] of lines.read(piece, isDrained(index)).reports) {
      const kinds = reports.map(({ kind }) => kind);
      newest.set(jobId, [...(newest.get(jobId) ?? []).filter(({ kind }) => !kinds.includes(kind)), ...reports]);
    }
  }
  return newest;
}

describe('pieces of the pipe', () => {
  test('wherever they are cut, the last report of each job is the one that counts', () => {
    const line = fc.record({ jobId: fc.integer({ min: 1, max: 4 }), percent: fc.integer({ min: 0, max: 100 }) });
    fc.assert(
      fc.property(
        fc.array(line, { minLength: 1, maxLength: 60 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
        (written, lengths) => {
          const bytes = Buffer.from(written.map(({ jobId, percent }) => `${jobId} progress ${percent} é\n`).join(''));
          const pieces: Buffer[] = [];
          for (let at = 0, n = 0; at < bytes.length; n += 1) {
            const length = lengths[n % lengths.length] ?? 1;
            pieces.push(bytes.subarray(at, at + length));
            at += length;
          }
          const expected = new Map(written.map(({ jobId, percent }) => [jobId, [progress(percent, 'é')]]));
          assert.deepEqual(
            readAll(pieces, (index) => index === pieces.length - 1),
            expected,
          );
        },
      ),
    );
  });

  test('ten thousand lines of one job are one report', () => {
    const { reports, unreadable } = new ReportLines().read(
      Buffer.from(`${'7 progress 1\n'.repeat(9_999)}7 progress 2\n`),
      true,
    );
    assert.deepEqual(reports, new Map([[7, [progress(2, null)]]]));
    assert.equal(unreadable, null);
  });

  test('a report that nobody ended with a newline is whole when the pipe is empty behind it', () => {
    const lines = new ReportLines();
    assert.deepEqual(lines.read(Buffer.from('7 progress 40'), true).reports.get(7), [progress(40, null)]);
    assert.deepEqual(lines.read(Buffer.from('8 progress 50\n'), true).reports, new Map([[8, [progress(50, null)]]]));
  });

  test('control: with more behind it, it is the beginning of a line', () => {
    const lines = new ReportLines();
    assert.equal(lines.read(Buffer.from('7 progress 4'), false).reports.size, 0);
    assert.deepEqual(lines.read(Buffer.from('0 half\n'), true).reports.get(7), [progress(40, 'half')]);
  });

  test('a line beyond a piece of the pipe is refused once, by the job that it names, and the next one is read', () => {
    const lines = new ReportLines();
    const long = Buffer.from(`7 result "${'x'.repeat(3 * maxLineBytes)}"\n8 progress 5\n`);
    const batches = [0, 1, 2, 3].map((index) =>
      lines.read(long.subarray(index * maxLineBytes, (index + 1) * maxLineBytes), index === 3),
    );
    assert.deepEqual(
      batches.map(({ unreadable }) => unreadable?.lines ?? 0).reduce((sum, count) => sum + count),
      1,
    );
    const warned = batches.flatMap(({ reports }) => reports.get(7) ?? []);
    assert.equal(warned[0]?.kind, 'unreadable');
    assert.deepEqual(batches.at(-1)?.reports.get(8), [progress(5, null)]);
  });

  test('lines that cannot be read are counted, of all jobs and of each that is named', () => {
    const { reports, unreadable } = new ReportLines().read(Buffer.from('x\n7 y\n\n7 progress 9\n7 result {\n'), true);
    assert.equal(unreadable?.lines, 3);
    const [first, second] = reports.get(7) ?? [];
    assert.deepEqual(first, progress(9, null));
    assert.ok(second?.kind === 'unreadable' && second.lines === 2);
  });

  test('a piece full of spaces is read as fast as any other', () => {
    const line = `7 progress x${' '.repeat(maxLineBytes - 20)}x`;
    const startedMs = performance.now();
    for (let n = 0; n < 100; n += 1) readReportLine(line);
    assert.ok(performance.now() - startedMs < 200, `${performance.now() - startedMs} ms for 100 lines`);
    assert.deepEqual(readReportLine(' 7  progress  40  half \n').report, progress(40, 'half'));
  });
});
