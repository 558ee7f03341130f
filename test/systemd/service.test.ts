import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { npmEnvironment, pack, root } from '../packaging/installed.ts';
import { isAlive, pidsWith, sleepToken } from '../support/processes.ts';
import { promisedMs } from '../support/promised.ts';
import { waitFor } from '../support/wait-for.ts';
import { Box, type BoxUser, whyNoBox } from './box.ts';

/** The steps of an operator, as systemd/README.md prints them: the lines of its n-th block for a shell. */
function steps(nth: number): string[] {
  const blocks = [...fs.readFileSync(`${root}/systemd/README.md`, 'utf8').matchAll(/```sh\n(.*?)```/gs)];
  return (blocks[nth]?.[1] ?? '').trim().split('\n');
}

const unitCgroup = '/system.slice/corral.service';
const config = '/etc/corral/config.toml';

describe('corral as a service of systemd, from its package', { skip: whyNoBox }, () => {
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'corral-systemd-'));
  const share = `${scratch}/share`;
  let box: Box;

  before(async () => {
    fs.chmodSync(scratch, 0o755);
    fs.mkdirSync(share);
    fs.renameSync(await pack(share), `${share}/corral.tgz`);
    fs.copyFileSync(process.execPath, `${share}/node`);
    fs.cpSync(`${root}/test/programs`, `${share}/programs`, { recursive: true });
    box = await Box.boot(`${scratch}/box`, share);
    await box.must(['ln', '-s', '/mnt/node', '/usr/local/bin/node']);
  });

  after(async () => {
    await box?.shutDown();
    fs.rmSync(scratch, { recursive: true, force: true });
  });

  const sh = (script: string, user?: BoxUser) => box.must(['sh', '-c', script], user === undefined ? {} : { user });
  const corral = (...args: string[]) => box.must(['corral', ...args]);
  const mainPid = async () => Number(await box.show('MainPID', 'corral'));
  const isActive = async () => (await box.run(['systemctl', 'is-active', 'corral'])).stdout.trim() === 'active';
  const write = (file: string, text: string) => sh(`mkdir -p "$(dirname ${file})"; cat >${file} <<'END'\n${text}\nEND`);
  const journal = async (...args: string[]) =>
    (await box.must(['journalctl', '-o', 'json', '-u', 'corral', ...args]))
      .split('\n')
      .map((line) => JSON.parse(line) as { PRIORITY: string; MESSAGE: string; _PID: string });

  async function dropIn(text: string): Promise<void> {
    await write('/etc/systemd/system/corral.service.d/test.conf', text);
    await sh('systemctl daemon-reload; systemctl restart corral');
  }

  async function noDropIn(): Promise<void> {
    await sh('rm -rf /etc/systemd/system/corral.service.d; systemctl daemon-reload; systemctl restart corral');
  }

  /** Submits jobs of programs that resist, waits until all run, and gives their token and how many jobs there are. */
  async function submitResisting(programs: readonly string[], processes: number): Promise<string> {
    const token = sleepToken();
    for (const program of programs) await corral('submit', '--', `/mnt/programs/${program}`, token);
    await waitFor(`${processes} processes run`, () => pidsWith(token).length >= processes, 20_000);
    return token;
  }

  /** 11 processes with the token. */
  const resisting = ['ignores-sigterm', 'setsid-child', 'wiped-daemon', 'stopped-tree', 'new-terminal'];

  test('the steps of systemd/README.md install and start it, in tier cgroup', async () => {
    assert.ok(fs.readFileSync(`${root}/README.md`, 'utf8').includes(steps(0).join('\n')), 'README.md has the same');
    for (const step of steps(0)) {
      const command = step.replace('npm install -g corral', 'npm install -g /mnt/corral.tgz');
      const env = { ...npmEnvironment(), PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', HOME: '/root' };
      await box.must(['sh', '-c', command], { env: { ...env, npm_config_prefix: '/usr/local' } });
    }
    assert.ok(await isActive());
    assert.equal(await box.show('UnitFileState', 'corral'), 'enabled');
    assert.equal(await box.show('StatusText', 'corral'), '0 running, 0 queued; containment cgroup');
    const status = JSON.parse(await corral('daemon', 'status', '--json'));
    assert.equal(status.containment.tier, 'cgroup');
    assert.equal(status.pid, await mainPid());
    assert.deepEqual([status.stateDir, status.socket], ['/var/lib/corral', '/run/corral/corral.sock']);
    assert.match(
      await corral('run', '--', 'tail', '-n1', '/proc/self/cgroup'),
      /^0::\S*\/corral\.service\/corral-\w+\/1\.1$/,
    );
    await corral('group', 'set', 'default', '--parallel', '20');
  });

  test('records of the journal have priorities', async () => {
    const records = await journal(`_PID=${await mainPid()}`);
    assert.deepEqual(
      records.filter(({ MESSAGE }) => MESSAGE.startsWith('ready ')).map(({ PRIORITY }) => PRIORITY),
      ['6'],
    );
  });

  test('reload takes a changed configuration over, and fails with the reason on one that cannot be used', async () => {
    const before = await mainPid();
    const isDiskLow = async () => (await box.run(['corral', 'submit', 'true'])).code === 75;
    assert.equal(await isDiskLow(), false);
    await write(config, '[disk]\nmin-free = "1000GiB"');
    await box.must(['systemctl', 'reload', 'corral']);
    await waitFor('there is too little room', isDiskLow);

    await write(config, '[disk]\nmin-free = "a lot"');
    const refused = await box.run(['systemctl', 'reload', 'corral']);
    assert.notEqual(refused.code, 0);
    const said = (await journal()).filter(({ MESSAGE }) => MESSAGE.includes(`${config}:2: disk.min-free:`));
    assert.ok(
      said.some(({ MESSAGE }) => MESSAGE.startsWith('corral: ')),
      'by the command of the reload',
    );
    const byDaemon = said.filter(({ _PID }) => _PID === String(before));
    assert.deepEqual(
      [...new Set(byDaemon.map(({ PRIORITY }) => PRIORITY))],
      ['3'],
      'by the daemon, as an error, also where it had seen the change before it was asked',
    );
    assert.ok(await isDiskLow(), 'the last good one stays in force');

    await sh(`rm ${config}`);
    await box.must(['systemctl', 'reload', 'corral']);
    await waitFor('there is room again', async () => !(await isDiskLow()));
    assert.equal(await mainPid(), before);
  });

  test('stops within 10 s with jobs that ignore SIGTERM, and leaves nothing', async () => {
    const token = await submitResisting(Array(5).fill('ignores-sigterm'), 10);
    assert.ok(box.pidsIn(unitCgroup).length >= 12, 'daemon, guardian and jobs are seen in the cgroup of the unit');
    const startedMs = performance.now();
    await box.must(['systemctl', 'stop', 'corral']);
    const tookMs = performance.now() - startedMs;
    assert.ok(tookMs < 10_000, `${tookMs} ms`);
    assert.equal(await box.show('Result', 'corral'), 'success');
    assert.deepEqual([...pidsWith(token), ...box.pidsIn(unitCgroup)], []);
    await box.must(['systemctl', 'start', 'corral']);
  });

  test('after SIGKILL of the daemon its unit is empty within 1 s, and it comes back with its queue', async () => {
    const token = await submitResisting([...resisting, ...resisting], 22);
    await corral('group', 'set', 'default', '--parallel', '1');
    const queued = (await corral('submit', '--', 'echo', 'kept')).trim();
    const before = await mainPid();
    const old = box.pidsIn(unitCgroup);
    const startedMs = performance.now();
    await box.must(['kill', '-KILL', String(before)]);
    await waitFor('no process of the old daemon lives', () => !old.some(isAlive) && pidsWith(token).length === 0);
    const tookMs = performance.now() - startedMs;
    assert.ok(tookMs < promisedMs(1_000), `${tookMs} ms`);
    // Restarted by the unit, not by this wait, which starts nothing.
    await waitFor('the unit is active again', async () => (await isActive()) && (await mainPid()) !== before);
    assert.ok(Number(await box.show('NRestarts', 'corral')) >= 1);
    assert.equal(await corral('wait', queued), '');
    assert.equal(await corral('logs', queued), 'kept');
    const jobs: { command: string[]; cause: string }[] = JSON.parse(await corral('ls', '--json'));
    const lost = jobs.filter(({ command }) => command.includes(token));
    assert.deepEqual(
      lost.map(({ cause }) => cause),
      Array(10).fill('supervisor-lost'),
    );
    await corral('group', 'set', 'default', '--parallel', '20');
  });

  describe('with daemon and guardian killed at once', () => {
    afterEach(noDropIn);

    /** Kills both, and gives the processes that live on after a second. */
    async function survivors(killMode: string): Promise<{ token: string; left: number[] }> {
      await dropIn(`[Service]\nKillMode=${killMode}\nRestartSec=1h`);
      const token = await submitResisting(resisting, 11);
      const { pid, guardianPid } = JSON.parse(await corral('daemon', 'status', '--json'));
      // Stopped first: a guardian that is quicker than kill(1) would end the jobs before its own signal comes.
      await sh(`kill -STOP ${pid} ${guardianPid}; kill -KILL ${pid} ${guardianPid}`);
      const deadlineMs = performance.now() + promisedMs(1_000);
      await waitFor(
        'a second is over, or nothing lives',
        () => pidsWith(token).length === 0 || performance.now() > deadlineMs,
      );
      return { token, left: pidsWith(token) };
    }

    test('systemd ends the jobs within 1 s, for the unit says KillMode=mixed', async () => {
      assert.deepEqual((await survivors('mixed')).left, []);
    });

    test('with KillMode=process they would live on, until the next start', async () => {
      const { token, left } = await survivors('process');
      assert.ok(left.length >= 11, `${left.length} live`);
      await box.must(['systemctl', 'restart', 'corral']);
      assert.deepEqual(pidsWith(token), []);
    });
  });

  test('a daemon that hangs is ended by the watchdog with all its jobs, and started again', async () => {
    await dropIn('[Service]\nWatchdogSec=2\nRestartSec=100ms');
    const token = await submitResisting(resisting, 11);
    const before = await mainPid();
    const old = box.pidsIn(unitCgroup);
    await box.must(['kill', '-STOP', String(before)]);
    await waitFor('another daemon runs', async () => (await isActive()) && (await mainPid()) !== before, 20_000);
    assert.deepEqual([...old.filter(isAlive), ...pidsWith(token)], []);
    assert.ok((await journal()).some(({ MESSAGE }) => MESSAGE.includes("Failed with result 'watchdog'")));
    assert.equal(await corral('run', 'echo', 'well'), 'well');
    await noDropIn();
  });

  test('a disk that is full at start is tried again until it is not', async () => {
    await box.must(['systemctl', 'stop', 'corral']);
    await sh(
      'mount -t tmpfs -o size=64k,mode=700 full /var/lib/corral; head -c 64k /dev/zero >/var/lib/corral/filler || :',
    );
    await write('/etc/systemd/system/corral.service.d/test.conf', '[Service]\nRestartSec=50ms');
    await sh('systemctl daemon-reload');
    const started = await box.run(['systemctl', 'start', 'corral']);
    assert.notEqual(started.code, 0);
    // The usual limit is 5 starts in 10 s.
    await waitFor('it was tried often', async () => Number(await box.show('NRestarts', 'corral')) >= 7, 30_000);
    assert.notEqual(await box.show('ActiveState', 'corral'), 'failed');
    await sh('mount -o remount,size=64m /var/lib/corral');
    await waitFor('it is active', isActive);
    await sh('systemctl stop corral; umount /var/lib/corral');
    await noDropIn();
  });

  test('a configuration that cannot be used is not tried again, and whoever needs the daemon hears why', async () => {
    await write(config, 'nonsense');
    assert.notEqual((await box.run(['systemctl', 'restart', 'corral'])).code, 0);
    assert.equal(await box.show('ActiveState', 'corral'), 'failed');
    assert.equal(await box.show('NRestarts', 'corral'), '0');
    const { code, stderr } = await box.run(['corral', 'ls']);
    assert.equal(code, 3);
    assert.match(stderr, /^corral: The daemon did not start: \/etc\/corral\/config.toml:1: this is not TOML/);
    assert.match(stderr, /systemctl status corral\n$/);
    assert.deepEqual(box.pidsIn(unitCgroup), [], 'nor is one started beside the unit');
    await sh(`rm ${config}`);
  });

  test("root's first command starts the installed unit", async () => {
    await box.must(['systemctl', 'reset-failed', 'corral']);
    assert.equal(await isActive(), false);
    assert.equal(await corral('run', 'echo', 'started'), 'started');
    assert.ok(await isActive());
    assert.equal(JSON.parse(await corral('daemon', 'status', '--json')).pid, await mainPid());
    const again = await box.run(['corral', 'daemon', 'start']);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /already serves/);
  });

  test('with examples/unprivileged.conf daemon and jobs are those of the user corral, in tier cgroup', async () => {
    const example = '$(npm root -g --prefix /usr/local)/corral/systemd/examples/unprivileged.conf';
    await sh(`install -D -m 644 ${example} /etc/systemd/system/corral.service.d/unprivileged.conf`);
    await sh('systemctl daemon-reload && systemctl restart corral');
    const env = { CORRAL_SOCKET: '/run/corral/corral.sock' };
    const job = await box.must(['corral', 'run', '-c', 'id -un; tail -n1 /proc/self/cgroup'], { env });
    assert.match(job, /^corral\n0::\S*\/corral\.service\/corral-\w+\/\d+\.1$/);
    await box.must(['systemctl', 'reload', 'corral']);
    await noDropIn();
    assert.equal(await corral('run', 'id', '-un'), 'root');
  });

  describe('an ordinary user', () => {
    let alice: BoxUser;
    const own = (...args: string[]) => box.run(['corral', ...args], { user: alice });
    const status = async () => JSON.parse((await own('daemon', 'status', '--json')).stdout);
    const units = () => sh("systemctl --user list-units --plain --no-legend 'corral*.service'", alice);
    const notice =
      'corral: the daemon and its jobs end when you log out for the last time; to keep them: loginctl enable-linger\n';

    before(async () => {
      const uid = Number(await sh('useradd --create-home --user-group alice; id -u alice'));
      alice = { uid, env: { HOME: '/home/alice', USER: 'alice', XDG_RUNTIME_DIR: `/run/user/${uid}` } };
      await box.must(['systemctl', 'start', `user@${uid}`]);
    });

    test('has the user unit by the steps of systemd/README.md, in tier cgroup', async () => {
      for (const step of steps(1)) await sh(step, alice);
      await own('group', 'set', 'default', '--parallel', '20');
      const { pid, containment, stateDir } = await status();
      assert.equal(containment.tier, 'cgroup');
      assert.equal(stateDir, '/home/alice/.local/state/corral');
      assert.equal(await sh('systemctl --user show --property=MainPID --value corral', alice), String(pid));
      assert.equal((await own('run', 'id', '-un')).stdout, 'alice\n');
      await sh('systemctl --user reload corral', alice);
    });

    test('keeps nothing of a daemon that is killed', async () => {
      const token = sleepToken();
      for (const program of resisting) await own('submit', '--', `/mnt/programs/${program}`, token);
      await waitFor('they run', () => pidsWith(token).length >= 11);
      const { pid } = await status();
      const startedMs = performance.now();
      await box.must(['kill', '-KILL', String(pid)]);
      await waitFor('nothing is left', () => pidsWith(token).length === 0);
      const tookMs = performance.now() - startedMs;
      assert.ok(tookMs < promisedMs(1_000), `${tookMs} ms`);
    });

    test('starts the installed unit with the first command', async () => {
      await sh('systemctl --user disable --now corral 2>/dev/null', alice);
      assert.deepEqual(await own('run', 'echo', 'started'), { code: 0, stdout: 'started\n', stderr: notice });
      assert.match(await units(), /^corral\.service .* running /);
      await sh('systemctl --user stop corral', alice);
    });

    describe('without an installed unit', () => {
      before(async () => {
        await sh('rm /usr/local/lib/systemd/user/corral.service');
        await sh('systemctl --user daemon-reload', alice);
      });
      afterEach(() => own('daemon', 'stop'));

      test('starts a transient one, and hears what becomes of it at the last logout', async () => {
        assert.deepEqual(await own('run', 'echo', 'started'), { code: 0, stdout: 'started\n', stderr: notice });
        assert.match(await units(), /^corral-[0-9a-f]{8}\.service .* running /);
        assert.equal((await status()).containment.tier, 'cgroup');
        assert.deepEqual(await sh('ls /home/alice/.local/state/corral | grep start- || echo none'), 'none');
        assert.deepEqual(
          await own('run', 'echo', 'again'),
          { code: 0, stdout: 'again\n', stderr: '' },
          'it is said once',
        );
        await own('daemon', 'stop');
        await waitFor('the unit is gone', async () => (await units()) === '');
      });

      test('hears nothing of it with lingering on', async () => {
        await sh('mkdir -p /var/lib/systemd/linger; touch /var/lib/systemd/linger/alice');
        assert.equal((await own('run', 'true')).stderr, '');
        assert.doesNotMatch((await own('doctor')).stdout, /enable-linger/);
        await sh('rm /var/lib/systemd/linger/alice');
        assert.match(
          (await own('doctor')).stdout,
          /note \(host\) the daemon and its jobs end when you log out.*enable-linger/,
        );
      });

      test('has a daemon of another state directory in a unit of its own', async () => {
        const env = { CORRAL_STATE_DIR: '/home/alice/a "b" 100% $c', CORRAL_RUNTIME_DIR: '/home/alice/run' };
        const run = (...args: string[]) => box.must(['corral', ...args], { user: alice, env });
        assert.equal(await run('run', 'echo', 'there'), 'there');
        const { containment, stateDir } = JSON.parse(await run('daemon', 'status', '--json'));
        assert.deepEqual([containment.tier, stateDir], ['cgroup', env.CORRAL_STATE_DIR]);
        await run('daemon', 'stop');
      });

      test('gets one daemon from many commands at once', async () => {
        const outcomes = await Promise.all(Array.from({ length: 5 }, () => own('run', 'echo', 'one')));
        assert.deepEqual(
          outcomes.map(({ stdout }) => stdout),
          Array(5).fill('one\n'),
        );
        assert.equal((await status()).containment.tier, 'cgroup');
        await waitFor('the others are gone', async () => (await units()).split('\n').length === 1);
      });

      test("gets the daemon's own reason where it cannot start", async () => {
        await sh('mkdir -p ~/.config/corral; echo nonsense >~/.config/corral/config.toml', alice);
        const { code, stderr } = await own('run', 'true');
        await sh('rm -r ~/.config/corral', alice);
        assert.equal(code, 78);
        assert.match(
          stderr,
          /^corral: The daemon did not start: \/home\/alice\/.config\/corral\/config.toml:1: this is not TOML/,
        );
      });

      test('keeps nothing of a transient daemon that is killed', async () => {
        const token = sleepToken();
        for (const program of resisting) await own('submit', '--', `/mnt/programs/${program}`, token);
        await waitFor('they run', () => pidsWith(token).length >= 11);
        await box.must(['kill', '-KILL', String((await status()).pid)]);
        assert.ok((await waitFor('nothing is left', () => pidsWith(token).length === 0)) < promisedMs(1_000));
      });

      test('has a daemon also where the manager does not answer, and hears of it', async () => {
        const dir = '/tmp/deaf';
        await sh(
          `mkdir -p ${dir}/systemd && node -e 'require("net").createServer().listen("${dir}/systemd/private", () => process.kill(process.pid, "SIGKILL"))' || test -S ${dir}/systemd/private`,
          alice,
        );
        const env = { XDG_RUNTIME_DIR: dir };
        const { stdout, stderr } = await box.run(['corral', 'run', 'echo', 'anyway'], { user: alice, env });
        await box.must(['corral', 'daemon', 'stop'], { user: alice, env });
        assert.equal(stdout, 'anyway\n');
        assert.match(
          stderr,
          /^corral: the user's service manager did not start the daemon, so it runs without \(.+\); see: corral daemon status\n$/,
        );
      });

      test('has tier scan, and nothing to hear, without a manager', async () => {
        const env = { XDG_RUNTIME_DIR: '', CORRAL_RUNTIME_DIR: '/home/alice/run' };
        const outcome = await box.run(['corral', 'run', 'echo', 'plain'], { user: alice, env });
        assert.deepEqual(outcome, { code: 0, stdout: 'plain\n', stderr: '' });
        const { containment } = JSON.parse(
          await box.must(['corral', 'daemon', 'status', '--json'], { user: alice, env }),
        );
        assert.equal(containment.tier, 'scan');
        await box.must(['corral', 'daemon', 'stop'], { user: alice, env });
      });

      test('can install the unit for themselves, with install.sh', async () => {
        await sh('sh "$(npm root -g --prefix /usr/local)/corral/systemd/install.sh"', alice);
        assert.equal((await own('run', 'echo', 'started')).stdout, 'started\n');
        const unit = await sh('systemctl --user show --property=FragmentPath --value corral', alice);
        assert.equal(unit, '/home/alice/.config/systemd/user/corral.service');
        assert.equal((await status()).pid, Number(await sh('systemctl --user show -P MainPID corral', alice)));
      });
    });
  });
});
