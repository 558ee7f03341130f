import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Client } from '../../src/client/index.ts';
import { CommandLine } from '../support/cli.ts';
import { type DaemonOptions, startDaemon, tiers } from '../support/daemon.ts';

const mib = 2 ** 20;
const node = (script: string) => ({ command: [process.execPath, '-e', script], cwd: '/' });
/** Takes so much memory, after the moment that it may take until its limits are set. */
const hog = (bytes: number) => ({
  command: ['python3', '-c', `import time; time.sleep(0.1); hog = bytearray(${bytes}); print('has it', len(hog))`],
  cwd: '/',
});

async function textOf(client: Client, id: number): Promise<string> {
  let text = '';
  for await (const piece of client.logs(id)) text += piece.toString();
  return text;
}

async function limitsHere(client: Client) {
  return (await client.status()).containment.limits;
}

for (const { tier, skip } of tiers) {
  describe(`limits in tier ${tier}`, { skip }, () => {
    const start = (t: Parameters<typeof startDaemon>[0], options: DaemonOptions = {}) =>
      startDaemon(t, { tier, parallel: 4, ...options });

    test('a job that wants more memory than its limit does not get it; one that is content with it does', async (t) => {
      const { client } = await start(t);
      const { memory } = await limitsHere(client);
      const limits = { resources: { memoryBytes: 200 * mib } };
      const { id: greedy } = await client.submit({ ...hog(400 * mib), ...limits });
      const { id: modest } = await client.submit({ ...hog(100 * mib), ...limits });
      const { id: control } = await client.submit(hog(400 * mib));
      const jobs = await client.wait([greedy, modest, control]);
      assert.deepEqual(
        jobs.map(({ cause }) => cause),
        [memory.by === 'cgroup' ? 'oom' : 'exit', 'exit', 'exit'],
      );
      assert.equal(jobs[0]?.status, 'failed');
      assert.deepEqual(jobs[0]?.resources, {
        memoryBytes: 200 * mib,
        enforcedBy: { memory: memory.by },
        from: { memory: 'job' },
      });
      if (memory.by === 'cgroup') assert.match(jobs[0]?.message ?? '', /its limit is 200 MiB, and its peak/);
      else assert.match(await textOf(client, greedy), /MemoryError/);
      assert.deepEqual(
        [await textOf(client, modest), await textOf(client, control)],
        ['has it 104857600\n', 'has it 419430400\n'],
      );
    });

    test('nice is that of the leader, and of what it starts at once', async (t) => {
      const { client } = await start(t);
      const nice = (pid: string) => `cut -d' ' -f19 /proc/${pid}/stat`;
      const { id } = await client.submit({
        shell: `sleep 0.3 & setsid sleep 0.5 & sleep 0.2; ${nice('$$')}; ${nice('$!')}; ${nice('self')}`,
        cwd: '/',
        resources: { nice: 7 },
      });
      const { id: control } = await client.submit({ shell: nice('self'), cwd: '/' });
      await client.wait([id, control]);
      assert.equal(await textOf(client, id), '7\n7\n7\n');
      assert.notEqual(await textOf(client, control), '7\n');
    });

    test('what the host cannot enforce is refused with the reason, or taken with a warning', async (t) => {
      const { client } = await start(t);
      const { cpus, pids } = await limitsHere(client);
      if (cpus.by === 'cgroup' || pids.by === 'cgroup') return t.skip('this host can enforce all limits');
      const spec = { command: ['true'], cwd: '/' };
      await assert.rejects(client.submit({ ...spec, resources: { cpus: 1.5 } }), (error: Error & { code?: string }) => {
        assert.equal(error.code, 'LIMIT_UNENFORCEABLE');
        assert.match(error.message, /^The limit of 1\.5 CPUs cannot be enforced on this host: .*--limits best-effort/);
        return true;
      });
      const { id, warnings } = await client.submit({ ...spec, resources: { pids: 9, enforce: 'best-effort' } });
      assert.match(warnings?.join() ?? '', /^The limit of 9 processes cannot be enforced on this host/);
      const [job] = await client.wait(id);
      assert.deepEqual([job?.status, job?.warnings], ['completed', warnings]);
      assert.equal(job?.resources?.enforcedBy.pids, 'not enforced');
    });

    const whyNoPids = tier === 'scan' ? 'processes cannot be limited in tier scan' : false;
    test('a fork bomb is held to the limit of processes', { skip: whyNoPids }, async (t) => {
      const { client } = await start(t);
      const { pids } = await limitsHere(client);
      if (pids.by !== 'cgroup') return t.skip(`processes cannot be limited here: ${pids.why}`);
      const { id } = await client.submit({
        shell: 'for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 2 & done 2>/dev/null; wait',
        cwd: '/',
        resources: { pids: 6 },
      });
      const [job] = await client.wait(id);
      assert.match(
        job?.warnings.join() ?? '',
        /^fork was refused (once|\d+ times): the limit is 6 processes and threads$/,
      );
    });

    test('a cap holds for a job that asks for nothing, and for one that asks for more', async (t) => {
      const { client } = await start(t, { env: { CORRAL_CAPS_MEMORY: '200MiB' } });
      const { memory } = await limitsHere(client);
      const ids = [
        await client.submit(hog(400 * mib)),
        await client.submit({ ...hog(400 * mib), resources: { memoryBytes: 600 * mib } }),
        await client.submit({ ...hog(100 * mib), resources: { memoryBytes: 150 * mib } }),
      ].map(({ id }) => id);
      const jobs = await client.wait(ids);
      const enforcedBy = { memory: memory.by };
      const capped = { memoryBytes: 200 * mib, enforcedBy, from: { memory: 'config caps' } };
      assert.deepEqual(
        jobs.map(({ resources }) => resources),
        [capped, capped, { memoryBytes: 150 * mib, enforcedBy, from: { memory: 'job' } }],
      );
      assert.deepEqual(
        jobs.map(({ status }) => status),
        ['failed', 'failed', 'completed'],
      );
    });

    for (const launcher of ['posix_spawn', 'execa']) {
      test(`CPU time and peak memory are those that the job used, with ${launcher}`, async (t) => {
        const { client } = await start(t, { env: { CORRAL_LAUNCHER: launcher } });
        const { id } = await client.submit(
          node(`
            const hog = Buffer.alloc(${100 * mib}, 1);
            while (process.cpuUsage().user + process.cpuUsage().system < 500_000);
            setTimeout(() => hog, 500 + performance.now());
          `),
        );
        const [job] = await client.wait(id);
        assert.equal(job?.status, 'completed');
        const peak = job?.peakRssBytes ?? 0;
        assert.ok(peak > 100 * mib && peak < 300 * mib, `${peak}`);
        // With execa, tier scan has only what was seen at the last look, in whole ticks of 10 ms. That look comes in the last third
        // of the job's life, in which it just waits.
        assert.ok((job?.cpuMs ?? 0) >= 470 && (job?.cpuMs ?? 0) < 1_500, `${job?.cpuMs} ms`);
      });
    }

    test('the peak of a small job is its own, not that of the daemon', async (t) => {
      const { client } = await start(t);
      const { id } = await client.submit({ command: ['sleep', '0.5'], cwd: '/' });
      const [job] = await client.wait(id);
      const peak = job?.peakRssBytes ?? 0;
      assert.ok(peak > 100_000 && peak < 20 * mib, `${peak}`);
    });
  });
}

