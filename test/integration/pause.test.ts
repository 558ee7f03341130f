import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isErrno } from '../../src/protocol/index.ts';
import { CommandLine } from '../support/cli.ts';
import { startDaemon, tiers } from '../support/daemon.ts';
import { pidsWith, sleepToken } from '../support/processes.ts';
import { waitFor } from '../support/wait-for.ts';

const forkChain = fileURLToPath(new URL('../programs/fork-chain', import.meta.url));

/** How long it is looked at whether anything moves. */
const watchMs = 300;

/** CPU time that live processes with the token have used, in ticks of 10 ms, by pid. */
function cpuTicks(token: string): Map<number, number> {
  return new Map(
    pidsWith(token).flatMap((pid) => {
      const ticks = ticksOf(pid);
      return ticks === null ? [] : [[pid, ticks]];
    }),
  );
}

/** `null`: it has ended since it was found. proc_pid_stat(5) */
function ticksOf(pid: number): number | null {
  try {
    const fields = fs.readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
    return Number(fields[11]) + Number(fields[12]);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ESRCH')) return null;
    throw error;
  }
}

/** Waits until no process with the token uses CPU time any more: the kernel freezes at the next instruction, not before. */
async function standsStill(token: string): Promise<void> {
  await waitFor('it stands still', async () => {
    const before = cpuTicks(token);
    await delay(50);
    return isSame(before, cpuTicks(token));
  });
  const before = cpuTicks(token);
  await delay(watchMs);
  assert.deepEqual(cpuTicks(token), before, 'it uses no CPU time, and no process comes or goes');
}

function isSame(a: ReadonlyMap<number, number>, b: ReadonlyMap<number, number>): boolean {
  return a.size === b.size && [...a].every(([pid, ticks]) => b.get(pid) === ticks);
}

/** Waits until every one of so many processes uses CPU time. */
async function allBusy(token: string, processes: number): Promise<void> {
  const before = cpuTicks(token);
  await waitFor(`${processes} processes are busy`, () => {
    const now = cpuTicks(token);
    return now.size === processes && [...now].every(([pid, ticks]) => ticks > (before.get(pid) ?? 0));
  });
}

