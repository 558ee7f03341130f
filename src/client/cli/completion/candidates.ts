/** What may come next on a command line that is being typed. Made from the same commander objects as --help. */
import type { Command, Option } from 'commander';
import { jobStatuses, signalNames } from '../../../protocol/index.ts';

export interface Candidate {
  readonly value: string;
  readonly about: string;
}

/** Which jobs make sense: those that can be ended, those whose record can be removed, or what somebody may want to look at. */
export type JobChoice = 'live' | 'ended' | 'recent';

/** What only a daemon knows. All answer with nothing where there is none. */
export interface Live {
  jobs(choice: JobChoice): Promise<Candidate[]>;
  groups(): Promise<Candidate[]>;
  profiles(): Promise<Candidate[]>;
}

/** The answer for a shell: words to choose from, or whose business it is instead. */
export type Completion =
  | { readonly kind: 'words'; readonly words: readonly Candidate[] }
  | { readonly kind: 'files' | 'folders' }
  /** From this word on it is the command line of another program. */
  | { readonly kind: 'command'; readonly from: number };

const jobChoices: Readonly<Record<string, JobChoice>> = {
  attach: 'live',
  cancel: 'live',
  heartbeat: 'live',
  kill: 'live',
  pause: 'live',
  resume: 'live',
  edit: 'live',
  move: 'live',
  retry: 'ended',
  rm: 'ended',
  progress: 'live',
  result: 'live',
};

/**
 * @param words what follows `corral`, up to and with the word that is being completed (empty where it has not begun)
 * @param live asked only where the answer depends on it
 */
export async function complete(program: Command, words: readonly string[], live: Live): Promise<Completion> {
  const { earlier, current, glued } = joinPieces(words);
  const place = locate(program, earlier);
  if (place.commandFrom !== null) return { kind: 'command', from: place.commandFrom };
  const completion = await completeAt(place, current, words.length - 1, live);
  if (completion.kind !== 'words') return completion;
  return {
    kind: 'words',
    words: completion.words.map(({ value, about }) => ({ value: value.slice(glued.length), about })),
  };
}

async function completeAt(place: Place, current: string, currentIndex: number, live: Live): Promise<Completion> {
  const { command, option, afterDashes } = place;
  if (option !== null) return choose(await valuesOf(option, command, live), current);
  const inline = /^(--[^=]+=)(.*)$/s.exec(current);
  if (inline !== null && !afterDashes) {
    const [, flag = '', value = ''] = inline;
    const named = command.options.find(({ long }) => `${long}=` === flag);
    if (named === undefined || !takesValue(named)) return nothing;
    return prefixed(choose(await valuesOf(named, command, live), value), flag);
  }
  if (current.startsWith('-') && !afterDashes) return choose(optionsOf(command), current);
  if (hasSubcommands(command)) return place.arguments.length > 0 ? nothing : choose(subcommandsOf(command), current);
  const declared = command.registeredArguments;
  const argument = declared[place.arguments.length] ?? declared.find(({ variadic }) => variadic);
  if (argument === undefined) return nothing;
  if (argument.name() === 'command') return { kind: 'command', from: currentIndex };
  const meaning = argument.argChoices?.map(plain) ?? (await meaningOf(argument.name(), command, live));
  if (typeof meaning === 'string') return choose(meaning, current);
  const unnamed = meaning.filter(({ value }) => !place.arguments.includes(value));
  return choose(unnamed, current);
}

const nothing: Completion = { kind: 'words', words: [] };

interface Word {
  readonly text: string;
  /** Among the words as the shell gave them. */
  readonly index: number;
}

/**
 * bash takes words apart at `=` and `:` (COMP_WORDBREAKS): here `--status`, `=`, `run` are one word again. What is completed is
 * then the last piece alone: `glued` is what comes before that.
 */
function joinPieces(words: readonly string[]): { earlier: Word[]; current: string; glued: string } {
  const isGlue = (word: string | undefined) => word !== undefined && /^[=:]+$/.test(word);
  const joined: Word[] = [];
  for (const [index, text] of words.entries()) {
    const last = joined.at(-1);
    const belongs = isGlue(text) || (isGlue(words[index - 1]) && text !== '');
    if (last !== undefined && belongs) joined.splice(-1, 1, { ...last, text: last.text + text });
    else joined.push({ text, index });
  }
  const current = joined.pop()?.text ?? '';
  const piece = isGlue(words.at(-1)) ? '' : (words.at(-1) ?? '');
  return { earlier: joined, current, glued: current.slice(0, current.length - piece.length) };
}

