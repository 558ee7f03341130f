import { Argument, type Command } from 'commander';
import { complete, completionScripts, liveDaemon, type Shell } from '../completion/index.ts';
import { printLine } from '../print.ts';

export function addCompletion(program: Command): void {
  program
    .command('completion')
    .description('print a script that makes the Tab key complete verbs, options, job ids and groups')
    .addArgument(new Argument('<shell>', 'the shell').choices(Object.keys(completionScripts)))
    .addHelpText(
      'after',
      `
Example: echo 'source <(corral completion bash)' >> ~/.bashrc
Example: echo 'source <(corral completion zsh)' >> ~/.zshrc
Example: echo 'corral completion fish | source' >> ~/.config/fish/config.fish
It starts working in the next shell.`,
    )
    .action((shell: Shell) => {
      process.stdout.write(completionScripts[shell]);
    });
  program
    .command('__complete', { hidden: true })
    .argument('[words...]')
    .action((words: string[]) => answer(program, words));
}

async function answer(program: Command, words: readonly string[]): Promise<void> {
  const completion = await complete(program, words, liveDaemon);
  printLine(completion.kind === 'command' ? `command ${completion.from}` : completion.kind);
  if (completion.kind === 'words') for (const { value, about } of completion.words) printLine(`${value}\t${about}`);
}