for (const { tier, skip } of tiers) {
  test(`a paused tree of busy processes burns no CPU, and goes on (tier ${tier})`, { skip }, async (t) => {
    const { client } = await startDaemon(t, { tier });
    const token = sleepToken();
    const busy = `'while :; do :; done' ${token}`;
    const { id } = await client.submit({
      shell: `setsid sh -c ${busy} & (setsid env -i sh -c ${busy} &); exec sh -c ${busy}`,
      killGraceMs: null,
    });
    await allBusy(token, 3);
    const { pid } = await client.get(id);
    assert.ok(pid !== null);
    process.kill(pid, 'SIGSTOP');
    const without = cpuTicks(token);
    await waitFor('control: to stop the leader leaves the others busy', () => {
      const now = cpuTicks(token);
      return [...without].filter(([one, ticks]) => (now.get(one) ?? 0) > ticks + 1).length === 2;
    });
    process.kill(pid, 'SIGCONT');

    assert.deepEqual(await client.pause(id), { requested: 1, done: 1, failed: 0, errors: [] });
    await standsStill(token);
    const paused = await client.get(id);
    assert.deepEqual([paused.status, paused.paused], ['running', true]);
    assert.equal(pidsWith(token).length, 3);

    await client.resume(id);
    assert.equal((await client.get(id)).paused, false);
    await allBusy(token, 3);
  });

  test(`a paused job goes on where it was, and its max runtime stands still meanwhile (tier ${tier})`, {
    skip,
  }, async (t) => {
    const { client } = await startDaemon(t, { tier, parallel: 2 });
    const { id } = await client.submit({ shell: 'for i in $(seq 100); do echo $i; sleep 0.01; done' });
    const limited = await client.submit({ command: ['sleep', '60'], maxRuntimeMs: 1_000 });
    const written = async () => (await client.get(id)).outputBytes;
    await waitFor('both are on their way', async () => {
      const { status } = await client.get(limited.id);
      return status === 'running' && (await written()) > 4;
    });
    const pausedAtMs = performance.now();
    assert.equal((await client.pause([id, limited.id])).done, 2);
    await delay(watchMs);
    const before = await written();
    await delay(2_000 - watchMs);
    assert.equal(await written(), before);
    assert.equal((await client.get(limited.id)).status, 'running');
    const pausedMs = performance.now() - pausedAtMs;
    await client.resume([id, limited.id]);
    const [job, ended] = await client.wait([id, limited.id], { timeoutMs: 20_000 });

    assert.equal(job?.status, 'completed');
    const pieces: Buffer[] = [];
    for await (const piece of client.logs(id)) pieces.push(piece);
    const all = Array.from({ length: 100 }, (_, index) => `${index + 1}\n`).join('');
    assert.equal(Buffer.concat(pieces).toString(), all, 'nothing is missing, nothing is there twice');
    const kinds = [];
    for await (const event of client.events({ jobId: id })) kinds.push(event.kind);
    assert.deepEqual(
      kinds.filter((kind) => kind !== 'transition'),
      ['paused', 'resumed'],
    );

    assert.equal(ended?.cause, 'max-runtime');
    const tookMs = Date.parse(ended?.finishedAt ?? '') - Date.parse(ended?.startedAt ?? '');
    t.diagnostic(`max runtime of 1000 ms: ran for ${Math.round(tookMs - pausedMs)} ms beside the pause`);
    assert.ok(tookMs - pausedMs > 950 && tookMs - pausedMs < 2_500, `${tookMs} ms, paused ${pausedMs} ms`);
  });

  test(`a tree that forks all the time is frozen as a whole (tier ${tier})`, { skip }, async (t) => {
    const { client } = await startDaemon(t, { tier });
    const token = sleepToken();
    const { id } = await client.submit({ command: [forkChain, token, '1000000'], killGraceMs: null });
    await waitFor('it is on its way', () => pidsWith(token).length >= 2);
    await client.pause(id);
    await standsStill(token);
    await client.resume(id);
    const before = pidsWith(token);
    await waitFor('it goes on', () => pidsWith(token).some((pid) => !before.includes(pid)));
    await client.pause(id);
    await client.cancel(id);
    await client.wait(id, { timeoutMs: 20_000 });
    assert.deepEqual(pidsWith(token), []);
  });

  test(`a paused job acts on SIGTERM when it is cancelled or the daemon stops, and dies of SIGKILL (tier ${tier})`, {
    skip,
  }, async (t) => {
    const { daemon, client } = await startDaemon(t, { tier, parallel: 3 });
    const shell = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.02; done";
    const ids = (await client.submitBatch([{ shell }, { shell }, { shell }], { killGraceMs: 10_000 })).map(
      ({ id }) => id,
    );
    const [cancelled = 0, killed = 0, shut = 0] = ids;
    for (const id of ids) await waitFor('it is up', async () => (await client.get(id)).outputBytes === 3);
    assert.equal((await client.pause(ids)).done, 3);

    await client.cancel(cancelled);
    await client.cancel(killed, { mode: 'kill' });
    const [polite, hard] = await client.wait([cancelled, killed], { timeoutMs: 5_000 });
    assert.equal(polite?.status, 'cancelled');
    assert.match(fs.readFileSync(polite?.outputFiles[0] ?? '', 'utf8'), /bye\n$/);
    assert.deepEqual([hard?.status, hard?.signal], ['cancelled', 'SIGKILL']);

    const { outputFiles } = await client.get(shut);
    const beginMs = performance.now();
    await daemon.signal('SIGTERM');
    assert.ok(performance.now() - beginMs < 4_000, 'it did not need its grace');
    assert.match(fs.readFileSync(outputFiles[0] ?? '', 'utf8'), /bye\n$/);
  });

  test(`what a job stops itself is not paused, and stays stopped when the job goes on (tier ${tier})`, {
    skip,
  }, async (t) => {
    const { client } = await startDaemon(t, { tier });
    const token = sleepToken();
    const { id } = await client.submit({
      shell: `sh -c 'kill -STOP $$; exec sleep 0' ${token} & sh -c 'while :; do sleep 0.05; done' ${token}; :`,
      killGraceMs: null,
    });
    const isStopped = () => pidsWith(token).filter((pid) => stateOf(pid) === 'T').length;
    await waitFor('one of its processes has stopped itself', () => isStopped() === 1 && pidsWith(token).length === 3);
    assert.equal((await client.get(id)).paused, false);
    await client.pause(id);
    await client.resume(id);
    await delay(watchMs);
    assert.equal(isStopped(), 1, 'it stands still, and it alone');
    await client.signal(id, 'SIGSTOP');
    assert.equal((await client.get(id)).paused, false);
  });

  test(`SIGCONT does not have a paused job go on (tier ${tier})`, { skip }, async (t) => {
    const { client } = await startDaemon(t, { tier });
    const token = sleepToken();
    const { id } = await client.submit({ command: ['sh', '-c', 'while :; do :; done', token], killGraceMs: null });
    await allBusy(token, 1);
    await client.pause(id);
    assert.equal((await client.signal(id, 'SIGCONT')).done, 1);
    await standsStill(token);
    await client.resume(id);
    await allBusy(token, 1);
  });

  test(`group pause freezes what runs of a group, group resume has it go on, and nothing else (tier ${tier})`, {
    skip,
  }, async (t) => {
    const { client } = await startDaemon(t, { tier });
    await client.addGroup('a', { parallel: 3 });
    const busy = (token: string) => ({ command: ['sh', '-c', 'while :; do :; done', token], killGraceMs: null });
    const [first, second, alone, elsewhere] = [sleepToken(), sleepToken(), sleepToken(), sleepToken()];
    const tokens = [first, second, alone];
    const ids = (await client.submitBatch(tokens.map(busy), { group: 'a' })).map(({ id }) => id);
    await client.submit(busy(elsewhere));
    for (const token of [...tokens, elsewhere]) await allBusy(token, 1);
    await client.pause(ids[2] ?? 0);

    assert.equal((await client.pauseGroup('a')).report.requested, 3, 'the one that is paused already, too');
    for (const token of tokens) await standsStill(token);
    await allBusy(elsewhere, 1);
    const waits = await client.submit({ command: ['true'], group: 'a', priority: 9 });

    const { group, report } = await client.resumeGroup('a');
    assert.deepEqual([group.paused, report.requested], [false, 2]);
    for (const token of [first, second]) await allBusy(token, 1);
    await standsStill(alone);
    assert.deepEqual(await Promise.all(ids.map(async (id) => (await client.get(id)).paused)), [false, false, true]);
    assert.equal((await client.get(waits.id)).status, 'queued', 'each has kept its slot');
    await client.cancel(ids[0] ?? 0, { mode: 'kill' });
    const [job] = await client.wait(waits.id, { timeoutMs: 10_000 });
    assert.equal(job?.status, 'completed', 'the group starts jobs again');
  });

  test(`a job that its group froze, that is killed and run again, starts in the group that it is moved to (tier ${tier})`, {
    skip,
  }, async (t) => {
    const { client } = await startDaemon(t, { tier });
    await client.addGroup('a', { parallel: 1 });
    const token = sleepToken();
    const { id } = await client.submit({
      command: ['sleep', token],
      group: 'a',
      retry: { limit: 1, delayMs: 10, causes: ['signal'] },
    });
    await waitFor('it runs', () => pidsWith(`sleep\0${token}`).length === 1);
    await client.pauseGroup('a');
    const [pid = 0] = pidsWith(`sleep\0${token}`);
    process.kill(pid, 'SIGKILL');
    const waitsForGroup = async () => (await client.get(id)).waitingFor?.startsWith('Group "a" is paused.') === true;
    await waitFor('it is back in its queue, and only its group keeps it', waitsForGroup);
    await client.move(id, 'default');
    await waitFor('it runs again', async () => (await client.get(id)).status === 'running');
    assert.equal((await client.get(id)).paused, false);
  });

  test(`a group stays paused when its daemon is killed, and what it froze is run again only when it goes on (tier ${tier})`, {
    skip,
  }, async (t) => {
    const { daemon, client } = await startDaemon(t, { tier, parallel: 0 });
    await client.addGroup('a', { parallel: 1 });
    const token = sleepToken();
    const { id } = await client.submit({
      shell: `if [ $CORRAL_ATTEMPT = 1 ]; then exec sleep ${token}; fi`,
      group: 'a',
      onSupervisorLost: 'retry',
    });
    await waitFor('it runs', () => pidsWith(`sleep\0${token}`).length === 1);
    assert.equal((await client.pauseGroup('a')).report.done, 1);
    const startDeadlineMs = 1_000;
    const waits = await client.submit({ command: ['true'], group: 'a', startDeadlineMs });
    const control = await client.submit({ command: ['true'], startDeadlineMs });
    await daemon.kill();
    await delay(startDeadlineMs);
    await daemon.start();
    const again = await daemon.client();
    assert.deepEqual(pidsWith(`sleep\0${token}`), []);
    const [failed] = await again.wait(control.id, { timeoutMs: 10_000 });
    assert.equal(failed?.cause, 'start-deadline', 'control: in a group that is not paused');
    await delay(startDeadlineMs);
    const both = await Promise.all([id, waits.id].map(async (one) => await again.get(one)));
    assert.deepEqual(
      both.map(({ status, attempt }) => [status, attempt]),
      [
        ['queued', 1],
        ['queued', 0],
      ],
    );
    assert.equal((await again.groups()).find(({ name }) => name === 'a')?.paused, true);
    await again.resumeGroup('a');
    const jobs = await again.wait([id, waits.id], { timeoutMs: 10_000 });
    assert.deepEqual(
      jobs.map(({ status, attempt }) => [status, attempt]),
      [
        ['completed', 2],
        ['completed', 1],
      ],
    );
  });
}

