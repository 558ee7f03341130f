/**
 * The line of a key, for a message; else that of the innermost table that it stands in. `null` where neither is found. The path of an entry
 * of `[[name]]` has its number, from 0 on.
 */
export function lineOf(text: string, path: readonly string[]): number | null {
  const counts = new Map<string, number>();
  let section: string[] = [];
  let around: { line: number; depth: number } | null = null;
  for (const [index, line] of text.split('\n').entries()) {
    const [, brackets, header] = /^\s*(\[\[?)\s*([^\]]+?)\s*\]/.exec(line) ?? [];
    const key = /^\s*([^=#[\]]+?)\s*=/.exec(line)?.[1];
    if (header === undefined && key === undefined) continue;
    if (header !== undefined) {
      const count = counts.get(header) ?? 0;
      if (brackets === '[[') counts.set(header, count + 1);
      section = [...keyParts(header), ...(brackets === '[[' ? [String(count)] : [])];
    }
    const here = header === undefined && key !== undefined ? [...section, ...keyParts(key)] : section;
    if (path.every((part, at) => here[at] === part)) return index + 1;
    if (here.every((part, at) => path[at] === part) && here.length > (around?.depth ?? 0))
      around = { line: index + 1, depth: here.length };
  }
  return around?.line ?? null;
}

/** Of a key as TOML has it, also with dots: `jobs."kill-grace"`. */
function keyParts(key: string): string[] {
  return key.split('.').map((part) => part.trim().replaceAll(/^["']|["']$/g, ''));
}
