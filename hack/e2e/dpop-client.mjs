// Clients of other makers sign in and call an MCP server with tokens that are bound
// to a key (RFC 9449).
//
//   node dpop-client.mjs MCP_URL oauth4webapi|openid-client|dpop
//
// LOGIN=user:password  at the identity provider (alice:alice-password)
// PUSHED=1             send the authorization request to the server beforehand (RFC 9126)
//
// Prints one JSON line about what happened; exit status 1 with {"error": …}.
import { createHash, randomBytes } from 'node:crypto';
import * as dpop from 'dpop';
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';
import { walk } from './walk.mjs';

const [target, library] = process.argv.slice(2);
const [username, password] = (process.env.LOGIN ?? 'alice:alice-password').split(':');
const redirectURL = 'http://127.0.0.1:33419/callback';
const issuer = new URL(new URL(target).origin);
const insecure = { [oauth.allowInsecureRequests]: true };
const metadata = {
  client_name: `End-to-end ${library}`, redirect_uris: [redirectURL], grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'], token_endpoint_auth_method: 'none', dpop_bound_access_tokens: true,
};
const initialize = JSON.stringify({
  jsonrpc: '2.0', id: 1, method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: library, version: '1' } },
});
const posts = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' };

const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure }));

// approve is the person's part: it returns the parameters of the redirect.
async function approve(url, state) {
  const { params } = await walk(url, { redirectURL, username, password, keep: () => true });
  if (params.get('error')) throw new Error(`the authorization ended with ${params}`);
  if (params.get('state') !== state) throw new Error('the state came back changed');
  return params;
}

const register = async () => {
  const answer = await oauth.dynamicClientRegistrationRequest(server, metadata, insecure);
  return oauth.processDynamicClientRegistrationResponse(answer);
};

const bound = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).cnf?.jkt;

// report says what came of a sign-in: the tokens, and how calls with them end.
async function report({ tokens, thumbprint, call, refresh }) {
  const bearer = await fetch(`${target}/probe/echo`, { headers: { Authorization: `Bearer ${tokens.access_token}` } });
  const out = {
    tokenType: tokens.token_type.toLowerCase(), boundToKey: bound(tokens.access_token) === thumbprint,
    get: await call('GET', `${target}/probe/echo?q=1`), post: await call('POST', target, initialize),
    asBearer: bearer.status, challenge: bearer.headers.get('www-authenticate') ?? '',
    timeout: tokens.refresh_token_timeout ?? 0,
  };
  const next = await refresh();
  return { ...out, refreshedType: next.token_type.toLowerCase(), refreshedToKey: bound(next.access_token) === thumbprint, afterRefresh: await call('GET', `${target}/probe/echo`, undefined, next.access_token) };
}

async function withOAuth4WebAPI() {
  const client = await register();
  const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'));
  const thumbprint = await DPoP.calculateThumbprint();
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const params = new URLSearchParams({
    client_id: client.client_id, redirect_uri: redirectURL, response_type: 'code', state, resource: target,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256', dpop_jkt: thumbprint,
  });
  let url = new URL(server.authorization_endpoint);
  url.search = params;
  // A nonce is demanded at most once in a row; the client has it then.
  const again = async (ask) => {
    try { return await ask(); } catch (err) {
      if (!oauth.isDPoPNonceError(err)) throw err;
      return ask();
    }
  };
  if (process.env.PUSHED) {
    params.delete('dpop_jkt'); // the proof says it
    const pushed = await again(async () => oauth.processPushedAuthorizationResponse(server, client,
      await oauth.pushedAuthorizationRequest(server, client, oauth.None(), params, { DPoP, ...insecure })));
    url = new URL(server.authorization_endpoint);
    url.search = new URLSearchParams({ client_id: client.client_id, request_uri: pushed.request_uri });
  }
  const answer = oauth.validateAuthResponse(server, client, await approve(url, state), state);
  const options = { DPoP, ...insecure, additionalParameters: { resource: target } };
  const tokens = await again(async () => oauth.processAuthorizationCodeResponse(server, client,
    await oauth.authorizationCodeGrantRequest(server, client, oauth.None(), answer, redirectURL, verifier, options)));
  const call = async (method, address, body, token = tokens.access_token) => {
    const send = () => oauth.protectedResourceRequest(token, method, new URL(address), new Headers(posts), body, { DPoP, ...insecure });
    return (await again(send)).status;
  };
  const refresh = () => again(async () => oauth.processRefreshTokenResponse(server, client,
    await oauth.refreshTokenGrantRequest(server, client, oauth.None(), tokens.refresh_token, { DPoP, ...insecure })));
  return report({ tokens, thumbprint, call, refresh });
}