function stateOf(pid: number): string | undefined {
  return fs.readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.[0];
}

test('a job that waits and is paused does not start, not by a new daemon either, until it is resumed', async (t) => {
  const { daemon, client } = await startDaemon(t, { parallel: 0 });
  const [held, other] = await client.submitBatch([{ command: ['true'] }, { command: ['true'] }]);
  assert.ok(held !== undefined && other !== undefined);
  await client.pause(held.id);
  await daemon.kill();
  await daemon.start();
  const again = await daemon.client();
  await again.setGroup('default', { parallel: 1 });
  await again.wait(other.id, { timeoutMs: 10_000 });
  const waiting = await again.get(held.id);
  assert.deepEqual([waiting.status, waiting.paused], ['queued', true]);
  await again.resume(held.id);
  const [job] = await again.wait(held.id, { timeoutMs: 10_000 });
  assert.deepEqual([job?.status, job?.paused], ['completed', false]);
});

test('group pause and resume say how many running jobs they paused and resumed, and ls, show and events tell of it', async (t) => {
  const cli = new CommandLine(t);
  await cli.run(['daemon', 'start']);
  const client = await cli.daemon.client();
  await client.setGroup('default', { parallel: 1 });
  await client.submitBatch([{ command: ['sleep', '60'] }, { command: ['true'] }]);
  await waitFor('it runs', async () => (await client.get(1)).status === 'running');
  assert.deepEqual(await cli.run(['group', 'pause', 'default']), {
    code: 0,
    stdout: '',
    stderr: 'corral: group default starts nothing more; 1 running job paused\n',
  });
  assert.match((await cli.run(['ls'])).stdout, /^1 +running +paused /m);
  assert.match((await cli.run(['show', '1'])).stdout, /^status +running \(paused\)$/m);
  assert.match((await cli.run(['events', '-j', '1'])).stdout, /job 1 {2}paused$/m);
  await client.cancel(1);
  await client.wait(1, { timeoutMs: 10_000 });
  assert.equal((await client.get(2)).status, 'queued', 'nothing is started');
  const { group, report } = JSON.parse((await cli.run(['group', 'resume', 'default', '--json'])).stdout);
  assert.deepEqual([group.paused, report.requested], [false, 0]);
  await client.wait(2, { timeoutMs: 10_000 });
  await assert.rejects(client.pauseGroup('nope'), /There is no group "nope"/);
});

