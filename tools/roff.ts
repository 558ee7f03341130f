/** The little of man(7) that our pages need. Every text passes through `literal`, so none can become a request. */

/** Text that stands for itself: no escapes, ASCII quotes and hyphens that can be copied into a shell. groff_char(7) */
export function literal(text: string): string {
  const named: Readonly<Record<string, string>> = {
    '\\': '\\e',
    '-': '\\-',
    "'": '\\(aq',
    '"': '\\(dq',
    '`': '\\(ga',
    '^': '\\(ha',
    '~': '\\(ti',
  };
  const escaped = [...text]
    .map((character) => {
      const code = character.codePointAt(0) ?? 0;
      return named[character] ?? (code > 126 ? `\\[u${code.toString(16).toUpperCase().padStart(4, '0')}]` : character);
    })
    .join('');
  // A control character counts at the beginning of a line alone; \& takes no room.
  return escaped.replace(/^\./gm, '\\&.');
}

/** A macro with arguments; each is one argument, whatever is in it. */
export function macro(name: string, ...parts: readonly string[]): string {
  return [`.${name}`, ...parts.map((part) => `"${literal(part.replace(/\s+/g, ' '))}"`)].join(' ');
}

/** One sentence a line, as man-pages(7) asks, so that sentences get their space. */
export function prose(text: string): string {
  return literal(
    text
      .replace(/\s+/g, ' ')
      .trim()
      .replace(/([.:!?]) (?=[A-Z])/g, '$1\n'),
  );
}

export function paragraph(text: string): string {
  return `.PP\n${prose(text)}`;
}

/** What has a name, and what it is. */
export function definition(name: string, text: string): string {
  return `.TP\n${macro('B', name)}\n${prose(text)}`;
}

/** A line to type, not filled and not broken. */
export function example(line: string): string {
  return `.PP\n.RS 4\n.nf\n${literal(line)}\n.fi\n.RE`;
}

export function section(title: string, ...body: readonly string[]): string {
  // .PP right behind a heading does nothing, and linters say so.
  const [first = '', ...rest] = body;
  return [macro('SH', title), first.replace(/^\.PP\n/, ''), ...rest].join('\n');
}

export function subsection(title: string, ...body: readonly string[]): string {
  const [first = '', ...rest] = body;
  return [macro('SS', title), first.replace(/^\.PP\n/, ''), ...rest].join('\n');
}

export function page(title: string, number: number, source: string, ...sections: readonly string[]): string {
  return `${['.\\" Made by npm run docs from the command line itself. Do not edit.', macro('TH', title.toUpperCase(), String(number), '', source, 'corral'), ...sections].join('\n')}\n`;
}
