import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { startDaemon } from '../support/daemon.ts';

const isRoot = process.getuid?.() === 0;
const nobody = 65534;

/** Connects, says hello and prints the first frame that comes back. Run as another user. */
const stranger = `
const socket = require('node:net').connect(process.argv[1]);
socket.write(JSON.stringify({type:'rpc',data:{jsonrpc:'2.0',id:1,method:'hello',params:{protocols:[1]}}}) + '\\f');
socket.on('data', (data) => { console.log(String(data)); socket.destroy(); });
socket.on('error', (error) => console.log(error.code));
`;

async function asUser(uid: number, socket: string): Promise<string> {
  const { stdout } = await promisify(execFile)('/usr/bin/node', ['-e', stranger, socket], { uid, gid: uid });
  return stdout;
}

test('G8: another user cannot open the socket, and is refused by the daemon if the modes are opened', {
  skip: isRoot ? false : 'needs root to become another user',
}, async (t) => {
  const { daemon } = await startDaemon(t);
  assert.match(await asUser(nobody, daemon.socket), /EACCES/);
  fs.chmodSync(daemon.dir, 0o755);
  fs.chmodSync(`${daemon.dir}/run`, 0o755);
  fs.chmodSync(daemon.socket, 0o666);
  assert.match(await asUser(nobody, daemon.socket), /you are uid 65534.*NOT_PERMITTED/s);
  assert.match(await asUser(0, daemon.socket), /"protocol":1/, 'control: the owner is served the same way');
});

test('G8: values of the environment are in no answer and in no log', async (t) => {
  const { daemon, client } = await startDaemon(t);
  const secret = `secret-${Math.random()}`;
  const { id } = await client.submit({ command: ['true'], env: { TOKEN: secret, PATH: daemon.env.PATH ?? '' } });
  await client.wait(id);
  const answers = JSON.stringify([await client.get(id), await client.list(), await client.status()]);
  assert.equal(answers.includes(secret), false);
  assert.equal(daemon.log().includes(secret), false);
  const { id: prints } = await client.submit({
    command: ['printenv', 'TOKEN'],
    env: { TOKEN: secret, PATH: daemon.env.PATH ?? '' },
  });
  await client.wait(prints);
  let output = '';
  for await (const piece of client.logs(prints)) output += piece;
  assert.equal(output, `${secret}\n`, 'control: the job did get it');
});
