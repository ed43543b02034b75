// The official conformance suite of MCP, its mode for authorization servers,
// with the browser step done headless.
//
//   LOGIN=user:password node conformance.mjs ISSUER RESOURCE PORT RESULTS
//
// Registers a client, runs the suite and prints one JSON line: its exit status
// and every check it made.
import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { walk } from './walk.mjs';

const [issuer, resource, port, results] = process.argv.slice(2);
const [username, password] = (process.env.LOGIN ?? '').split(':');
const redirectURL = `http://127.0.0.1:${port}/callback`;

const registration = await fetch(`${issuer}/register`, {
  method: 'POST', headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ client_name: 'MCP conformance suite', redirect_uris: [redirectURL], token_endpoint_auth_method: 'none', grant_types: ['authorization_code'], response_types: ['code'] }),
});
if (registration.status !== 201) throw new Error(`registration: ${registration.status} ${await registration.text()}`);
const { client_id: client } = await registration.json();

const suite = spawn(process.execPath, [
  fileURLToPath(new URL('node_modules/.bin/conformance', import.meta.url)), 'authorization',
  '--url', issuer, '--client-id', client, '--resource', resource, '-p', port, '-o', results,
], { stdio: ['ignore', 'pipe', 'pipe'] });

let output = '';
let walked;
async function browse(url) {
  const { params } = await walk(url, { redirectURL, username, password });
  const answer = await fetch(`${redirectURL}?${params}`);
  await answer.text();
}
function read(chunk) {
  output += chunk;
  if (walked) return;
  const url = output.match(new RegExp(`${issuer.replace(/[.*+?^$()|[\]\\]/g, '\\$&')}/authorize\\?\\S+(?=\\s)`))?.[0];
  if (url) walked = browse(url).catch((err) => { output += `\nbrowser: ${err.message}\n`; suite.kill(); });
}
suite.stdout.setEncoding('utf8').on('data', read);
suite.stderr.setEncoding('utf8').on('data', read);
const exit = await new Promise((done) => suite.on('close', (code) => done(code ?? -1)));
await walked;

const checks = [];
for (const entry of await readdir(results, { recursive: true })) {
  if (entry.endsWith('checks.json')) {
    for (const c of JSON.parse(await readFile(join(results, entry), 'utf8'))) checks.push({ scenario: entry, id: c.id, status: c.status, error: c.errorMessage ?? '' });
  }
}
console.log(JSON.stringify({ exit, walked: walked !== undefined, checks, output: exit === 0 ? '' : output.slice(-4000) }));
process.exit(0);
