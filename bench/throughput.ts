/**
 * Jobs a second through a real daemon, beside a bare loop of posix_spawn in the same run: npm run bench [-- jobs slots]
 *
 * Both start `true` and keep as many in flight. The bare loop does nothing else: no leaf, no record, no client.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { connect } from '../src/client/index.ts';
import { ChildReaper, spawnSession } from '../src/daemon/linux/index.ts';

const [jobs = 2_000, slots = 8] = process.argv.slice(2).map(Number);
const rounds = 3;

async function bareLoop(): Promise<number> {
  const reaper = new ChildReaper();
  reaper.start();
  const null0 = fs.openSync('/dev/null', 'r+');
  const keepAlive = setInterval(() => {}, 60_000); // Waiting for a signal alone does not keep Node running.
  const startedMs = performance.now();
  await new Promise<void>((resolve) => {
    let started = 0;
    let ended = 0;
    const next = () => {
      if (started === jobs) return;
      started += 1;
      const pid = spawnSession({ path: '/bin/true', argv: ['true'], env: {}, cwd: '/', stdio: [null0, null0, null0] });
      reaper.expectLeader(pid, () => {
        ended += 1;
        if (ended === jobs) resolve();
        else next();
      });
    };
    for (let n = 0; n < slots; n += 1) next();
  });
  const seconds = (performance.now() - startedMs) / 1_000;
  clearInterval(keepAlive);
  reaper.stop();
  fs.closeSync(null0);
  return jobs / seconds;
}

async function throughCorral(tier: string): Promise<number> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'corral-bench-'));
  const env = {
    ...process.env,
    CORRAL_STATE_DIR: `${dir}/state`,
    CORRAL_RUNTIME_DIR: `${dir}/run`,
    CORRAL_CONTAINMENT: tier,
    CORRAL_SOCKET: undefined,
  };
  const client = await connect({ env });
  try {
    await client.setGroup('default', { parallel: slots });
    const startedMs = performance.now();
    const submitted = await client.submitBatch(Array.from({ length: jobs }, () => ({ command: ['true'] })));
    const submittedMs = performance.now() - startedMs;
    const ids = submitted.map(({ id }) => id);
    const last = ids.at(-1);
    if (last === undefined) return 0;
    for (let at = 0; at < ids.length; at += 5_000) await client.wait(ids.slice(at, at + 5_000));
    const seconds = (performance.now() - startedMs) / 1_000;
    const { jobs: counts } = await client.status();
    if (counts.completed !== jobs) throw new Error(`${counts.completed} of ${jobs} jobs completed`);
    console.log(
      `  ${tier.padEnd(7)} ${(jobs / seconds).toFixed(0).padStart(6)} jobs/s   (${submittedMs.toFixed(0)} ms to submit all, durable)`,
    );
    return jobs / seconds;
  } finally {
    await client.stopDaemon();
    client.close();
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

const tiers = process.getuid?.() === 0 ? ['cgroup', 'scan'] : ['scan'];
console.log(
  `${jobs} jobs of \`true\`, ${slots} at once, ${os.availableParallelism()} cores, Node ${process.version}, Linux ${os.release()}`,
);
for (let round = 1; round <= rounds; round += 1) {
  console.log(`round ${round}`);
  const bare = await bareLoop();
  console.log(`  bare    ${bare.toFixed(0).padStart(6)} posix_spawn/s`);
  for (const tier of tiers) {
    const rate = await throughCorral(tier);
    console.log(`          ${((100 * rate) / bare).toFixed(0).padStart(5)} % of bare`);
  }
}
