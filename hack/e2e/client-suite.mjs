// The official conformance suite of MCP, its mode for clients: the suite plays the
// servers, and one of the clients here is the one under test.
//
//   node client-suite.mjs SCENARIO RESULTS CLIENT [PRELOADED]
//
// The variables of the environment reach the client. Prints one JSON line: every check
// that the suite made, and its exit status.
import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';

const [scenario, results, client, preloaded] = process.argv.slice(2);
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const command = [process.execPath, ...(preloaded ? ['--import', here(preloaded)] : []), here(client)].join(' ');
const suite = spawn(process.execPath, [here('node_modules/.bin/conformance'), 'client', '--command', command, '--scenario', scenario, '-o', results], { stdio: ['ignore', 'pipe', 'pipe'] });
let output = '';
suite.stdout.setEncoding('utf8').on('data', (chunk) => { output += chunk; });
suite.stderr.setEncoding('utf8').on('data', (chunk) => { output += chunk; });
const exit = await new Promise((done) => suite.on('close', (code) => done(code ?? -1)));

const checks = [];
for (const entry of await readdir(results, { recursive: true })) {
  if (!entry.endsWith('checks.json')) continue;
  for (const c of JSON.parse(await readFile(join(results, entry), 'utf8'))) if (c.status !== 'INFO') checks.push(`${c.id} ${c.status}`);
}
console.log(JSON.stringify({ exit, checks: [...new Set(checks)].sort(), output: output.slice(-4000) }));
process.exit(0);
