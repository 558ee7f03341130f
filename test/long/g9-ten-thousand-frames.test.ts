import { test } from 'node:test';
import { memoryUnderAttack, underAttack } from '../support/under-attack.ts';

test('G9: 10,000 hostile frames and 500 connections, from another seed each time: nobody else notices', async (t) => {
  await underAttack(t, { seed: Date.now() % 2 ** 31, frames: 3_400, lanes: 2, pauseMs: 12, large: 30, crowd: 500 });
});

test('G9: 10,000 hostile frames leave no memory behind', async (t) => {
  await memoryUnderAttack(t, {
    seed: Date.now() % 2 ** 31,
    frames: 3_400,
    lanes: 3,
    pauseMs: 0,
    large: 30,
    crowd: 500,
  });
});