test('a job with limits that a daemon took over keeps to what that daemon can do', async (t) => {
  const { daemon, client } = await startDaemon(t, { tier: 'scan' });
  await client.addGroup('later', { mode: 'manual' });
  const { id } = await client.submit({
    command: ['true'],
    cwd: '/',
    group: 'later',
    resources: { nice: 5, pids: 3, enforce: 'best-effort' },
  });
  const before = await client.get(id);
  await daemon.kill();
  await daemon.start();
  const again = await daemon.client();
  const job = await again.get(id);
  assert.deepEqual([job.resources, job.warnings], [before.resources, before.warnings]);
});

test('a cap that the host cannot enforce is named by health and the log; jobs run without it', async (t) => {
  const cli = new CommandLine(t, { CORRAL_CONTAINMENT: 'scan', CORRAL_CAPS_CPUS: '2', CORRAL_CAPS_MEMORY: '1GiB' });
  const { code, stdout } = await cli.run(['submit', '--dry-run', '--memory', '2GiB', '--', 'true']);
  assert.equal(code, 0);
  assert.match(stdout, /^limits {7}memory 1GiB \(each process, config caps\)$/m);
  assert.deepEqual(await cli.run(['run', '-c', 'sleep 0.2; ulimit -d']), {
    code: 0,
    stdout: `${1024 * 1024}\n`,
    stderr: '',
  });
  assert.match((await cli.run(['show', '1'])).stdout, /^limits {7}memory 1GiB \(each process, config caps\)$/m);
  const health = await cli.run(['health']);
  assert.equal(health.code, 1);
  const sentence = /The limit of 2 CPUs that \[caps\] sets cannot be enforced on this host: in tier scan /;
  assert.match(health.stdout, /CAPS_UNENFORCED/);
  assert.match(health.stdout, sentence);
  assert.doesNotMatch(health.stdout, /memory limit/);
  const said = cli.daemon
    .log()
    .split('\n')
    .filter((line) => line.includes('a cap cannot be enforced'));
  assert.equal(said.length, 1);
  assert.match(said[0] ?? '', sentence);
});

test('the command line: options, what is refused, what is warned of, what is shown', async (t) => {
  const cli = new CommandLine(t, { CORRAL_CONTAINMENT: 'scan' });
  const refused = await cli.run(['submit', '--cpus', '1.5', '--pids-limit', '100', '--', 'true']);
  assert.deepEqual([refused.code, refused.stdout], [1, '']);
  assert.match(refused.stderr, /The limit of 1\.5 CPUs cannot be enforced on this host: in tier scan .*Delegate=yes/);

  const all = ['--memory', '512MiB', '--cpus', '1.5', '--pids-limit', '100', '--nice', '10', '--limits', 'best-effort'];
  const taken = await cli.run(['run', ...all, '-c', 'sleep 0.2; ulimit -d; nice']);
  assert.deepEqual([taken.code, taken.stdout], [0, `${512 * 1024}\n10\n`]);
  assert.match(taken.stderr, /1\.5 CPUs cannot be enforced.*\n.*100 processes cannot be enforced/);
  const shown = await cli.run(['show', '1']);
  assert.match(
    shown.stdout,
    /^limits {7}memory 512MiB \(each process\), cpus 1\.5 \(not enforced\), pids 100 \(not enforced\), nice 10$/m,
  );
  assert.match(shown.stdout, /^warning .*1\.5 CPUs cannot be enforced/m);

  const doctor = await cli.run(['doctor']);
  assert.match(doctor.stdout, /^ {2}limits of memory {3}each process: in tier scan/m);
  assert.match(doctor.stdout, /^ {2}limits of nice {5}each process$/m);
  const nonsense = await cli.run(['submit', '--memory', 'much', '--', 'true']);
  assert.deepEqual([nonsense.code, nonsense.stdout], [2, '']);
});
