import assert from 'node:assert/strict';
import { test } from 'node:test';
import { everySignal, measureSampling, summaryOf } from '../../bench/sampling.ts';
import { tiers } from '../support/daemon.ts';

/**
 * Five times what a job may cost of the 20 and 150 ms for a thousand, and thrice as long for the loop: beside other tests the same work
 * takes more CPU time, as they have the caches. test/long has the true bounds, where nothing else runs.
 */
const mostMsPerJob = { cgroup: 0.1, scan: 0.75 };
const longestMs = 30;
const jobs = 100;

for (const { tier, skip } of tiers) {
  test(`a look at running jobs is cheap, and leaves the event loop to others; tier ${tier}`, { skip }, async () => {
    const [stream, all] = [await measureSampling(tier, jobs), await measureSampling(tier, jobs, everySignal)].map(
      summaryOf,
    );
    assert.ok(stream && all);
    assert.ok(stream.cpuMs / jobs < mostMsPerJob[tier], `${stream.cpuMs / jobs} ms of CPU for a job`);
    for (const one of [stream, all]) assert.ok(one.longestMs < longestMs, `the loop was kept for ${one.longestMs} ms`);
  });
}
