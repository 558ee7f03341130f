import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import { type TestContext, test } from 'node:test';
import { LogFile } from '../../src/daemon/log-file.ts';

function folder(t: TestContext): string {
  const dir = fs.mkdtempSync(`${os.tmpdir()}/corral-test-`);
  t.after(() => fs.rmSync(dir, { recursive: true }));
  return dir;
}

test('old files are renamed, and the oldest goes', (t) => {
  const dir = folder(t);
  const log = new LogFile({ path: `${dir}/daemon.log`, maxBytes: 10, maxFiles: 3 });
  for (const line of ['first line\n', 'second line\n', 'third line\n', 'fourth line\n', 'fifth\n']) log.append(line);
  log.close();
  const contents = fs.readdirSync(dir).map((name) => [name, fs.readFileSync(`${dir}/${name}`, 'utf8')]);
  assert.deepEqual(Object.fromEntries(contents), {
    'daemon.log': 'fifth\n',
    'daemon1.log': 'fourth line\n',
    'daemon2.log': 'third line\n',
  });
  assert.equal(fs.statSync(`${dir}/daemon.log`).mode & 0o777, 0o600);
});

test('an earlier daemon’s file is written on', (t) => {
  const dir = folder(t);
  fs.writeFileSync(`${dir}/daemon.log`, 'earlier\n');
  const log = new LogFile({ path: `${dir}/daemon.log`, maxBytes: 1_000, maxFiles: 3 });
  log.append('later\n');
  log.close();
  assert.equal(fs.readFileSync(`${dir}/daemon.log`, 'utf8'), 'earlier\nlater\n');
});

test('what cannot be written is lost, and said once there is room', (t) => {
  const dir = folder(t);
  fs.symlinkSync('/dev/full', `${dir}/daemon.log`);
  const log = new LogFile({ path: `${dir}/daemon.log`, maxBytes: 1_000, maxFiles: 3 });
  log.append('lost\n');
  log.append('lost, too\n');
  log.close();
  fs.rmSync(`${dir}/daemon.log`);
  log.append('kept\n');
  log.close();
  const [notice = '', line] = fs.readFileSync(`${dir}/daemon.log`, 'utf8').split('\n');
  assert.deepEqual(
    [JSON.parse(notice).message, JSON.parse(notice).count, line],
    ['lines of the log were lost', 2, 'kept'],
  );
});
