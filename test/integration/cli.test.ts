import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { CommandLine, corral, outcomeOf } from '../support/cli.ts';
import { isAlive, pidsWith, sleepToken } from '../support/processes.ts';
import { waitFor } from '../support/wait-for.ts';

test('the first command starts a daemon by itself, runs the job, prints its output and exits with its code', async (t) => {
  const cli = new CommandLine(t);
  const first = await cli.run(['run', '--', 'sh', '-c', 'echo hello from $CORRAL_JOB_ID; exit 3']);
  assert.deepEqual(first, { code: 3, stdout: 'hello from 1\n', stderr: '' });
  const second = await cli.run(['run', 'echo', 'again']);
  assert.deepEqual(second, { code: 0, stdout: 'again\n', stderr: '' });
});

const endings: { name: string; args: string[]; code: number; stderr: RegExp }[] = [
  { name: 'its own exit code', args: ['-c', 'exit 42'], code: 42, stderr: /^$/ },
  { name: '128+n for a signal', args: ['-c', 'kill -USR1 $$'], code: 138, stderr: /was ended by SIGUSR1/ },
  {
    name: '124 for max runtime',
    args: ['--max-runtime', '100ms', '--', 'sleep', '60'],
    code: 124,
    stderr: /ran for its limit of 100ms/,
  },
  {
    name: '127 for a program that is not there',
    args: ['--', 'no-such-program'],
    code: 127,
    stderr: /no-such-program: command not found in PATH=/,
  },
  {
    name: '126 for a file that is no program',
    args: ['--', '/etc/passwd'],
    code: 126,
    stderr: /not executable \(chmod \+x it\)/,
  },
  {
    name: '126 for a folder that has gone',
    args: ['-C', '/no/such/folder', '--', 'true'],
    code: 126,
    stderr: /cannot start in \/no\/such\/folder/,
  },
  { name: '0 for a success code of the job', args: ['--success-codes', '0,3', '-c', 'exit 3'], code: 0, stderr: /^$/ },
  {
    name: '0, with a word on strays',
    args: ['-c', 'sleep 60 & exit 0'],
    code: 0,
    stderr: /left 1 more behind; .* ended too/,
  },
];

test('run exits with the code that says how the job ended', async (t) => {
  const cli = new CommandLine(t);
  await cli.run(['daemon', 'start']);
  for (const { name, args, code, stderr } of endings) {
    const outcome = await cli.run(['run', ...args]);
    assert.equal(outcome.code, code, name);
    assert.match(outcome.stderr, stderr, name);
  }
});

test('a job that somebody else cancels makes run exit with 125', async (t) => {
  const cli = new CommandLine(t);
  const run = cli.spawn(['run', '-c', 'echo up; exec sleep 60']);
  const outcome = outcomeOf(run);
  await once(run.stdout ?? run, 'data');
  assert.equal((await cli.run(['cancel', '1', '--wait'])).code, 0);
  const { code, stderr } = await outcome;
  assert.deepEqual([code, stderr], [125, 'corral: job 1 was cancelled\n']);
});

test('Ctrl-C cancels gracefully and exits with 130; a second one kills', async (t) => {
  const cli = new CommandLine(t);
  const polite = cli.spawn(['run', '-c', "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.05; done"]);
  const politeOutcome = outcomeOf(polite);
  await once(polite.stdout ?? polite, 'data');
  polite.kill('SIGINT');
  const { code, stdout } = await politeOutcome;
  assert.equal(code, 130);
  assert.match(stdout, /bye\n$/);

  const token = sleepToken();
  const deaf = cli.spawn(['run', '--kill-grace', '1h', '-c', `trap '' TERM; echo up; sleep ${token}`]);
  const deafOutcome = outcomeOf(deaf);
  await once(deaf.stdout ?? deaf, 'data');
  deaf.kill('SIGINT');
  await once(deaf.stderr ?? deaf, 'data');
  deaf.kill('SIGINT');
  assert.equal((await deafOutcome).code, 130);
  assert.deepEqual(pidsWith(token), []);
});

test('run with --split-output keeps the streams apart; without, both come in order', async (t) => {
  const cli = new CommandLine(t);
  const line = 'echo one; echo two >&2; echo three';
  assert.deepEqual(await cli.run(['run', '--split-output', '-c', line]), {
    code: 0,
    stdout: 'one\nthree\n',
    stderr: 'two\n',
  });
  assert.deepEqual(await cli.run(['run', '-c', line]), { code: 0, stdout: 'one\ntwo\nthree\n', stderr: '' });
  assert.equal((await cli.run(['logs', '--stderr', '1'])).stdout, 'two\n');
});

