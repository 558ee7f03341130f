import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Heap } from '../../src/daemon/core/index.ts';

const ascending = (a: number, b: number) => a - b;

function drain<T>(heap: Heap<T>): T[] {
  return Array.from({ length: heap.size }, () => heap.pop() as T);
}

test('an empty heap gives nothing', () => {
  const heap = new Heap(ascending);
  assert.deepEqual([heap.size, heap.peek(), heap.pop(), heap.size], [0, undefined, undefined, 0]);
});

test('everything that was pushed comes out sorted', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -9, max: 9 }), { size: 'large' }), (numbers) => {
      const heap = new Heap(ascending);
      for (const number of numbers) heap.push(number);
      assert.deepEqual(drain(heap), numbers.toSorted(ascending));
    }),
  );
});

test('pushes and pops in any order give what a sorted list gives', () => {
  const operation = fc.option(fc.integer({ min: -9, max: 9 }));
  fc.assert(
    fc.property(fc.array(operation, { size: 'large' }), (operations) => {
      const heap = new Heap(ascending);
      const list: number[] = [];
      for (const number of operations) {
        if (number === null) {
          assert.equal(heap.pop(), list.shift());
        } else {
          heap.push(number);
          list.push(number);
          list.sort(ascending);
        }
        assert.equal(heap.size, list.length);
        assert.equal(heap.peek(), list[0]);
      }
    }),
  );
});

test('the order is the one that it was given, and entries come out as they went in', () => {
  const entries = [{ rank: 1 }, { rank: 3 }, { rank: 2 }];
  const heap = new Heap<{ rank: number }>((a, b) => b.rank - a.rank);
  for (const entry of entries) heap.push(entry);
  const [first, ...rest] = drain(heap);
  assert.equal(first, entries[1]);
  assert.deepEqual(rest, [{ rank: 2 }, { rank: 1 }]);
});
