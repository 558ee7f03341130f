import assert from 'node:assert/strict';
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const systemd = fileURLToPath(new URL('../../systemd', import.meta.url));
const skip =
  spawnSync('systemd-analyze', ['--version']).status === 0 ? false : 'systemd-analyze is not installed on this host';

const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'corral-units-'));
after(() => fs.rmSync(scratch, { recursive: true, force: true }));

function analyze(...args: string[]): SpawnSyncReturns<string> {
  const env = { PATH: process.env.PATH, XDG_RUNTIME_DIR: scratch, HOME: scratch };
  return spawnSync('systemd-analyze', args, { encoding: 'utf8', env, timeout: 30_000 });
}

/** A copy of a unit, changed, in a folder of its own. */
function changed(unit: string, change: (text: string) => string): string {
  const folder = fs.mkdtempSync(`${scratch}/unit-`);
  fs.writeFileSync(`${folder}/corral.service`, change(fs.readFileSync(unit, 'utf8')));
  return `${folder}/corral.service`;
}

describe('install.sh', () => {
  // A package whose path has all that the units have to quote; what is in it is that of the checkout.
  const home = `${scratch}/a b 100% & | $c`;
  const destination = `${scratch}/root`;
  const lib = process.getuid?.() === 0 ? `${destination}/usr/local/lib/systemd` : `${destination}/config/systemd`;
  const installed = (process.getuid?.() === 0 ? ['system', 'user'] : ['user']).map((scope) => ({
    scope,
    unit: `${lib}/${scope}/corral.service`,
  }));

  before(() => {
    fs.cpSync(systemd, `${home}/systemd`, { recursive: true });
    fs.mkdirSync(`${home}/bin`);
    for (const name of ['corral', 'corrald'])
      fs.writeFileSync(`${home}/bin/${name}`, '#!/bin/sh\nexit 0\n', { mode: 0o755 });
    const env = {
      PATH: process.env.PATH,
      DESTDIR: destination,
      XDG_CONFIG_HOME: '/config',
      CORRAL_NODE: '/a "$b"/node',
    };
    const { status, stderr } = spawnSync('sh', [`${home}/systemd/install.sh`], { encoding: 'utf8', env });
    assert.equal(status, 0, stderr);
  });

  for (const { scope, unit } of installed) {
    test(`the ${scope} unit that it writes is one that systemd takes without a word`, { skip }, () => {
      const { status, stderr } = analyze('verify', `--${scope}`, '--recursive-errors=no', unit);
      assert.deepEqual([status, stderr], [0, '']);
    });

    test(`a key of the ${scope} unit that systemd does not know would be found`, { skip }, () => {
      const wrong = changed(unit, (text) => text.replace('KillMode=', 'KilMode='));
      const { status, stderr } = analyze('verify', `--${scope}`, '--recursive-errors=no', wrong);
      assert.notEqual(status, 0);
      assert.match(stderr, /KilMode/);
    });
  }

  test('names the Node, quoted, and leaves a file that is there as it is', () => {
    const file =
      process.getuid?.() === 0 ? `${destination}/etc/corral/environment` : `${destination}/config/corral/environment`;
    assert.equal(fs.readFileSync(file, 'utf8'), 'CORRAL_NODE="/a \\"\\$b\\"/node"\n');
    fs.writeFileSync(file, '# mine\n');
    const env = { PATH: process.env.PATH, DESTDIR: destination, XDG_CONFIG_HOME: '/config', CORRAL_NODE: '/other' };
    assert.equal(spawnSync('sh', [`${home}/systemd/install.sh`], { env }).status, 0);
    assert.equal(fs.readFileSync(file, 'utf8'), '# mine\n');
  });
});

/**
 * The exposure that `systemd-analyze security` computes, from 0 (best) to 10, as it is and may not exceed. A job runner that lets
 * root run anything cannot be low: see the reasons in the units. Written with systemd 252; others weigh a little differently.
 */
const exposures = [
  { name: 'the system unit', unit: 'system/corral.service', dropIn: null, achieved: 8.9, threshold: 9.0 },
  {
    name: 'the system unit with examples/unprivileged.conf',
    unit: 'system/corral.service',
    dropIn: 'examples/unprivileged.conf',
    achieved: 5.6,
    threshold: 5.7,
  },
  { name: 'the user unit', unit: 'user/corral.service', dropIn: null, achieved: 9.6, threshold: 9.7 },
];

test('install.sh refuses a path that systemd would refuse', () => {
  const home = `${scratch}/a "b"`;
  fs.cpSync(systemd, `${home}/systemd`, { recursive: true });
  const env = { PATH: process.env.PATH, DESTDIR: `${scratch}/nowhere` };
  const { status, stderr } = spawnSync('sh', [`${home}/systemd/install.sh`], { encoding: 'utf8', env });
  assert.equal(status, 1);
  assert.match(stderr, /Install the package elsewhere/);
  assert.equal(fs.existsSync(`${scratch}/nowhere`), false);
});

describe('systemd-analyze security', { skip }, () => {
  for (const { name, unit, dropIn, achieved, threshold } of exposures) {
    test(`${name} is exposed by ${achieved} at most`, () => {
      const file = changed(`${systemd}/${unit}`, (text) => text);
      if (dropIn !== null) {
        fs.mkdirSync(`${file}.d`);
        fs.copyFileSync(`${systemd}/${dropIn}`, `${file}.d/drop-in.conf`);
      }
      const check = (limit: number) =>
        analyze('security', '--offline=true', '--no-pager', `--threshold=${Math.round(limit * 10)}`, file);
      const { status, stdout } = check(threshold);
      assert.equal(status, 0, stdout.trim().split('\n').at(-1));
      assert.notEqual(check(achieved - 1).status, 0, 'a lower threshold is exceeded, so the check can fail');
    });
  }
});