test('a job gets the folder, the environment and the input of its caller', async (t) => {
  const cli = new CommandLine(t);
  fs.mkdirSync(`${cli.daemon.dir}/here`);
  fs.writeFileSync(`${cli.daemon.dir}/here/in`, 'some input\n');
  const outcome = await cli.run(
    ['run', '--stdin', 'in', '-e', 'EXTRA=x y', '-c', 'pwd; echo $FROM_CALLER $EXTRA; cat'],
    {
      cwd: `${cli.daemon.dir}/here`,
      env: { FROM_CALLER: 'yes' },
    },
  );
  assert.equal(outcome.stdout, `${cli.daemon.dir}/here\nyes x y\nsome input\n`);
  assert.equal((await cli.run(['run', '-c', 'wc -c'])).stdout.trim(), '0', 'standard input is /dev/null');
});

test('submit, ls, show, logs, wait and rm tell one story', async (t) => {
  const cli = new CommandLine(t);
  assert.equal((await cli.run(['submit', '--name', 'first', '-c', 'seq 10; exit 4'])).stdout, '1\n');
  assert.equal((await cli.run(['wait', '1', '--timeout', '10s'])).code, 4);
  const listed = JSON.parse((await cli.run(['ls', '--json'])).stdout);
  const shown = JSON.parse((await cli.run(['show', '1', '--json'])).stdout);
  assert.deepEqual(listed, [shown]);
  const keys =
    'id name group profile command cwd priority status cause exitCode signal attempt attempts strays pid submittedAt startedAt finishedAt cpuMs peakRssBytes outputBytes limits containment';
  for (const key of keys.split(' ')) assert.ok(key in shown, `${key} is in the job's JSON`);
  assert.deepEqual(
    [shown.name, shown.status, shown.cause, shown.exitCode, shown.outputBytes],
    ['first', 'failed', 'exit', 4, 21],
  );
  assert.match((await cli.run(['ls'])).stdout, /^ID +STATUS.*\n1 +failed +exit 4 .* first +seq 10; exit 4\n$/);
  assert.match((await cli.run(['show', '1'])).stdout, /^status +failed$/m);
  assert.equal((await cli.run(['ls', '-q'])).stdout, '1\n');
  assert.equal((await cli.run(['logs', '-n', '2', '1'])).stdout, '9\n10\n');
  assert.equal((await cli.run(['logs', '-n', '0', '1'])).stdout, '');
  assert.equal((await cli.run(['rm', '1'])).code, 0);
  assert.deepEqual(await cli.run(['show', '1']), {
    code: 1,
    stdout: '',
    stderr: 'corral: There is no job 1. List the known ones: corral ls --all\n',
  });
  assert.equal(fs.existsSync(shown.outputFiles[0]), false, 'the output is deleted with the record');
});

test('submit --batch takes NDJSON in one commit, or refuses all of it by line', async (t) => {
  const cli = new CommandLine(t);
  const good = '{"command":["true"],"name":"a"}\n\n{"shell":"exit 3","priority":2}\n';
  assert.deepEqual(await cli.run(['submit', '--batch'], { input: good }), { code: 0, stdout: '1\n2\n', stderr: '' });
  assert.equal((await cli.run(['wait', '1..2'])).code, 3);
  const bad: [string, RegExp][] = [
    ['{"command":["true"]}\nnonsense\n', /Line 2 is not JSON/],
    ['{"command":["true"]}\n{"name":"x"}\n', /Line 2 must name one of command and shell/],
    ['{"command":["true"]}\n{"command":[]}\n', /Line 2: command: must have at least 1 entry\. Nothing/],
    ['{"command":["true"],"retrys":1}\n', /Line 1: has no member "retrys"/],
    ['{"command":["true"],"colour":"red"}\n', /colour/],
  ];
  for (const [input, message] of bad) {
    const { code, stderr } = await cli.run(['submit', '--batch'], { input });
    assert.equal(code, 2);
    assert.match(stderr, message);
  }
  assert.equal((await cli.run(['ls', '-q'])).stdout, '1\n2\n', 'nothing of a refused batch is there');
});

