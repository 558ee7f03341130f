import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Candidate, type Completion, complete, type Live } from '../../src/client/cli/completion/index.ts';
import { createProgram } from '../../src/client/cli/program.ts';

const of = (...values: string[]): Candidate[] => values.map((value) => ({ value, about: '' }));

const live: Live = {
  jobs: async (choice) => ({ live: of('3', '1'), ended: of('2'), recent: of('3', '2', '1') })[choice],
  groups: async () => of('default', 'slow'),
  profiles: async () => of('default', 'stream'),
};

const nobody: Live = {
  jobs: () => assert.fail('the daemon was asked'),
  groups: () => assert.fail('the daemon was asked'),
  profiles: () => assert.fail('the daemon was asked'),
};

/** The words of an answer, or what kind of answer it is. */
function brief(completion: Completion): string {
  if (completion.kind === 'command') return `command ${completion.from}`;
  return completion.kind === 'words' ? completion.words.map(({ value }) => value).join(' ') : completion.kind;
}

/** `|` is where words end; the last one is being typed. */
const cases: { line: string; answer: string; from?: Live }[] = [
  { line: 'canc', answer: 'cancel' },
  { line: 'nonsense|', answer: '' },
  { line: '--v', answer: '--version' },
  { line: 'cancel|', answer: '3 1', from: live },
  { line: 'run|--profile|', answer: 'default stream', from: live },
  { line: 'submit|--profile=st', answer: '--profile=stream', from: live },
  { line: 'submit|--on-output-limit|', answer: 'truncate kill' },
  { line: 'cancel|3|', answer: '1', from: live },
  { line: 'cancel|--wait|', answer: '3 1', from: live },
  { line: 'attach|', answer: '3 1', from: live },
  { line: 'attach|3|', answer: '' },
  { line: 'attach|-n|', answer: '' },
  { line: 'kill|-s|9|', answer: '3 1', from: live },
  { line: 'kill|--signal|U', answer: 'USR1 USR2' },
  { line: 'kill|--signal=U', answer: '--signal=USR1 --signal=USR2' },
  { line: 'rm|', answer: '2', from: live },
  { line: 'show|', answer: '3 2 1', from: live },
  { line: 'show|--|', answer: '3 2 1', from: live },
  { line: 'wait|--any|1..', answer: '1..3 1..2 1..1', from: live },
  { line: 'logs|-fn|', answer: '' },
  { line: 'logs|-fn|5|', answer: '3 2 1', from: live },
  { line: 'logs|-fn5|', answer: '3 2 1', from: live },
  { line: 'ls|', answer: '' },
  { line: 'ls|--status|run', answer: 'running' },
  { line: 'ls|--status=run', answer: '--status=running' },
  { line: 'ls|--status|=|run', answer: 'running' },
  { line: 'ls|--status|=', answer: 'queued starting running stopping completed failed cancelled' },
  { line: 'ls|-s|failed,c', answer: 'failed,completed failed,cancelled' },
  { line: 'ls|--group|', answer: 'default slow', from: live },
  { line: 'ls|--nonsense=', answer: '' },
  { line: 'group|', answer: 'ls add set rm pause resume help' },
  { line: 'group|set|', answer: 'default slow', from: live },
  { line: 'group|set|default|--m', answer: '--mode --max-queued' },
  { line: 'group|set|default|--mode|', answer: 'auto manual' },
  { line: 'group|rm|', answer: 'default slow', from: live },
  { line: 'run-pending|-g|', answer: 'default slow', from: live },
  { line: 'help|grou', answer: 'group' },
  { line: 'help|group|s', answer: 'set' },
  { line: 'completion|', answer: 'bash zsh fish' },
  { line: 'submit|--on-supervisor-lost|', answer: 'fail retry' },
  { line: 'run|--max-runtime|', answer: '' },
  { line: 'run|--stdin|x', answer: 'files' },
  { line: 'run|--stdin=x', answer: 'files' },
  { line: 'run|-C|', answer: 'folders' },
  { line: 'run|--spl', answer: '--split-output' },
  { line: 'run|m', answer: 'command 1' },
  { line: 'run|--|m', answer: 'command 2' },
  { line: 'run|make|--spl', answer: 'command 1' },
  { line: 'run|-n|x|make|', answer: 'command 3' },
  { line: 'run|-e|A=b|make|', answer: 'command 3' },
  { line: 'run|-e|A|=|b|:|c|make|x|=', answer: 'command 7' },
  { line: 'submit|--|make|--|', answer: 'command 2' },
];

describe('what may come next', () => {
  for (const { line, answer, from = nobody } of cases) {
    test(line, async () => assert.equal(brief(await complete(createProgram(), line.split('|'), from)), answer));
  }

  test('no hidden verb is offered, and every one that --help lists', async () => {
    const program = createProgram();
    const offered = brief(await complete(program, [''], nobody)).split(' ');
    assert.deepEqual(
      offered,
      program.commands.map((command) => command.name()).filter((name) => name !== '__complete'),
    );
  });
});