interface Place {
  readonly command: Command;
  /** The option whose value comes next. */
  readonly option: Option | null;
  readonly arguments: readonly string[];
  readonly afterDashes: boolean;
  /** Index of the word with which the command line of another program begins. */
  readonly commandFrom: number | null;
}

function locate(program: Command, words: readonly Word[]): Place {
  let command = program;
  let option: Option | null = null;
  let afterDashes = false;
  const given: string[] = [];
  for (const { text: word, index } of words) {
    if (option !== null) {
      option = null;
    } else if (word === '--' && !afterDashes) {
      afterDashes = true;
    } else if (word.startsWith('-') && word !== '-' && !afterDashes) {
      option = awaitsValue(command, word);
    } else {
      const subcommand = hasSubcommands(command) && findCommand(command, word);
      if (subcommand)
        command = subcommand.name() === 'help' ? command : subcommand; // help takes the name of another.
      else if (runsPrograms(command))
        return { command, option: null, arguments: given, afterDashes, commandFrom: index };
      else given.push(word);
    }
  }
  return { command, option, arguments: given, afterDashes, commandFrom: null };
}

/** The option among those that a word such as `--signal` or `-fn` names whose value is the next word. */
function awaitsValue(command: Command, word: string): Option | null {
  if (word.startsWith('--')) {
    const found = command.options.find((option) => option.long === word);
    return found !== undefined && takesValue(found) ? found : null;
  }
  for (let at = 1; at < word.length; at += 1) {
    const found = command.options.find((option) => option.short === `-${word[at]}`);
    if (found !== undefined && takesValue(found)) return at === word.length - 1 ? found : null;
  }
  return null;
}

function takesValue(option: Option): boolean {
  return option.required || option.optional;
}

function hasSubcommands(command: Command): boolean {
  return command.commands.length > 0;
}

function findCommand(command: Command, name: string): Command | undefined {
  return command
    .createHelp()
    .visibleCommands(command)
    .find((child) => child.name() === name);
}

function runsPrograms(command: Command): boolean {
  return command.registeredArguments.some((argument) => argument.name() === 'command' && argument.variadic);
}

function optionsOf(command: Command): Candidate[] {
  return command
    .createHelp()
    .visibleOptions(command)
    .map((option) => ({ value: option.long ?? option.short ?? '', about: option.description }));
}

function subcommandsOf(command: Command): Candidate[] {
  return command
    .createHelp()
    .visibleCommands(command)
    .map((child) => ({ value: child.name(), about: child.description() }));
}

function valuesOf(option: Option, command: Command, live: Live): Promise<Meaning> | Candidate[] {
  const placeholder = /[<[]([\w=]+)(?:\.\.\.)?[>\]]/.exec(option.flags)?.[1] ?? '';
  return option.argChoices?.map(plain) ?? meaningOf(placeholder, command, live);
}

type Meaning = readonly Candidate[] | 'files' | 'folders' | 'statuses';

/** What the placeholder of an option or argument stands for, wherever it is used: `<file>`, `<group>`, `<ids...>`. */
async function meaningOf(placeholder: string, command: Command, live: Live): Promise<Meaning> {
  switch (placeholder) {
    case 'file':
      return 'files';
    case 'folder':
      return 'folders';
    case 'statuses':
      return 'statuses';
    case 'signal':
      return signalNames.map((name) => plain(name.slice(3)));
    case 'group':
      return live.groups();
    case 'profile':
      return live.profiles();
    case 'id':
    case 'ids':
      return live.jobs(jobChoices[command.name()] ?? 'recent');
    default:
      return [];
  }
}

function choose(meaning: Meaning, current: string): Completion {
  if (meaning === 'files' || meaning === 'folders') return { kind: meaning };
  if (meaning === 'statuses') return inList(jobStatuses, current);
  const range = /^\d+\.\./.exec(current)?.[0] ?? '';
  const words = meaning.filter(({ value }) => value.startsWith(current.slice(range.length)));
  return prefixed({ kind: 'words', words }, range);
}

/** The last one of several with commas between, each at most once. */
function inList(all: readonly string[], current: string): Completion {
  const earlier = current.slice(0, current.lastIndexOf(',') + 1);
  const taken = earlier.split(',');
  const words = all
    .filter((word) => !taken.includes(word) && word.startsWith(current.slice(earlier.length)))
    .map(plain);
  return prefixed({ kind: 'words', words }, earlier);
}

function prefixed(completion: Completion, prefix: string): Completion {
  if (completion.kind !== 'words') return completion;
  return {
    kind: 'words',
    words: completion.words.map(({ value, about }) => ({ value: `${prefix}${value}`, about })),
  };
}

function plain(value: string): Candidate {
  return { value, about: '' };
}
