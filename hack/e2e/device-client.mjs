// A program without a browser signs in by the device grant, with openid-client.
//
//   node device-client.mjs MCP_URL
//
// SCOPE   what it asks for
//
// Prints a JSON line with the code that the person types, and one with what came of it.
import * as client from 'openid-client';

const [target] = process.argv.slice(2);
const issuer = new URL(target).origin;
const grant = 'urn:ietf:params:oauth:grant-type:device_code';
const say = (v) => console.log(JSON.stringify(v));

try {
  const insecure = { execute: [client.allowInsecureRequests], algorithm: 'oauth2' };
  const registered = await client.dynamicClientRegistration(new URL(issuer), {
    client_name: 'Terminal', grant_types: [grant, 'refresh_token'], token_endpoint_auth_method: 'none',
  }, client.None(), insecure);
  const begun = await client.initiateDeviceAuthorization(registered, { scope: process.env.SCOPE ?? '', resource: target });
  say({ userCode: begun.user_code, verificationURI: begun.verification_uri, complete: begun.verification_uri_complete ?? '', interval: begun.interval });
  const tokens = await client.pollDeviceAuthorizationGrant(registered, begun);
  const next = await client.refreshTokenGrant(registered, tokens.refresh_token);
  say({ scope: tokens.scope, accessToken: tokens.access_token, refreshed: Boolean(next.access_token) });
} catch (err) {
  say({ error: err.error ?? err.cause?.error ?? String(err), detail: String(err.error_description ?? err.message ?? '') });
}
