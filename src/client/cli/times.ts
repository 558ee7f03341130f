import { InvalidArgumentError } from 'commander';

const forms = 'Write a time like 18:30, 2027-01-31T06:00 (of this zone) or 2027-01-31T06:00:00Z.';

/** Reads a time of the wall clock: `18:30` is the next one there will be, a date without a zone is of this one. */
export function asTime(text: string): Date {
  const ofDay = /^(\d{1,2}):(\d{2})$/.exec(text);
  const time = ofDay === null ? timeOfDate(text) : nextTimeOfDay(Number(ofDay[1]), Number(ofDay[2]), new Date());
  if (time === null) throw new InvalidArgumentError(forms);
  return time;
}

/** Today's, or tomorrow's where that is over. Across a change of the clocks, a day is not 24 hours. */
export function nextTimeOfDay(hours: number, minutes: number, now: Date): Date | null {
  if (hours > 23 || minutes > 59) return null;
  const onDay = (days: number) => new Date(now.getFullYear(), now.getMonth(), now.getDate() + days, hours, minutes);
  const today = onDay(0);
  return today > now ? today : onDay(1);
}

const datePattern = /^(\d{4})-(\d{2})-(\d{2})[T ](\d{2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?(Z|[+-]\d{2}:\d{2})?$/;

function timeOfDate(text: string): Date | null {
  const match = datePattern.exec(text);
  if (match === null) return null;
  const [, year, month, day] = match.map(Number);
  // Date makes the 3rd of March of the 31st of February.
  if (Number(day) < 1 || Number(day) > new Date(Number(year), Number(month), 0).getDate()) return null;
  const time = new Date(text.replace(' ', 'T'));
  return Number.isNaN(time.getTime()) ? null : time;
}
