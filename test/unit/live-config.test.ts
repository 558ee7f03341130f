import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { LiveConfig } from '../../src/daemon/config/live.ts';
import { CorralError } from '../../src/protocol/index.ts';

const user = 1_000;

/** The configuration of a user whose home is a folder of the test. */
function home(t: TestContext) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'corral-config-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  return { env: { HOME: dir }, file: `${dir}/.config/corral/config.toml` };
}

function write(file: string, text: string): void {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text);
}

const ttlOf = (live: LiveConfig) => live.current.jobDefaults.jobs.ttlMs;

test('a file in the default place may come and go', (t) => {
  const { env, file } = home(t);
  const live = new LiveConfig(env, user, 0);
  assert.equal(live.reload(1, 'changed'), false);
  write(file, '[jobs]\nttl = "1h"');
  assert.equal(live.reload(2, 'changed'), true);
  assert.deepEqual([ttlOf(live), live.status().path], [3_600_000, file]);
  fs.rmSync(file);
  assert.equal(live.reload(3, 'changed'), true);
  assert.deepEqual([ttlOf(live), live.status().path, live.status().error], [undefined, null, null]);
});

test('what was looked at already is not looked at again, right or wrong, unless somebody asks', (t) => {
  const { env, file } = home(t);
  write(file, '[jobs]\nttl = "1h"');
  const live = new LiveConfig(env, user, 0);
  assert.equal(live.reload(1, 'changed'), false);
  assert.equal(live.status().loadedAt, new Date(0).toISOString());
  write(file, 'nonsense');
  assert.equal(live.reload(2, 'changed'), true);
  assert.equal(live.reload(3, 'changed'), false);
  assert.match(live.status().error ?? '', /config\.toml:1: this is not TOML/);
  assert.equal(live.reload(4), true);
  write(file, '[jobs]\nttl = "1h"');
  assert.equal(live.reload(5, 'changed'), true);
  assert.deepEqual([live.status().error, live.status().loadedAt], [null, new Date(5).toISOString()]);
});

test('one that cannot be used leaves all of the last good one', (t) => {
  const { env, file } = home(t);
  write(file, '[jobs]\nttl = "1h"\n[profiles.a]\nlease = "1m"');
  const live = new LiveConfig(env, user, 0);
  const good = live.current;
  for (const text of [
    '[jobs]\nttl = "2h"\nlease = 1',
    '[profiles.a]\nbase = "b"',
    '[jobs]\nttl = "2h"\n[hooks',
    '\u0000',
  ]) {
    write(file, text);
    live.reload(1, 'changed');
    assert.notEqual(live.status().error, null, text);
    assert.equal(live.current, good, text);
  }
});

test('at the start there is no last good one', (t) => {
  const { env, file } = home(t);
  write(file, 'nonsense');
  assert.throws(
    () => new LiveConfig(env, user, 0),
    (error) => error instanceof CorralError && error.code === 'CONFIG_INVALID',
  );
});
