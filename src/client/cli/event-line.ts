/** An event in one line, for people. */
import type { EventView } from '../../protocol/index.ts';
import { oneLine, progressText } from './print.ts';

export function eventLine({ seq, at, jobId, attempt, ...what }: EventView): string {
  return `${String(seq).padStart(6)}  ${at}  job ${jobId}${attempt > 1 ? ` attempt ${attempt}` : ''}  ${happened(what)}`;
}

type Happening = Pick<EventView, 'kind' | 'detail' | 'from' | 'to' | 'cause'>;

function happened({ kind, detail, from, to, cause }: Happening): string {
  if (kind === 'transition') return `${from ?? 'new'} → ${to}${cause === null ? '' : ` (${cause})`}`;
  const words = kind === 'progress' ? progressOf(detail) : kind === 'result' ? resultOf(detail) : wordsOf(detail);
  return words === '' ? kind : `${kind}: ${oneLine(words)}`;
}

function progressOf(detail: unknown): string {
  const { percent = null, message = null } = fieldsOf(detail);
  return progressText({
    progress: {
      percent: typeof percent === 'number' ? percent : null,
      message: typeof message === 'string' ? message : null,
    },
  });
}

/** Of a long one, the event has only the size. */
function resultOf(detail: unknown): string {
  const { value, characters } = fieldsOf(detail);
  return characters === undefined ? JSON.stringify(value) : `${characters} characters, see corral show`;
}

/** A sentence where there is one, else its fields: `priority 5, group "nightly"`. */
function wordsOf(detail: unknown): string {
  if (detail === null || detail === undefined) return '';
  if (typeof detail === 'string') return detail;
  const { message, ...others } = fieldsOf(detail);
  const rest = Object.entries(others).map(([name, value]) => `${name} ${valueText(value)}`);
  if (typeof message !== 'string') return rest.join(', ') || JSON.stringify(detail);
  const figures = Object.entries(others).filter(([, value]) => typeof value !== 'object');
  return figures.length === 0 ? message : `${message} (${figures.map((figure) => figure.join(' ')).join(', ')})`;
}

/** `priority, env.MODE`, where quotes and brackets would say nothing. */
function valueText(value: unknown): string {
  const isList = Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === 'string');
  return isList ? value.join(', ') : JSON.stringify(value);
}

function fieldsOf(detail: unknown): Record<string, unknown> {
  return typeof detail === 'object' && detail !== null && !Array.isArray(detail) ? { ...detail } : {};
}
