const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

const durationPattern = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/;

/**
 * Reads `500ms`, `20s`, `30m`, `24h`, `60d`. `0` and `off` mean "none" and give `null`.
 *
 * @returns whole milliseconds (at most `Number.MAX_SAFE_INTEGER`), or `null` for none
 * @throws RangeError with a sentence that shows the accepted forms
 */
export function parseDuration(text: string): number | null {
  if (text === '0' || text === 'off') return null;
  const match = durationPattern.exec(text);
  const exactMs = match ? Number(match[1]) * unitMs[match[2] as keyof typeof unitMs] : Number.NaN;
  const ms = exactMs > 0 ? Math.max(1, Math.round(exactMs)) : exactMs; // A very short time is not the same as none.
  if (!Number.isSafeInteger(ms)) {
    throw new RangeError(`"${text}" is not a duration. Write it like 500ms, 20s, 30m, 24h or 60d (off for none).`);
  }
  return ms === 0 ? null : ms;
}

const unitBytes = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 } as const;

const sizePattern = /^(\d+(?:\.\d+)?)(B|KiB|MiB|GiB|TiB)$/;

/**
 * Reads `512B`, `64KiB`, `256MiB`, `4GiB`, `1TiB`. `0` and `off` mean "none" and give `null`.
 *
 * @returns whole bytes (at most `Number.MAX_SAFE_INTEGER`), or `null` for none
 * @throws RangeError with a sentence that shows the accepted forms
 */
export function parseSize(text: string): number | null {
  if (text === '0' || text === 'off') return null;
  const match = sizePattern.exec(text);
  const bytes = match ? Math.round(Number(match[1]) * unitBytes[match[2] as keyof typeof unitBytes]) : Number.NaN;
  if (!Number.isSafeInteger(bytes))
    throw new RangeError(`"${text}" is not a size. Write it like 512B, 64KiB, 256MiB or 4GiB (off for none).`);
  return bytes === 0 ? null : bytes;
}

/** A duration as `parseDuration` reads it, without loss: `500ms`, `90s`, `30m`, `24h`. */
export function durationText(ms: number): string {
  // One day reads better as 24h.
  const fits = ([unit, size]: [string, number]) => ms % size === 0 && (unit !== 'd' || ms >= 2 * size);
  const [unit, size] = Object.entries(unitMs).findLast(fits) ?? ['ms', 1];
  return `${ms / size}${unit}`;
}

/** A size as `parseSize` reads it, without loss: `512B`, `64KiB`, `4GiB`. */
export function sizeText(bytes: number): string {
  const [unit, size] = Object.entries(unitBytes).findLast(([, size]) => bytes % size === 0) ?? ['B', 1];
  return `${bytes / size}${unit}`;
}

/** Writes bytes the way people say them: `512 B`, `1.5 KiB`, `117 MiB`. */
export function formatSize(bytes: number): string {
  const [unit, size] = Object.entries(unitBytes).findLast(([, size]) => bytes >= size) ?? ['B', 1];
  const amount = bytes / size;
  return `${amount < 10 && unit !== 'B' ? (Math.floor(amount * 10) / 10).toFixed(1) : Math.floor(amount)} ${unit}`;
}

/** Writes milliseconds the way people say them: `350ms`, `4.2s`, `12m 5s`, `3h 2m`, `2d 4h`. */
export function formatDuration(ms: number): string {
  if (ms < 1_000) return `${Math.floor(ms)}ms`;
  if (ms < 10_000) return `${(Math.floor(ms / 100) / 10).toFixed(1)}s`;
  const pairs = [
    ['d', unitMs.d, 'h', unitMs.h],
    ['h', unitMs.h, 'm', unitMs.m],
    ['m', unitMs.m, 's', unitMs.s],
  ] as const;
  for (const [big, bigMs, small, smallMs] of pairs) {
    if (ms < bigMs) continue;
    const rest = Math.floor((ms % bigMs) / smallMs);
    return rest > 0 ? `${Math.floor(ms / bigMs)}${big} ${rest}${small}` : `${Math.floor(ms / bigMs)}${big}`;
  }
  return `${Math.floor(ms / 1_000)}s`;
}

const unitPerSecond = { s: 1, m: 1 / 60, h: 1 / 3_600, d: 1 / 86_400 } as const;

const ratePattern = /^(\d+(?:\.\d+)?)\/(s|m|h|d)$/;

/**
 * Reads `10/s`, `5/m`, `100/h`, `1/d`. `0` and `off` mean "no limit" and give `null`.
 *
 * @returns how many in a second, or `null` for no limit
 * @throws RangeError with a sentence that shows the accepted forms
 */
export function parseRate(text: string): number | null {
  if (text === '0' || text === 'off') return null;
  const match = ratePattern.exec(text);
  const perSecond = match ? Number(match[1]) * unitPerSecond[match[2] as keyof typeof unitPerSecond] : Number.NaN;
  if (!(perSecond > 0))
    throw new RangeError(`"${text}" is not a rate. Write it like 10/s, 5/m or 100/h (off for no limit).`);
  return perSecond;
}

/** Writes a rate the way people say it: `10/s`, `5/m`, `1.5/h`. */
export function formatRate(perSecond: number): string {
  const [unit, ofUnit] = Object.entries(unitPerSecond).find(([, one]) => perSecond / one >= 1) ?? [
    'd',
    unitPerSecond.d,
  ];
  return `${Number((perSecond / ofUnit).toPrecision(4))}/${unit}`;
}
