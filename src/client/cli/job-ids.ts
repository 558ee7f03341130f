import { InvalidArgumentError } from 'commander';

/** Most ids that one range may stand for; a typing slip must not become a request for a billion jobs. */
const maxRange = 100_000;

/** Reads one argument of ids: `7`, or a range with both ends, `3..9`. Collects over several arguments. */
export function asJobIds(text: string, earlier: readonly number[] = []): number[] {
  const match = /^(\d+)(?:\.\.(\d+))?$/.exec(text);
  const from = Number(match?.[1]);
  const to = match?.[2] === undefined ? from : Number(match[2]);
  if (match === null || !Number.isSafeInteger(from) || !Number.isSafeInteger(to) || from < 1 || to < from) {
    throw new InvalidArgumentError('A job id is a number such as 7, or a range such as 3..9.');
  }
  if (to - from >= maxRange) throw new InvalidArgumentError(`A range may have at most ${maxRange} ids.`);
  return [...earlier, ...Array.from({ length: to - from + 1 }, (_, index) => from + index)];
}

/** Reads the value of an option: ids and ranges with commas between, `3..9,12`. Collects where the option is repeated. */
export function asJobIdList(text: string, earlier: readonly number[] = []): number[] {
  return text.split(',').reduce<number[]>((ids, one) => asJobIds(one, ids), [...earlier]);
}

export function asJobId(text: string): number {
  const [id, ...more] = asJobIds(text);
  if (id === undefined || more.length > 0) throw new InvalidArgumentError('One job id, such as 7.');
  return id;
}

/** Most ranges that a line names. */
const maxShownRanges = 20;

/** Ids as a person would type them: `3..9, 12`. */
export function asRanges(jobIds: readonly number[]): string {
  const ranges: [from: number, to: number][] = [];
  for (const jobId of new Set([...jobIds].sort((a, b) => a - b))) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === jobId - 1) last[1] = jobId;
    else ranges.push([jobId, jobId]);
  }
  const shown = ranges.slice(0, maxShownRanges).map(([from, to]) => (from === to ? `${from}` : `${from}..${to}`));
  return shown.join(', ') + (ranges.length > maxShownRanges ? ', …' : '');
}
