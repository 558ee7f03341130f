import type { Command } from 'commander';

/** In place of commander's own, which answers a word that is no verb with the help of everything. */
export function addHelp(program: Command): void {
  program
    .command('help')
    .description('show the help of a verb')
    .argument('[verb...]', 'the verb, such as run, or group set')
    .addHelpText('after', '\nExample: corral help run')
    .action(async (words: string[]) => {
      let command = program;
      for (const word of words) {
        const next = command.commands.find((child) => child.name() === word);
        // As if it had been typed: an unknown verb is refused, with the one that was meant.
        if (next === undefined) return void (await command.parseAsync([word], { from: 'user' }));
        command = next;
      }
      command.help();
    });
}