async function withOpenIDClient() {
  const { client_id } = await register();
  const config = await openid.discovery(issuer, client_id, { token_endpoint_auth_method: 'none' }, openid.None(), { algorithm: 'oauth2', execute: [openid.allowInsecureRequests] });
  const DPoP = openid.getDPoPHandle(config, await openid.randomDPoPKeyPair('ES256'));
  const thumbprint = await DPoP.calculateThumbprint();
  const verifier = openid.randomPKCECodeVerifier();
  const state = openid.randomState();
  const parameters = {
    redirect_uri: redirectURL, state, resource: target, code_challenge: await openid.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  };
  const url = process.env.PUSHED
    ? await openid.buildAuthorizationUrlWithPAR(config, parameters, { DPoP })
    : openid.buildAuthorizationUrl(config, { ...parameters, dpop_jkt: thumbprint });
  const came = new URL(redirectURL);
  came.search = await approve(url, state);
  const tokens = await openid.authorizationCodeGrant(config, came, { pkceCodeVerifier: verifier, expectedState: state }, { resource: target }, { DPoP });
  const call = async (method, address, body, token = tokens.access_token) =>
    (await openid.fetchProtectedResource(config, token, new URL(address), method, body, new Headers(posts), { DPoP })).status;
  return report({ tokens, thumbprint, call, refresh: () => openid.refreshTokenGrant(config, tokens.refresh_token, {}, { DPoP }) });
}

// The library that makes proofs and nothing else, in a client written by hand.
async function withDPoP() {
  const { client_id } = await register();
  const keys = await dpop.generateKeyPair('Ed25519', { extractable: true });
  const thumbprint = await dpop.calculateThumbprint(keys.publicKey);
  let nonce;
  const send = async (address, method, init, token) => {
    const { origin, pathname } = new URL(address);
    let answer;
    for (let tries = 0; tries < 2; tries++) {
      const proof = await dpop.generateProof(keys, origin + pathname, method, nonce, token);
      const headers = { ...init.headers, DPoP: proof, ...(token && { Authorization: `DPoP ${token}` }) };
      answer = await fetch(address, { ...init, method, headers });
      nonce = answer.headers.get('dpop-nonce') ?? nonce;
      const refused = answer.status === 401 ? answer.headers.get('www-authenticate') : await answer.clone().text();
      if (![400, 401].includes(answer.status) || !refused?.includes('use_dpop_nonce')) break;
    }
    return answer;
  };
  const token = async (form) => {
    const answer = await send(server.token_endpoint, 'POST', { body: new URLSearchParams({ client_id, ...form }), headers: {} });
    if (answer.status !== 200) throw new Error(`/token: ${answer.status} ${await answer.text()}`);
    return answer.json();
  };
  const verifier = randomBytes(32).toString('base64url');
  const state = randomBytes(16).toString('base64url');
  const url = new URL(server.authorization_endpoint);
  url.search = new URLSearchParams({
    client_id, redirect_uri: redirectURL, response_type: 'code', state, resource: target,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256', dpop_jkt: thumbprint,
  });
  const came = await approve(url, state);
  const tokens = await token({ grant_type: 'authorization_code', code: came.get('code'), code_verifier: verifier, redirect_uri: redirectURL });
  const call = async (method, address, body, access = tokens.access_token) => (await send(address, method, { headers: posts, body }, access)).status;
  return report({ tokens, thumbprint, call, refresh: () => token({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token }) });
}

try {
  const run = { oauth4webapi: withOAuth4WebAPI, 'openid-client': withOpenIDClient, dpop: withDPoP }[library];
  console.log(JSON.stringify(await run()));
} catch (err) {
  console.log(JSON.stringify({ error: `${err.name}: ${err.message}${err.cause ? ` (${JSON.stringify(err.cause) ?? err.cause})` : ''}` }));
  process.exitCode = 1;
}
