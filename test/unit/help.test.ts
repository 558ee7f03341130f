import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Command } from 'commander';
import { createProgram } from '../../src/client/cli/program.ts';

const shown = ({ commands }: Command) => commands.filter((verb) => !['help', '__complete'].includes(verb.name()));

/** What `--help` prints, with what is said after it. */
function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({
    writeOut: (piece) => {
      text += piece;
    },
  });
  command.outputHelp();
  return text;
}

test('--help lists the verbs in the order in which one needs them', () => {
  const listed = [...helpOf(createProgram()).matchAll(/^ {2}([a-z][a-z-]*)(?: |\|)/gm)].map((match) => match[1]);
  assert.equal(
    listed.join(' '),
    'run attach submit ls show top logs wait cancel kill heartbeat pause resume edit move retry rm clean stuck progress result scope group run-pending events health doctor config daemon completion help',
  );
});

test('--help of each verb, and of each below it, has an example', () => {
  const verbs = shown(createProgram()).flatMap((verb) => {
    const below = shown(verb);
    // One that does nothing by itself has examples in those below it; `stuck` does both.
    return below.length === 0 ? [verb] : verb.name() === 'stuck' ? [verb, ...below] : below;
  });
  assert.ok(verbs.length > 35, `${verbs.length} verbs`);
  for (const verb of verbs) assert.match(helpOf(verb), /^Example: /m, verb.name());
});
