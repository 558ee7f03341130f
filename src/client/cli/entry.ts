/** First thing that runs: turns Node's compile cache on, then loads the CLI. */
import { useCompileCache } from '../../compile-cache.ts';

useCompileCache(process.env, process.getuid?.() ?? 0);
// Only then are stack traces shown, and reading the maps of every file takes 10 ms.
if (process.env.CORRAL_DEBUG === '1') process.setSourceMapsEnabled(true);
const { callerArguments } = await import('../caller.ts');
process.argv = callerArguments(process.argv);
await import('./main.ts');
