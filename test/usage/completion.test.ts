/** The Tab key, in the shells themselves. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { CommandLine, corral } from '../support/cli.ts';
import { waitFor } from '../support/wait-for.ts';

const shells = ['bash', 'zsh', 'fish'] as const;

function missing(program: string): string | false {
  return spawnSync(program, ['--version']).error === undefined ? false : `needs ${program}`;
}

/** A daemon with a job that runs (1), one that has ended (2), one that waits (3), and a file to be found. */
async function threeJobs(t: TestContext): Promise<{ cli: CommandLine; env: Record<string, string>; cwd: string }> {
  const cli = new CommandLine(t);
  const cwd = fs.mkdtempSync(`${cli.daemon.dir}/here-`);
  fs.writeFileSync(`${cwd}/some input`, '');
  fs.mkdirSync(`${cwd}/somewhere`);
  await cli.run(['group', 'set', 'default', '--parallel', '1']);
  await cli.run(['submit', '--', 'sleep', '60']);
  await cli.run(['submit', '--', 'true']);
  await cli.run(['cancel', '2']);
  await cli.run(['submit', '-c', 'echo a: b']);
  const env = { ...cli.daemon.env, PATH: `${path.dirname(corral)}:${cli.daemon.env.PATH}`, TERM: 'xterm' };
  return { cli, env, cwd };
}

for (const shell of shells) {
  test(`the script for ${shell} is well formed`, { skip: missing(shell) }, async (t) => {
    const cli = new CommandLine(t);
    const script = (await cli.run(['completion', shell])).stdout;
    const check = (text: string) => {
      fs.writeFileSync(`${cli.daemon.dir}/script`, text);
      return spawnSync(shell, ['-n', `${cli.daemon.dir}/script`], { encoding: 'utf8' });
    };
    assert.deepEqual([check(script).status, check(script).stderr], [0, '']);
    assert.notEqual(check(`${script}\nif then "`).status, 0, 'the check can fail');
  });
}

/** Each line as bash takes it apart; `|` is where words end, the last one is being typed. The rest is in test/unit. */
const bashLines: { line: string; replies: string[] }[] = [
  { line: 'canc', replies: ['cancel'] },
  { line: 'cancel|', replies: ['3', '1'] },
  { line: 'rm|', replies: ['2'] },
  { line: 'show|', replies: ['3', '2', '1'] },
  { line: 'ls|--status|=|run', replies: ['running'] },
  { line: 'ls|--status|=', replies: 'queued starting running stopping completed failed cancelled'.split(' ') },
  { line: 'ls|--group|', replies: ['default'] },
  { line: 'run|--stdin|some', replies: ['some input', 'somewhere'] },
  { line: 'run|-C|some', replies: ['somewhere'] },
  { line: 'run|-e|A|=|b|--|corra', replies: ['corral', 'corrald'] },
  { line: 'run|cat|some', replies: ['some input', 'somewhere'] },
];

test('bash completes verbs, options, values, live and ended jobs, groups, files, and the commands of run', {
  skip: missing('bash'),
}, async (t) => {
  const { env, cwd } = await threeJobs(t);
  const cases = bashLines.map(({ line }) => {
    const words = ['corral', ...line.split('|')];
    const quoted = words.map((word) => `'${word}'`).join(' ');
    return `COMP_WORDS=(${quoted}) COMP_CWORD=${words.length - 1}; _corral; printf '%s\\t' "\${COMPREPLY[@]}"; echo`;
  });
  const script = `source <(corral completion bash)\n${cases.join('\n')}`;
  const output = execFileSync('bash', ['--norc', '-c', script], { env, cwd, encoding: 'utf8' }).split('\n');
  for (const [index, { line, replies }] of bashLines.entries()) {
    const found = (output[index] ?? '').split('\t').filter((reply) => reply !== '');
    const isOrdered = !/stdin|cat/.test(line);
    assert.deepEqual(isOrdered ? found : found.sort(), replies, line);
  }
});

test('fish completes the same, with what each job is', { skip: missing('fish') }, async (t) => {
  const { env, cwd } = await threeJobs(t);
  const complete = (line: string) =>
    execFileSync('fish', ['--no-config', '-c', `corral completion fish | source; complete -C '${line}'`], {
      env,
      cwd,
      encoding: 'utf8',
    });
  assert.equal(complete('corral cancel '), '3\tqueued: echo a: b\n1\trunning: sleep 60\n');
  assert.equal(complete('corral rm '), '2\tcancelled: true\n');
  assert.equal(complete('corral ls --status=ru'), '--status=running\n');
  assert.equal(complete('corral run -C some'), 'somewhere/\tDirectory\n');
  assert.match(complete('corral run -e A=b -- corra'), /^corral\t/m);
});

test('zsh completes in a real terminal, and shows what each job is', { skip: missing('zsh') }, async (t) => {
  const { cli, env, cwd } = await threeJobs(t);
  const rc = 'autoload -U compinit; compinit -u -D; source <(corral completion zsh); PS1="ready> "\n';
  fs.writeFileSync(`${cwd}/.zshrc`, rc);
  const zsh = spawn('script', ['-qec', 'zsh -d -i', '/dev/null'], { env: { ...env, ZDOTDIR: cwd }, cwd });
  t.after(() => zsh.kill('SIGKILL'));
  let screen = '';
  zsh.stdout.on('data', (chunk) => {
    screen += chunk;
  });
  await waitFor('zsh is ready', () => screen.includes('ready> '));
  zsh.stdin.write('corral show \t');
  await waitFor('the jobs are shown', () => screen.includes('3  -- queued: echo a: b'));
  for (const job of ['2  -- cancelled: true', '1  -- running: sleep 60']) assert.ok(screen.includes(job), screen);
  zsh.stdin.write('\u0015corral rm \t\n');
  await waitFor('the one job that can be removed was', async () => (await cli.run(['show', '2'])).code === 1);
  zsh.stdin.end('exit\n');
});

test('without a daemon the Tab key starts none, prints nothing, and completes the rest', async (t) => {
  const cli = new CommandLine(t);
  assert.deepEqual(await cli.run(['__complete', '--', 'cancel', '']), { code: 0, stdout: 'words\n', stderr: '' });
  assert.match((await cli.run(['__complete', '--', 'can'])).stdout, /^words\ncancel\t/);
  assert.equal(fs.existsSync(cli.daemon.stateDir), false);
});
