import assert from 'node:assert/strict';
import fs from 'node:fs';
import { describe, test } from 'node:test';
import { CorralError } from '../../src/client/index.ts';
import { type DaemonUnderTest, startDaemon, tiers, whyNoSmallDisk } from '../support/daemon.ts';
import { pidsWith, sleepToken } from '../support/processes.ts';
import { waitFor } from '../support/wait-for.ts';

/** The part of the state directory's disk that the test itself takes up. */
class Filler {
  readonly #path: string;

  constructor(daemon: DaemonUnderTest) {
    this.#path = `${daemon.stateDir}/filler`;
  }

  /** Leaves so many bytes, by default none. */
  fill({ leavingBytes = 0 } = {}): void {
    const fd = fs.openSync(this.#path, 'a');
    try {
      const { bavail, bsize } = fs.statfsSync(this.#path);
      fs.writeSync(fd, Buffer.alloc(Math.max(0, bavail * bsize - leavingBytes)));
      if (leavingBytes > 0) return;
      for (let size = 256 * 1024; size >= 1; size = Math.floor(size / 2)) while (write(fd, size));
    } finally {
      fs.closeSync(fd);
    }
  }

  free(): void {
    fs.rmSync(this.#path);
  }
}

function write(fd: number, size: number): boolean {
  try {
    return fs.writeSync(fd, Buffer.alloc(size)) === size;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') return false;
    throw error;
  }
}

const fails = (code: string) => (error: unknown) => error instanceof CorralError && error.code === code;

/** SQLite keeps room in its log, so a full disk shows in the store only after so many commits. Groups are harmless ones. */
async function untilTheStoreFails(setGroup: () => Promise<unknown>): Promise<CorralError> {
  for (let tries = 0; tries < 5_000; tries += 1) {
    try {
      await setGroup();
    } catch (error) {
      if (error instanceof CorralError) return error;
      throw error;
    }
  }
  throw new Error('the store took everything');
}

for (const { tier, skip } of tiers) {
  describe(`G10: a full disk while jobs run, tier ${tier}`, { skip: skip || whyNoSmallDisk }, () => {
    test('G10: admission stops, running jobs go on and can be ended, results are kept, and all goes on without a restart', async (t) => {
      const { daemon, client } = await startDaemon(t, {
        tier,
        parallel: 5,
        diskSize: '8m',
        env: { CORRAL_DISK_MIN_FREE: 'off' },
      });
      const token = sleepToken();
      const gate = `${daemon.dir}/gate`;
      const ends = await client.submit({ shell: `until [ -e ${gate} ]; do sleep 0.05; done; exit 7` });
      const cancelled = await client.submit({
        shell: `trap '' TERM; sleep ${token}; sleep ${token}`,
        killGraceMs: 100,
      });
      const limited = await client.submit({ command: ['sleep', token], maxRuntimeMs: 3_000 });
      await waitFor('all run', async () => (await client.list({ statuses: ['running'] })).jobs.length === 3);
      const filler = new Filler(daemon);
      filler.fill();
      let parallel = 5;
      const error = await untilTheStoreFails(() => client.setGroup('default', { parallel: 5 + (parallel++ % 2) }));
      assert.equal(error.code, 'STORE_FAILED');
      assert.match(
        error.message,
        /corral\.db cannot be written \(database or disk is full\)\. .* Nothing was changed\.$/,
      );

      await assert.rejects(client.submit({ command: ['true'] }), fails('STORE_FAILED'));
      const failing = await client.health();
      assert.equal(failing.status, 'failed');
      assert.deepEqual(
        failing.reasons.map(({ code }) => code),
        ['STORE_FAILING'],
      );

      // Ends all the same: what was asked for, what has a limit, and what ends by itself.
      await assert.rejects(client.cancel(cancelled.id), (thrown) => {
        return fails('STORE_FAILED')(thrown) && /It is done all the same/.test(String(thrown));
      });
      await waitFor('the processes are gone', () => pidsWith(token).length === 0);
      fs.writeFileSync(gate, '');
      const freedFrom = Date.now();

      // Nobody is told what a crash could still take away.
      await assert.rejects(client.wait(ends.id, { timeoutMs: 500 }), fails('WAIT_TIMEOUT'));
      assert.equal((await client.get(ends.id)).status, 'running');
      assert.ok((await client.health()).checks.unwrittenChanges > 0);

      const pid = daemon.pid;
      filler.free();
      const [first, second, third] = await client.wait([ends.id, cancelled.id, limited.id], { timeoutMs: 10_000 });
      assert.deepEqual([first?.cause, first?.exitCode], ['exit', 7]);
      assert.deepEqual([second?.status, second?.cause], ['cancelled', 'cancel']);
      assert.deepEqual([third?.status, third?.cause], ['failed', 'max-runtime']);
      // Each ended when it did, not when that could be written down.
      assert.ok(Date.parse(second?.finishedAt ?? '') <= freedFrom, `${second?.finishedAt}`);
      const after = await client.submit({ command: ['true'] });
      assert.equal((await client.wait(after.id))[0]?.status, 'completed');
      assert.equal((await client.health()).status, 'ok');
      assert.equal(daemon.pid, pid);
    });

    test('G10: what is written when the store works again survives a crash', async (t) => {
      const { daemon, client } = await startDaemon(t, { tier, diskSize: '8m', env: { CORRAL_DISK_MIN_FREE: 'off' } });
      const job = await client.submit({ shell: 'sleep 0.5; exit 5' });
      await waitFor('it runs', async () => (await client.get(job.id)).status === 'running');
      const filler = new Filler(daemon);
      filler.fill();
      let parallel = 5;
      await untilTheStoreFails(() => client.setGroup('default', { parallel: 5 + (parallel++ % 2) }));
      await waitFor('its end waits', async () => (await client.health()).checks.unwrittenChanges > 0);
      filler.free();
      await client.wait(job.id);
      await daemon.kill();
      await daemon.start();
      const [ended] = await (await daemon.client()).wait(job.id);
      assert.deepEqual([ended?.cause, ended?.exitCode], ['exit', 5]);
    });

    test('G10: a daemon that stops on a full disk does not wait for ever, and says that results are missing', async (t) => {
      const { daemon, client } = await startDaemon(t, { tier, diskSize: '8m', env: { CORRAL_DISK_MIN_FREE: 'off' } });
      const token = sleepToken();
      const job = await client.submit({ command: ['sleep', token] });
      await waitFor('it runs', async () => (await client.get(job.id)).status === 'running');
      const filler = new Filler(daemon);
      filler.fill();
      let parallel = 5;
      await untilTheStoreFails(() => client.setGroup('default', { parallel: 5 + (parallel++ % 2) }));
      const startedMs = performance.now();
      assert.equal(await daemon.signal('SIGTERM'), 1);
      assert.ok(performance.now() - startedMs < 8_000);
      assert.deepEqual(pidsWith(token), []);
      filler.free();
      await daemon.start();
      const [lost] = await (await daemon.client()).wait(job.id);
      assert.equal(lost?.cause, 'supervisor-lost');
    });

    test('G10: little room stops admission before the disk is full, and queued jobs start when there is room again', async (t) => {
      const { daemon, client } = await startDaemon(t, {
        tier,
        parallel: 1,
        diskSize: '16m',
        env: { CORRAL_DISK_MIN_FREE: '4MiB' },
      });
      const gate = `${daemon.dir}/gate`;
      const running = await client.submit({ shell: `until [ -e ${gate} ]; do sleep 0.05; done; echo kept` });
      const queued = await client.submit({ command: ['echo', 'later'] });
      const filler = new Filler(daemon);
      filler.fill({ leavingBytes: 2 * 1024 * 1024 });
      await waitFor('health says so', async () => (await client.health()).status === 'failed');
      assert.deepEqual(
        (await client.health()).reasons.map(({ code }) => code),
        ['DISK_LOW'],
      );
      await assert.rejects(client.submit({ command: ['true'] }), fails('DISK_LOW'));
      fs.writeFileSync(gate, '');
      assert.equal((await client.wait(running.id))[0]?.status, 'completed');
      assert.equal((await client.get(queued.id)).status, 'queued');
      filler.free();
      assert.equal((await client.wait(queued.id, { timeoutMs: 10_000 }))[0]?.status, 'completed');
      assert.equal((await client.health()).status, 'ok');
    });

    test('G10: a job for whose output there is no room goes back to the queue, and is no failure', async (t) => {
      const { daemon, client } = await startDaemon(t, {
        tier,
        diskSize: '8m,nr_inodes=100',
        env: { CORRAL_DISK_MIN_FREE: 'off' },
      });
      await client.submit({ command: ['true'] }).then(({ id }) => client.wait(id));
      // The store has its files; there is room for bytes, and none for another file.
      const files: string[] = [];
      while (fs.statfsSync(daemon.stateDir).ffree > 0) {
        files.push(`${daemon.stateDir}/filler.${files.length}`);
        fs.writeFileSync(files.at(-1) ?? '', '');
      }
      const job = await client.submit({ command: ['echo', 'hello'] });
      await waitFor('it was tried', async () => (await client.health()).status === 'failed');
      for await (const event of client.events({ jobId: job.id, follow: true }))
        if (event.from === 'starting' && event.to === 'queued') break;
      // Three beats of the daemon's pulse: it is not tried over and over, for each try would be written down.
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      const tries: string[] = [];
      for await (const event of client.events({ jobId: job.id })) if (event.to === 'starting') tries.push(event.at);
      assert.ok(tries.length <= 2, `${tries}`);
      for (const file of files) fs.rmSync(file);
      const [ended] = await client.wait(job.id, { timeoutMs: 10_000 });
      assert.deepEqual([ended?.status, ended?.attempt, ended?.attempts.length], ['completed', 1, 1]);
    });
  });
}
