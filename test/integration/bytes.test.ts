/** Arguments, variables, paths and output are bytes. What a job gets, and what it prints, is what it was given. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { bytesFromText, textFromBytes } from '../../src/protocol/index.ts';
import { CommandLine, corral } from '../support/cli.ts';
import { startDaemon } from '../support/daemon.ts';

const entry = fileURLToPath(new URL('../../src/client/cli/entry.ts', import.meta.url));

const allBytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index));

/** Runs a line of shell, which can write bytes that a string of Node's cannot hold. `$corral` is the program. */
async function shell(cli: CommandLine, script: string): Promise<{ code: number; stdout: Buffer; stderr: string }> {
  const child = spawn('/bin/sh', ['-c', script], { env: { ...cli.daemon.env, corral }, cwd: cli.daemon.dir });
  const stdout: Buffer[] = [];
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const [code] = await once(child, 'close');
  return { code, stdout: Buffer.concat(stdout), stderr };
}

test('all 256 bytes of output come through run and logs as they were written', async (t) => {
  const cli = new CommandLine(t);
  const file = `${cli.daemon.dir}/all`;
  // Cut in the middle of a character, and without a newline at the end.
  const written = Buffer.concat([allBytes, Buffer.from('é🐎\n'), allBytes, Buffer.from([0xf0, 0x9f])]);
  fs.writeFileSync(file, written);
  assert.deepEqual((await shell(cli, '"$corral" run cat all')).stdout, written);
  assert.deepEqual((await shell(cli, '"$corral" logs 1')).stdout, written);
  assert.deepEqual((await shell(cli, '"$corral" logs -f 1')).stdout, written);
  const lastLine = written.subarray(written.lastIndexOf(0x0a) + 1);
  assert.deepEqual((await shell(cli, '"$corral" logs -n 1 1')).stdout, lastLine);
  const split = await shell(cli, '"$corral" run --split-output -c "cat all; cat all >&2" 2>/dev/null');
  assert.deepEqual(split.stdout, written);
});

test('the command line passes bytes that are not UTF-8 to the job: arguments, environment, folder, input, program', async (t) => {
  const cli = new CommandLine(t, { CORRAL_LAUNCHER: 'posix_spawn' });
  const { code, stdout, stderr } = await shell(
    cli,
    `b=$(printf '\\351\\377'); mkdir "dir$b" && cd "dir$b" || exit
     printf input >"in$b"
     printf '#!/bin/sh\\ntr "\\\\0" "\\\\n" </proc/$$/cmdline; pwd; tr "\\\\0" "\\\\n" </proc/$$/environ; cat\\n' >"prog$b"
     chmod +x "prog$b"
     env "PLAIN=v$b" "GOOD=é" "$corral" run --stdin "in$b" -e "E=$b" -- "./prog$b" "arg$b" é "$b" plain`,
  );
  assert.equal(code, 0, stderr);
  const lines = stdout.toString('latin1').split('\n');
  const latin1 = (text: string) => Buffer.from(text).toString('latin1');
  const folder = `${fs.realpathSync(cli.daemon.dir)}/dir\xe9\xff`;
  // Of a script the kernel passes on the path, not the name that it was called by. execve(2)
  const script = `${folder}/./prog\xe9\xff`;
  assert.deepEqual(lines.slice(0, 6), ['/bin/sh', script, 'arg\xe9\xff', latin1('é'), '\xe9\xff', 'plain']);
  assert.equal(lines[6], folder);
  for (const variable of ['PLAIN=v\xe9\xff', latin1('GOOD=é'), 'E=\xe9\xff'])
    assert.ok(lines.includes(variable), variable);
  assert.equal(lines.at(-1), 'input');
  assert.ok(!stdout.includes('\ufffd'), 'nothing was replaced');

  const show = await shell(cli, '"$corral" show 1; "$corral" ls');
  assert.match(String(show.stdout), /command +\$'\.\/prog\\xe9\\xff' \$'arg\\xe9\\xff' 'é' \$'\\xe9\\xff' plain\n/);
  assert.match(String(show.stdout), /folder .*dir\\xe9\\xff\n/);
  const json = await shell(cli, '"$corral" show 1 --json');
  assert.ok(json.stdout.includes('"arg\\udce9\\udcff"'), String(json.stdout));
  assert.equal(JSON.parse(String(json.stdout)).command[0], './prog\udce9\udcff');

  const missing = await shell(
    cli,
    '"$corral" run -- "$(printf "./no\\377")"; "$corral" run -C "$(printf "/no\\377")" true',
  );
  assert.match(missing.stderr, /\.\/no\\xff: no such file\n.*cannot start in \/no\\xff: there is no such folder/);
  const noInput = await shell(cli, '"$corral" run --stdin "$(printf "no\\377")" true');
  assert.deepEqual([noInput.code, /--stdin no\\xff: there is no such file/.test(noInput.stderr)], [2, true]);
});

test('a variable whose name is not UTF-8 reaches the job, where no shell stands before the command line', async (t) => {
  const cli = new CommandLine(t, { CORRAL_LAUNCHER: 'posix_spawn' });
  // dash hands on only what could be a variable of its own, so bin/corral itself loses such a name.
  const direct = `'${process.execPath}' --disable-warning=ExperimentalWarning '${entry}'`;
  const name = '$(printf "NAME\\351")';
  const { stdout } = await shell(
    cli,
    `env "${name}=x" "${name}2=$(printf '\\377')" ${direct} run cat /proc/self/environ`,
  );
  const variables = stdout.toString('latin1').split('\0');
  assert.deepEqual(variables.filter((variable) => variable.startsWith('NAME')).sort(), [
    'NAME\xe92=\xff',
    'NAME\xe9=x',
  ]);
});

test('the library takes and gives them as lone surrogates, and they survive a restart', async (t) => {
  const { daemon, client } = await startDaemon(t, { env: { CORRAL_LAUNCHER: 'posix_spawn' } });
  const all = textFromBytes(allBytes.subarray(1));
  await client.setGroup('default', { parallel: 0 });
  const { id } = await client.submit({
    command: ['printf', '%s', all, all],
    env: { PATH: '/usr/bin:/bin', [`N${all.replace('=', '')}`]: all },
  });
  await daemon.kill();
  await daemon.start();
  assert.deepEqual((await client.get(id)).command, ['printf', '%s', all, all]);
  await client.setGroup('default', { parallel: 1 });
  await client.wait(id);
  const pieces: Buffer[] = [];
  for await (const piece of client.logs(id)) pieces.push(piece);
  assert.deepEqual(Buffer.concat(pieces), Buffer.concat([bytesFromText(all), bytesFromText(all)]));
  await assert.rejects(client.submit({ command: ['true', '\ud800'] }), /half of a surrogate pair/);
  await assert.rejects(client.submit({ command: ['true', '\udcc3\udca9'] }), /valid UTF-8; write the characters/);
});

test('the launcher that cannot pass them on says so', async (t) => {
  const { client } = await startDaemon(t, { env: { CORRAL_LAUNCHER: 'execa' } });
  const { id } = await client.submit({ command: ['echo', '\udcff'] });
  const [job] = await client.wait(id);
  assert.deepEqual([job?.cause, job?.exitCode], ['spawn-error', 126]);
  assert.match(
    job?.message ?? '',
    /bytes that are not UTF-8, which the launcher execa cannot pass on; use posix_spawn/,
  );
});