test('logs -f of a queued job shows its output once it runs, and ends with it', async (t) => {
  const cli = new CommandLine(t);
  await cli.run(['group', 'set', 'default', '--parallel', '0']);
  await cli.run(['submit', '-c', 'echo one; sleep 0.2; echo two']);
  const following = cli.run(['logs', '-f', '1']);
  await cli.run(['group', 'set', 'default', '--parallel', '1']);
  assert.equal((await following).stdout, 'one\ntwo\n');
});

test('kill -s sends a signal; cancel, kill and rm report on each job that they could not serve', async (t) => {
  const cli = new CommandLine(t);
  await cli.run(['submit', '-c', "trap 'echo got it; exit 9' USR1; echo up; while :; do sleep 0.05; done"]);
  await waitFor('the job is up', async () => (await cli.run(['logs', '1'])).stdout === 'up\n');
  const refused = await cli.run(['rm', '1..2', '--json']);
  assert.equal(refused.code, 1);
  assert.deepEqual(
    JSON.parse(refused.stdout).errors.map(({ jobId, code }: { jobId: number; code: string }) => [jobId, code]),
    [
      [1, 'JOB_RUNNING'],
      [2, 'JOB_NOT_FOUND'],
    ],
  );
  assert.equal((await cli.run(['kill', '-s', 'usr1', '1'])).code, 0);
  assert.equal((await cli.run(['wait', '1'])).code, 9);
  assert.match((await cli.run(['logs', '1'])).stdout, /got it\n$/);
  assert.match((await cli.run(['kill', '1'])).stderr, /Job 1 is failed; only a running job can be signalled/);
});

test('queue full is exit code 75, a wait that is over 124, a bad command line 2', async (t) => {
  const cli = new CommandLine(t);
  await cli.run(['group', 'set', 'default', '--parallel', '0', '--max-queued', '1']);
  await cli.run(['submit', 'true']);
  const full = await cli.run(['submit', 'true']);
  assert.deepEqual([full.code, full.stdout], [75, '']);
  assert.match(full.stderr, /has 1 of at most 1 queued jobs.*corral group set default --max-queued N/);
  assert.equal((await cli.run(['wait', '1', '--timeout', '50ms'])).code, 124);
  for (const args of [
    ['nonsense'],
    ['submit'],
    ['show', 'x'],
    ['wait', '9..3'],
    ['run', '--max-runtime', 'soon', 'true'],
    ['ls', '--status', 'happy'],
    ['group', 'set', 'default'],
  ]) {
    const { code, stdout, stderr } = await cli.run(args);
    assert.deepEqual([code, stdout], [2, ''], args.join(' '));
    assert.doesNotMatch(stderr, /\n\s+at /, 'no stack trace');
  }
  assert.match(
    (await cli.run(['group', 'set', 'nosuch', '--parallel', '1'])).stderr,
    /There is no group "nosuch"\. Make it: corral group add nosuch; there is: default/,
  );
});

test('daemon start, status and stop', async (t) => {
  const cli = new CommandLine(t);
  assert.deepEqual(await cli.run(['daemon', 'status']), {
    code: 3,
    stdout: '',
    stderr: `corral: No corral daemon answers on ${cli.daemon.socket}. Start one: corral daemon start\n`,
  });
  assert.equal((await cli.run(['daemon', 'start'])).code, 0);
  assert.match((await cli.run(['daemon', 'start'])).stderr, /already serves/);
  const status = JSON.parse((await cli.run(['daemon', 'status', '--json'])).stdout);
  assert.equal(status.socket, cli.daemon.socket);
  assert.equal(status.stateDir, cli.daemon.stateDir);
  assert.ok(isAlive(status.pid) && isAlive(status.guardianPid));
  assert.ok(['cgroup', 'scan'].includes(status.containment.tier));
  assert.ok(Array.isArray(status.containment.holes));
  assert.equal((await cli.run(['daemon', 'stop'])).code, 0);
  assert.equal(isAlive(status.pid), false, 'stop returns when the daemon is gone');
  assert.equal((await cli.run(['daemon', 'start'])).code, 0, 'and another can start at once');
});

test('a daemon that is started from a shell keeps none of its open files, and hands none to jobs', async (t) => {
  const cli = new CommandLine(t);
  const { stdout } = await promisify(execFile)(
    '/bin/bash',
    ['-c', `exec 63>kept 200>kept; ${corral} run -c 'ls -l /proc/self/fd'`],
    {
      env: cli.daemon.env,
      cwd: cli.daemon.dir,
    },
  );
  assert.doesNotMatch(stdout, /kept/);
  const { pid } = JSON.parse((await cli.run(['daemon', 'status', '--json'])).stdout);
  const links = fs.readdirSync(`/proc/${pid}/fd`).map((fd) => fs.readlinkSync(`/proc/${pid}/fd/${fd}`));
  assert.equal(
    links.some((link) => link.endsWith('/kept')),
    false,
  );
});

