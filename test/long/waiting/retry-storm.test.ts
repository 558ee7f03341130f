import { test } from 'node:test';
import { retryStorm } from '../../support/retry-storm.ts';

test('a storm of 500 retries, at the usual pace of 20 a second', (t) =>
  retryStorm(t, { jobs: 500, perSecond: 20, burst: 100 }));
