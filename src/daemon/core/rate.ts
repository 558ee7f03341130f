/**
 * The rate of a group: a token bucket. It holds `burst` tokens at most, gains `ratePerSecond` of them in a second, and each start
 * takes one. So in any stretch of time there are no more than `burst` and what the rate makes of that time.
 *
 * But for this: with a burst of 1 the bucket is full when a token is due, so a start that comes late for it, because the machine is
 * busy, would put off all those after it, and the group would be slower than it was told to be. So while a job waits for the token,
 * one more is saved up: the next start is due when it would have been. In a stretch of time there may then be one more start.
 */
import type { Instant } from './instant.ts';
import { type Bucket, fullBucket, type Group } from './state.ts';

type Rated = Pick<Group, 'ratePerSecond' | 'burst'>;

/** Time in which the bucket gains a token. */
function intervalMs({ ratePerSecond }: Rated): number {
  return ratePerSecond === null ? 0 : 1_000 / ratePerSecond;
}

/** A bucket with so many tokens. */
function bucketWith(tokens: number, group: Rated, now: Instant): Bucket {
  if (group.ratePerSecond === null) return fullBucket;
  const fullAtMonoMs = now.monoMs + (group.burst - tokens) * intervalMs(group);
  return { ...fullBucket, fullAtMonoMs };
}

/** A group begins with one token: neither a daemon that is restarted again and again nor a group that is made anew beats the rate. */
export function firstBucket(group: Rated, now: Instant): Bucket {
  return bucketWith(1, group, now);
}

/** The earliest time at which there is a token; it may have passed. */
export function tokenAtMonoMs(group: Rated, bucket: Bucket): number {
  return group.ratePerSecond === null
    ? Number.NEGATIVE_INFINITY
    : bucket.fullAtMonoMs - (group.burst - 1) * intervalMs(group);
}

/** The bucket after a start. */
export function withoutToken(group: Rated, bucket: Bucket, now: Instant): Bucket {
  if (group.ratePerSecond === null) return bucket;
  const savedMs = bucket.isAwaited && group.burst === 1 ? intervalMs(group) : 0;
  return { ...bucket, fullAtMonoMs: Math.max(bucket.fullAtMonoMs, now.monoMs - savedMs) + intervalMs(group) };
}

/** The bucket under new settings: it keeps its tokens, as far as they fit. */
export function refitted(before: Rated, after: Rated, bucket: Bucket, now: Instant): Bucket {
  if (before.ratePerSecond === after.ratePerSecond && before.burst === after.burst) return bucket;
  if (before.ratePerSecond === null) return firstBucket(after, now);
  const missing = Math.max(0, bucket.fullAtMonoMs - now.monoMs) / intervalMs(before);
  return bucketWith(Math.min(before.burst - missing, after.burst), after, now);
}