test('an explicit socket never starts a daemon', async (t) => {
  const cli = new CommandLine(t);
  const outcome = await cli.run(['ls'], { env: { CORRAL_SOCKET: `${cli.daemon.dir}/other.sock` } });
  assert.equal(outcome.code, 3);
  assert.equal(fs.existsSync(`${cli.daemon.stateDir}/corral.db`), false);
});

test('daemon run stays in the foreground, under the pid that was started, and stops on SIGTERM', async (t) => {
  const cli = new CommandLine(t);
  const child = cli.spawn(['daemon', 'run']);
  const outcome = outcomeOf(child);
  await waitFor('it answers', async () => (await cli.run(['daemon', 'status'])).code === 0);
  assert.equal(JSON.parse((await cli.run(['daemon', 'status', '--json'])).stdout).pid, child.pid);
  child.kill('SIGTERM');
  const { code, stderr } = await outcome;
  assert.equal(code, 0);
  for (const line of stderr.trim().split('\n'))
    assert.ok(JSON.parse(line).timestamp, 'off a terminal the log is JSON lines');
});

test('--help lists the verbs, and that of a verb or of one below it has an example', async (t) => {
  const cli = new CommandLine(t);
  for (const words of [[], ['run'], ['stuck', 'reset']]) {
    const { code, stdout, stderr } = await cli.run([...words, '--help']);
    assert.deepEqual([code, stderr], [0, '']);
    assert.match(stdout, /^Example: /m, words.join(' '));
  }
});

test('what a new user types is understood, or says what was meant', async (t) => {
  const cli = new CommandLine(t);
  const typed: [args: string[], code: number, stdout: RegExp, stderr: RegExp][] = [
    [[], 2, /^$/, /^Usage: corral /],
    [['help'], 0, /^Usage: corral /, /^$/],
    [['help', 'run'], 0, /^Usage: corral run /, /^$/],
    [['help', 'group', 'set'], 0, /^Usage: corral group set /, /^$/],
    [['help', 'grup'], 2, /^$/, /^corral: unknown command 'grup'\n\(Did you mean group\?\)\n\(see corral --help\)\n$/],
    [['help', 'group', 'sett'], 2, /^$/, /^corral: unknown command 'sett'\n\(Did you mean set\?\)\n/],
    [['runn', 'true'], 2, /^$/, /Did you mean run\?/],
    [
      ['cancel'],
      2,
      /^$/,
      /^corral: Say which jobs: ids or ranges, filters such as --group NAME, or --all\. Example: corral cancel/,
    ],
    [
      ['ls', '-g', 'nope'],
      1,
      /^$/,
      /^corral: There is no group "nope"\. Make it: corral group add nope; there is: default\.\n$/,
    ],
    [['ls', '-g', 'default'], 0, /^$/, /no such jobs/],
    [['run', '--stdin', '/dev/stdin', 'cat'], 2, /^$/, /^corral: --stdin \/dev\/stdin: .* Write it to a file first/],
    [['run', '--stdin', '-', 'cat'], 2, /^$/, /Write it to a file first/],
  ];
  for (const [args, code, stdout, stderr] of typed) {
    const outcome = await cli.run(args, { input: 'not read\n' });
    assert.equal(outcome.code, code, args.join(' '));
    assert.match(outcome.stdout, stdout, args.join(' '));
    assert.match(outcome.stderr, stderr, args.join(' '));
  }
});

test('kill takes a signal by any name that kill(1) takes, or its number', async (t) => {
  const cli = new CommandLine(t);
  for (const [index, signal] of ['15', 'term', 'SIGTERM', 'sigterm'].entries()) {
    const id = String(index + 1);
    await cli.run(['submit', '--', 'sleep', '60']);
    await waitFor('it runs', async () => (await cli.run(['ls', '-q', '-s', 'running'])).stdout === `${id}\n`);
    assert.equal((await cli.run(['kill', '-s', signal, id])).code, 0, signal);
    assert.equal((await cli.run(['wait', id])).code, 128 + 15, signal);
  }
  assert.match((await cli.run(['kill', '-s', '99', '1'])).stderr, /Known signals: HUP, INT/);
});