test('group pause --let-run lets what runs go on to its end, and starts nothing until the group goes on', async (t) => {
  const cli = new CommandLine(t);
  await cli.run(['daemon', 'start']);
  const client = await cli.daemon.client();
  await client.setGroup('default', { parallel: 1 });
  const token = sleepToken();
  const go = `${cli.daemon.dir}/go`;
  const { id } = await client.submit({ command: ['sh', '-c', `while [ ! -e ${go} ]; do :; done`, token] });
  await allBusy(token, 1);
  assert.deepEqual(await cli.run(['group', 'pause', 'default', '--let-run']), {
    code: 0,
    stdout: '',
    stderr: 'corral: group default starts nothing more\n',
  });
  await allBusy(token, 1);
  assert.equal((await client.get(id)).paused, false);
  const late = await cli.run(['submit', '--start-deadline', '300ms', '--', 'true']);
  fs.writeFileSync(go, '');
  const [job] = await client.wait(id, { timeoutMs: 10_000 });
  assert.equal(job?.status, 'completed');
  await delay(400);
  const waits = await client.get(Number(late.stdout));
  assert.deepEqual([waits.status, waits.waitingFor?.slice(0, 26)], ['queued', 'Group "default" is paused.']);
  assert.equal(
    (await cli.run(['group', 'resume', 'default'])).stderr,
    'corral: group default starts jobs again; 0 running jobs resumed\n',
  );
  const [ended] = await client.wait(waits.id, { timeoutMs: 10_000 });
  assert.equal(ended?.status, 'completed');
});

