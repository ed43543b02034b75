// The smallest client that holds a token in its hand: it registers, signs in as
// alice and prints what /token answers, as one JSON line.
//
//   node token.mjs MCP_URL
import { createHash, randomBytes } from 'node:crypto';
import { walk } from '../e2e/walk.mjs';

const [resource] = process.argv.slice(2);
const { origin } = new URL(resource);
const redirectURL = 'http://127.0.0.1:33418/callback';
const post = async (path, headers, body) => {
  const response = await fetch(origin + path, { method: 'POST', headers, body });
  const text = await response.text();
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${text}`);
  return JSON.parse(text);
};

const { client_id } = await post('/register', { 'content-type': 'application/json' }, JSON.stringify({
  client_name: 'Cluster test', redirect_uris: [redirectURL], token_endpoint_auth_method: 'none',
  grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
}));
const verifier = randomBytes(32).toString('base64url');
const url = new URL('/authorize', origin);
url.search = new URLSearchParams({
  response_type: 'code', client_id, redirect_uri: redirectURL, state: 'state', resource,
  code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256',
});
const { params } = await walk(url, { redirectURL, username: 'alice', password: 'alice-password' });
if (!params.get('code')) throw new Error(`no code: ${params}`);
console.log(JSON.stringify(await post('/token', {}, new URLSearchParams({
  grant_type: 'authorization_code', code: params.get('code'), redirect_uri: redirectURL, code_verifier: verifier, client_id, resource,
}))));
