import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import { test } from 'node:test';
import { attack } from '../support/hostile-worker.ts';
import { memoryUnderAttack, underAttack } from '../support/under-attack.ts';

test('G9: 1,200 hostile frames (10,000 in test:long): each gets a coded error or a closed connection, and nobody else notices', async (t) => {
  await underAttack(t, { seed: 20_260_522, frames: 400, lanes: 2, pauseMs: 12, large: 10, crowd: 200 });
});

test('G9: hostile frames leave no memory behind', async (t) => {
  await memoryUnderAttack(t, { seed: 20_260_523, frames: 1_000, lanes: 3, pauseMs: 0, large: 10, crowd: 100 });
});

const faulty: { name: string; answer: string | null; says: RegExp }[] = [
  { name: 'fails inside', answer: '{"id":1,"error":{"data":{"code":"INTERNAL"}}}', says: /the code INTERNAL/ },
  { name: 'fails without a code', answer: '{"id":1,"error":{}}', says: /the code undefined/ },
  { name: 'takes anything', answer: '{"id":1,"result":{}}', says: /a result instead of/ },
  { name: 'hangs up', answer: null, says: /closed/ },
];
for (const { name, answer, says } of faulty) {
  test(`control: a server that ${name} is found out`, async (t) => {
    const dir = fs.mkdtempSync(`${os.tmpdir()}/corral-test-`);
    const server = net.createServer((socket) => {
      socket.on('error', () => {}); // The client hangs up once it has seen enough.
      let isGreeted = false;
      socket.on('data', (chunk) => {
        for (const _ of String(chunk).split('\f').slice(1)) {
          if (isGreeted && answer === null) {
            socket.destroy();
            return;
          }
          socket.write(`{"type":"rpc","data":${isGreeted ? answer : '{"id":0,"result":{}}'}}\f`);
          isGreeted = true;
        }
      });
    });
    t.after(() => {
      server.close();
      fs.rmSync(dir, { recursive: true });
    });
    await once(server.listen(`${dir}/s`), 'listening');
    const report = await attack({ socket: `${dir}/s`, seed: 1, frames: 50, lanes: 1, pauseMs: 0, large: 0, crowd: 0 });
    assert.match(report.faults.join('\n'), says);
  });
}
