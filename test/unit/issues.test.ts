/** What zod finds is said in words, and names the member. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeIssues, methods } from '../../src/protocol/index.ts';

const job = { command: ['true'], env: {}, cwd: '/' };

const cases: [params: object, says: string][] = [
  [{}, 'params.job: is missing'],
  [{ job: { ...job, cwd: undefined } }, 'params.job.cwd: is missing'],
  [{ job: { ...job, priority: '1' } }, 'params.job.priority: must be a number'],
  [{ job: { ...job, priority: 1.5 } }, 'params.job.priority: must be a whole number'],
  [{ job: { ...job, priority: 2e6 } }, 'params.job.priority: must be at most 1000000'],
  [{ job: { ...job, maxRuntimeMs: 0 } }, 'params.job.maxRuntimeMs: must be more than 0'],
  [{ job: { ...job, command: [] } }, 'params.job.command: must have at least 1 entry'],
  [{ job: { ...job, name: 'x'.repeat(201) } }, 'params.job.name: must have at most 200 characters'],
  [{ job: { ...job, onSupervisorLost: 'x' } }, 'params.job.onSupervisorLost: must be one of fail, retry'],
  [{ job: { ...job, bogus: 1 } }, 'params.job: has no member "bogus"; look at how it is spelt'],
  [{ job: { ...job, env: { 'A=': '' } } }, 'params.job.env.A=: a variable name is empty or holds "="'],
  [{ job: { ...job, cwd: 'here' } }, 'params.job.cwd: cwd must be an absolute path'],
];

for (const [params, says] of cases) {
  test(says, () => {
    const { error } = methods.submit.params.safeParse(params);
    assert.ok(error);
    assert.equal(describeIssues(error), says);
  });
}
