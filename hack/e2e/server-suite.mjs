// The official conformance suite of MCP, its mode for servers.
//
//   TOKEN=... node server-suite.mjs URL REVISION RESULTS
//
// Runs what the revision requires, with the token if there is one, and prints one
// JSON line: every check it made, by scenario.
import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';

const [url, revision, results] = process.argv.slice(2);
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const env = { ...process.env, ORIGIN: new URL(url).origin };
if (env.TOKEN) env.NODE_OPTIONS = `--import ${here('with-token.mjs')}`;
const suite = spawn(process.execPath, [here('node_modules/.bin/conformance'), 'server', '--url', url, '--requirements', revision, '-o', results], { env, stdio: ['ignore', 'pipe', 'pipe'] });
let output = '';
suite.stdout.setEncoding('utf8').on('data', (chunk) => { output += chunk; });
suite.stderr.setEncoding('utf8').on('data', (chunk) => { output += chunk; });
const exit = await new Promise((done) => suite.on('close', (code) => done(code ?? -1)));

const checks = {};
for (const entry of await readdir(results, { recursive: true })) {
  if (!entry.endsWith('checks.json')) continue;
  const scenario = entry.split('/')[0].replace(/-\d{4}-\d{2}-\d{2}T.*$/, '');
  const seen = (checks[scenario] ??= []);
  for (const c of JSON.parse(await readFile(join(results, entry), 'utf8'))) seen.push(`${c.id} ${c.status}`);
  seen.sort();
}
console.log(JSON.stringify({ exit, checks, output: output.slice(-6000) }));
