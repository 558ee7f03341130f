import type { z } from 'zod';

/** Says what is wrong with a parameter, in words: `params.job.cwd: cwd must be an absolute path`. */
export function describeIssues(error: z.ZodError, root: readonly string[] = ['params']): string {
  return error.issues
    .slice(0, 3)
    .map((issue) => [[...root, ...issue.path.map(String)].join('.'), explainIssue(issue)])
    .map(([path, says]) => (path === '' ? says : `${path}: ${says}`))
    .join('; ');
}

const typeNames: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'an object',
  record: 'an object',
  array: 'a list',
};

const unitNames: Readonly<Record<string, readonly [one: string, many: string]>> = {
  string: [' character', ' characters'],
  array: [' entry', ' entries'],
  record: [' entry', ' entries'],
};

/** What zod found, in words for whoever wrote the value. */
export function explainIssue(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type': {
      if (!issue.message.startsWith('Invalid input')) return issue.message; // The schema has words of its own.
      if (issue.message.endsWith('received undefined')) return 'is missing';
      return `must be ${typeNames[issue.expected] ?? issue.expected}`;
    }
    case 'too_small':
    case 'too_big': {
      const bound = issue.code === 'too_small' ? issue.minimum : issue.maximum;
      const unit = unitNames[issue.origin]?.[Number(bound) === 1 ? 0 : 1] ?? '';
      const [inclusive, exclusive] = issue.code === 'too_small' ? ['at least', 'more than'] : ['at most', 'less than'];
      return `must ${unit === '' ? 'be' : 'have'} ${issue.inclusive === false ? exclusive : inclusive} ${bound}${unit}`;
    }
    case 'invalid_value':
      return `must be one of ${issue.values.join(', ')}`;
    case 'unrecognized_keys':
      return `has no member ${issue.keys.map((key) => `"${key}"`).join(', ')}; look at how it is spelt`;
    case 'invalid_key':
      return issue.issues[0]?.message ?? issue.message;
    default:
      return issue.message;
  }
}
