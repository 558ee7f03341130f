import assert from 'node:assert/strict';
import { test } from 'node:test';
import { measureSampling } from '../../bench/sampling.ts';
import { tiers } from '../support/daemon.ts';

/** Five times what a job may cost of the 20 and 150 ms for a thousand: this is run on busy machines, beside other tests. */
const mostMsPerJob = { cgroup: 0.1, scan: 0.75 };
const jobs = 100;

for (const { tier, skip } of tiers) {
  test(`a look at running jobs is cheap, and leaves the event loop to others; tier ${tier}`, { skip }, async () => {
    const costs = await measureSampling(tier, jobs);
    const cheapest = Math.min(...costs.map(({ cpuMs }) => cpuMs)) / jobs;
    assert.ok(cheapest < mostMsPerJob[tier], `${cheapest} ms of CPU for a job`);
    const calmest = Math.min(...costs.map(({ longestMs }) => longestMs));
    assert.ok(calmest < 10, `the loop was kept for ${calmest} ms`);
  });
}
