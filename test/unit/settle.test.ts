import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { apply, decide, definitionFrom, type Effect, emptyState, type State } from '../../src/daemon/core/index.ts';
import type { JobSpec, MethodResult } from '../../src/protocol/index.ts';
import { groupOf, instant, jobOf } from '../support/records.ts';

function stateOf(maxQueued = 3): State {
  const state = emptyState();
  apply(state, [{ kind: 'group', before: null, after: groupOf('default', { maxQueued }) }]);
  return state;
}

const now = instant(10, 1_700_000_000_000);

/** What is answered, or the code of the refusal; and that nothing comes of it. */
function settle(state: State, spec: Partial<JobSpec>, known = new Map([['taken', jobOf(1)]])) {
  const definition = definitionFrom({ command: ['true'], env: {}, cwd: '/', ...spec });
  const { changes, effects } = decide(
    state,
    { type: 'settle', request: 1, definitions: [definition], known, ended: new Map() },
    now,
  );
  assert.deepEqual(changes, []);
  assert.equal(effects.length, 1);
  const [effect] = effects as [Effect];
  if (effect.type === 'refuse') return effect.code;
  assert.equal(effect.type, 'reply');
  return (effect as Extract<Effect, { type: 'reply' }>).result as MethodResult<'settle'>;
}

describe('what a submit would come to', () => {
  test('is told with every default filled in, and without the environment', () => {
    const settled = settle(stateOf(), { profile: 'batch', env: { SECRET: 'x' }, idempotencyKey: 'new' });
    assert.ok(typeof settled === 'object');
    const { job, existingId } = settled;
    assert.deepEqual(job.policies['retry.limit'], { value: 2, from: 'profile batch' });
    assert.deepEqual([job.group, job.priority, job.profile, existingId], ['default', 0, 'batch', null]);
    assert.ok(!JSON.stringify(job).includes('SECRET'));
    assert.ok(!('id' in job) && !('status' in job));
  });

  test('is the job that has the key already, if one has', () => {
    const settled = settle(stateOf(), { idempotencyKey: 'taken' });
    assert.ok(typeof settled === 'object');
    assert.equal(settled.existingId, 1);
  });

  test('is refused for what a submit is refused for', () => {
    const paused = { ...stateOf(), admission: { pausedFor: 'no room' } };
    assert.equal(settle(stateOf(), { group: 'nix' }), 'GROUP_NOT_FOUND');
    assert.equal(settle(stateOf(0), {}), 'QUEUE_FULL');
    assert.equal(settle(stateOf(), { after: [99] }), 'JOB_NOT_FOUND');
    assert.equal(settle(stateOf(), { command: ['false'], idempotencyKey: 'taken' }), 'IDEMPOTENCY_MISMATCH');
    assert.equal(settle(paused, {}), 'DISK_LOW');
    assert.equal(settle({ ...stateOf(), admission: 'closing' }, {}), 'SHUTTING_DOWN');
  });
});
