import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Taker, Turns } from '../../src/daemon/ipc/turns.ts';

/** Each request takes a millisecond of a clock that only requests move. */
function bench() {
  let nowMs = 0;
  const log: string[] = [];
  const turns = new Turns(() => nowMs);
  const taker = (name: string, requests: number): Taker => {
    let left = requests;
    return {
      takeOne() {
        if (left === 0) return 'later';
        left -= 1;
        nowMs += 1;
        log.push(name);
        return 'taken';
      },
    };
  };
  return { turns, log, taker };
}

test('takers are served one request each, round and round', async () => {
  const { turns, log, taker } = bench();
  turns.add(taker('a', 3));
  turns.add(taker('b', 2));
  turns.add(taker('c', 1));
  for (let turn = 0; turn < 5; turn += 1) await nextTurn();
  assert.equal(log.join(''), 'abcaba');
});

test('a turn of the event loop serves 2 ms of them; the others come next', async () => {
  const { turns, log, taker } = bench();
  turns.add(taker('a', 100));
  await nextTurn();
  await nextTurn();
  assert.ok(log.length >= 2 && log.length <= 4, log.join(''));
});

test('one that was removed is served no more, and one that is added meanwhile has its turn', async () => {
  const { turns, log, taker } = bench();
  const first = taker('a', 100);
  turns.add(first);
  await nextTurn();
  turns.remove(first);
  const before = log.length;
  turns.add(taker('b', 1));
  for (let turn = 0; turn < 3; turn += 1) await nextTurn();
  assert.equal(log.slice(before).join(''), 'b');
});