test('a job in a paused group does not run out of time to start; it has what is left when the group goes on', async (t) => {
  const { client } = await startDaemon(t, { parallel: 0 });
  const startDeadlineMs = 1_000;
  const { id } = await client.submit({ command: ['true'], startDeadlineMs });
  await client.pauseGroup('default');
  const later = await client.submit({ command: ['true'], startDeadlineMs });
  await delay(startDeadlineMs + 300);
  for (const one of [id, later.id]) assert.equal((await client.get(one)).status, 'queued');
  const resumedAtMs = Date.now();
  await client.resumeGroup('default');
  const jobs = await client.wait([id, later.id], { timeoutMs: 10_000 });
  const tookMs = jobs.map(({ cause, finishedAt }) => [cause, Date.parse(finishedAt ?? '') - resumedAtMs] as const);
  t.diagnostic(`${startDeadlineMs} ms to start: ${tookMs.map(([, ms]) => ms).join(' and ')} ms after the pause`);
  const [[first, firstMs], [second, secondMs]] = tookMs as [[string, number], [string, number]];
  assert.deepEqual([first, second], ['start-deadline', 'start-deadline']);
  assert.ok(
    firstMs <= secondMs && secondMs >= startDeadlineMs - 10 && secondMs < 5_000,
    `${firstMs} and ${secondMs} ms`,
  );
});
