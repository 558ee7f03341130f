/**
 * Installs the package on a host of its own with a real systemd (test/systemd/box), uses it, and puts what a terminal would show
 * into docs/operations.md. Needs root. Run it when the steps or what they print have changed: npm run docs:transcript.
 */
import fs from 'node:fs';
import os from 'node:os';
import { fileURLToPath } from 'node:url';
import { npmEnvironment, pack } from '../test/packaging/installed.ts';
import { Box, whyNoBox } from '../test/systemd/box.ts';

const document = fileURLToPath(new URL('../docs/operations.md', import.meta.url));
const begin = '<!-- transcript -->\n';
const end = '<!-- end of transcript -->';

/** What is typed, and what is run for it where that must be another thing: the package is not fetched from anywhere. */
const steps: readonly (string | { typed: string; run: string })[] = [
  { typed: 'npm install -g corral', run: 'npm install -g /mnt/corral.tgz' },
  'sh "$(npm root -g)/corral/systemd/install.sh"',
  'systemctl enable --now corral',
  'systemctl status corral --no-pager --lines=0 | head -8',
  'corral doctor | tail -3',
  "corral run -- sh -c 'echo hello from job $CORRAL_JOB_ID'",
  'corral submit --name patient -- sleep 600',
  'corral health',
  'mkdir -p /etc/corral && printf \'[jobs]\\nkill-grace = "10s"\\n\' >/etc/corral/config.toml && systemctl reload corral; corral daemon status | grep config',
  'kill -9 $(systemctl show --property=MainPID --value corral); sleep 4; systemctl is-active corral; corral ls',
  'corral events | tail -3',
  'corral daemon backup /root/corral.db && ls -l /root/corral.db',
  'journalctl -u corral --no-pager -o cat | tail -3',
  'systemctl disable --now corral; corral health',
];

async function record(): Promise<string> {
  const scratch = fs.mkdtempSync(`${os.tmpdir()}/corral-transcript-`);
  try {
    fs.chmodSync(scratch, 0o755);
    fs.mkdirSync(`${scratch}/share`);
    fs.renameSync(await pack(`${scratch}/share`), `${scratch}/share/corral.tgz`);
    fs.copyFileSync(process.execPath, `${scratch}/share/node`);
    const box = await Box.boot(`${scratch}/box`, `${scratch}/share`);
    try {
      await box.must(['ln', '-s', '/mnt/node', '/usr/local/bin/node']);
      const env = {
        ...npmEnvironment(),
        npm_config_prefix: '/usr/local',
        npm_config_loglevel: 'error',
        PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin',
      };
      let shown = '';
      for (const step of steps) {
        const { typed, run } = typeof step === 'string' ? { typed: step, run: step } : step;
        const { stdout } = await box.run(['sh', '-c', `exec 2>&1; ${run}`], { env });
        shown += `# ${typed}\n${stdout.trimEnd()}\n`.replaceAll(/\n\n+/g, '\n');
      }
      return shown;
    } finally {
      await box.shutDown();
    }
  } finally {
    fs.rmSync(scratch, { recursive: true, force: true });
  }
}

if (whyNoBox !== false) throw new Error(whyNoBox);
const text = fs.readFileSync(document, 'utf8');
const [before, rest] = text.split(begin);
const after = rest?.split(end)[1];
if (before === undefined || after === undefined) throw new Error(`${document} has no place for the transcript`);
fs.writeFileSync(document, `${before}${begin}\n\`\`\`console\n${await record()}\`\`\`\n\n${end}${after}`);
