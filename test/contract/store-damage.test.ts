/** What the store does about damage to its file: it is named, nothing is changed, and nothing ends in an error that nobody foresaw. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { inspectStore, SqliteStore } from '../../src/daemon/store/index.ts';
import { CorralError } from '../../src/protocol/index.ts';
import { makeFinishedJobs } from '../support/finished-jobs.ts';

const pageBytes = 4096;
const jobs = 60;

/** A sound store with some jobs, and beside it the folder that their output would be in. */
function soundStore(t: TestContext): { file: string; bytes: Buffer } {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'corral-test-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const file = `${dir}/corral.db`;
  makeFinishedJobs(file, jobs);
  fs.mkdirSync(`${dir}/output`);
  return { file, bytes: fs.readFileSync(file) };
}

/** Opens it, reads all of it, closes it. Returns the coded error that came of it, if one did; any other is thrown. */
function readAll(file: string): CorralError | null {
  let store: SqliteStore | null = null;
  try {
    store = new SqliteStore(file);
    store.load();
    store.countJobs();
    for (let id = 1; id <= jobs; id += 1) store.findJob(id);
    store.listJobIds({ statuses: null, group: null, order: 'newest', cursor: null, limit: 200 });
    store.listEvents({ after: 0, jobId: null, limit: 1_000 });
    return null;
  } catch (error) {
    if (!(error instanceof CorralError)) throw error;
    return error;
  } finally {
    store?.close();
  }
}

/** Puts these bytes in the place of the store, alone: a log of the sound one would mend them. */
function replace(file: string, bytes: Buffer): void {
  for (const suffix of ['-wal', '-shm']) fs.rmSync(`${file}${suffix}`, { force: true });
  fs.writeFileSync(file, bytes);
}

describe('G10: a damaged store is refused and left as it is', () => {
  test('control: the sound one is read', (t) => {
    const { file } = soundStore(t);
    assert.equal(readAll(file), null);
    assert.deepEqual(inspectStore(file, 'full')?.damage, []);
  });

  test('G10: cut off at each page', (t) => {
    const { file, bytes } = soundStore(t);
    assert.ok(bytes.length / pageBytes > 10);
    for (let length = 0; length < bytes.length; length += pageBytes) {
      const cut = bytes.subarray(0, length);
      replace(file, cut);
      const error = readAll(file);
      assert.equal(error?.code, 'STORE_DAMAGED', `at ${length}`);
      assert.ok(error.message.includes(file) && /Nothing was changed.*backup/.test(error.message), error.message);
      assert.deepEqual(fs.readFileSync(file), cut, `changed at ${length}`);
      if (length > 0) assert.notDeepEqual(inspectStore(file, 'full')?.damage, [], `at ${length}`);
    }
  });

  test('G10: cut off within a page', (t) => {
    const { file, bytes } = soundStore(t);
    for (const length of [1, 15, 16, 99, 100, 101, 4095, 4097, bytes.length - 1]) {
      const cut = bytes.subarray(0, length);
      replace(file, cut);
      assert.ok(['STORE_DAMAGED', 'STORE_FAILED'].includes(readAll(file)?.code ?? 'read'), `at ${length}`);
      assert.deepEqual(fs.readFileSync(file), cut, `changed at ${length}`);
    }
  });

  /** Bytes of text can flip without a trace, SQLite has no checksums. All else is named, and nothing is an unforeseen error. */
  test('G10: flipped bytes are named where they show, and never end in an unforeseen error', (t) => {
    const { file, bytes } = soundStore(t);
    const codes = new Map<string, number>();
    for (let round = 0; round < 400; round += 1) {
      const harmed = Buffer.from(bytes);
      // Spread over the file, with the header of each page hit often: that is where the structure is.
      const at =
        round % 2 === 0
          ? (round * 7919) % bytes.length
          : ((round * 13) % (bytes.length / pageBytes)) * pageBytes + (round % 12);
      harmed.writeUInt8((harmed.readUInt8(at) ^ (1 << (round % 8))) & 0xff, at);
      replace(file, harmed);
      const error = readAll(file);
      codes.set(error?.code ?? 'read', (codes.get(error?.code ?? 'read') ?? 0) + 1);
      if (error !== null) assert.deepEqual(fs.readFileSync(file), harmed, `changed after a flip at ${at}`);
    }
    assert.ok((codes.get('STORE_DAMAGED') ?? 0) > 50, JSON.stringify([...codes]));
    assert.deepEqual(
      [...codes.keys()].filter((code) => !['read', 'STORE_DAMAGED', 'STORE_FAILED'].includes(code)),
      [],
    );
  });

  test('G10: a record that no daemon wrote is named by its job', (t) => {
    const { file, bytes } = soundStore(t);
    const harmed = Buffer.from(bytes.toString('latin1').replaceAll('"command"', '?command"'), 'latin1');
    assert.notDeepEqual(harmed, bytes);
    replace(file, harmed);
    const error = readAll(file);
    assert.equal(error?.code, 'STORE_DAMAGED');
    assert.match(error.message, /the record of job \d+ cannot be read/);
  });

  test('G10: something else in its place', (t) => {
    const { file } = soundStore(t);
    for (const strange of [
      'not a database at all, but a longer text than a header has\n'.repeat(100),
      '\0'.repeat(5_000),
    ]) {
      replace(file, Buffer.from(strange));
      assert.equal(readAll(file)?.code, 'STORE_DAMAGED');
      assert.equal(fs.readFileSync(file, 'utf8'), strange);
    }
  });

  test('G10: files that an interrupted program left beside it are no harm', (t) => {
    const { file } = soundStore(t);
    const strays = [`${file}-journal`, `${file}.tmp`, `${path.dirname(file)}/output/0.tmp`];
    for (const stray of strays) fs.writeFileSync(stray, 'left over');
    assert.equal(readAll(file), null);
    const store = new SqliteStore(file);
    assert.equal(store.findJob(jobs)?.id, jobs);
    store.close();
  });

  test('a new store in a folder without output is just new', (t) => {
    const { file } = soundStore(t);
    fs.rmSync(`${path.dirname(file)}/output`, { recursive: true });
    replace(file, Buffer.alloc(0)); // As a crash at the very first start leaves it.
    const store = new SqliteStore(file);
    assert.deepEqual(store.load().jobs, []);
    store.close();
  });
});
