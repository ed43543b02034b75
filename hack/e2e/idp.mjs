// A real OpenID provider for the tests: the certified oidc-provider, with a
// login form, a consent form, two users, groups, refresh tokens and PKCE required.
//
//   node idp.mjs PORT REDIRECT_URI [REDIRECT_URI...]
//
// CLIENT_ID, CLIENT_SECRET   the one client it knows (mfa-e2e, e2e-secret)
// EXTRA_GROUPS=N             gives alice N groups more
// CLAIMS=id_token|userinfo   where e-mail and groups appear (userinfo, as the
//                            specification has it: OpenID Connect Core 5.4)
// ISSUER_HOST                127.0.0.1
// RESOURCE_TOKENS=jwt|opaque makes it an authorization server for MCP servers: clients
//                            register themselves, and name the MCP server in resource
// AUDIENCE=NAME              is in tokens in the place of the MCP server's URL
// SCOPES="NAME NAME"         are scopes besides
// ALICE=ADDRESS              is the e-mail address of alice (alice@example.com)
// ALICE_GROUPS="NAME NAME"   are her groups, which come with her profile then, as Keycloak's do
// JWKS_PATH=, INTROSPECTION_PATH=  where these are (/jwks, /token/introspection)
// SIGNED_ANSWERS=1           signs what it says of a token (RFC 9701)
// BACKCHANNEL_LOGOUT=URL     is told when a person's session here ends
// LOGOUT_SID=beside|alone    names that session, beside the person or in their place
// ISSUER                     the whole issuer, if a proxy with TLS is in front
//
// DELETE /users/NAME removes a user, as an administrator would who lets somebody go.
//
// Prints one JSON line {"issuer": …} once it answers. Memory only.
import { generateKeyPairSync } from 'node:crypto';
import http from 'node:http';
import Provider from 'oidc-provider';

const [port, ...redirectURIs] = process.argv.slice(2);
if (!port || redirectURIs.length === 0) {
  console.error('usage: idp.mjs PORT REDIRECT_URI...');
  process.exit(2);
}
const env = process.env;
const own = `http://${env.ISSUER_HOST ?? '127.0.0.1'}:${port}`;
const issuer = env.ISSUER ?? own;

const users = {
  alice: {
    password: 'alice-password',
    claims: {
      sub: 'u-1001', preferred_username: 'alice', name: 'Alice Example',
      email: env.ALICE ?? 'alice@example.com', email_verified: true, groups: [...(env.ALICE_GROUPS ?? 'engineering admins').split(' '), ...Array.from({ length: Number(process.env.EXTRA_GROUPS ?? 0) }, (_, i) => `department-team-${1000 + i}`)],
    },
  },
  bob: {
    password: 'bob-password',
    claims: {
      sub: 'u-1002', preferred_username: 'bob', name: 'Bob Elsewhere',
      email: 'bob@elsewhere.example', email_verified: true, groups: ['guests'],
    },
  },
};
const bySubject = Object.fromEntries(Object.values(users).map((u) => [u.claims.sub, u.claims]));

// What an access token, or the answer about one, says of the person.
const said = ({ email, email_verified, name, groups }) => ({ email, email_verified, name, groups });
const more = (env.SCOPES ?? '').split(' ').filter(Boolean);
const guarded = ['notes:read', 'notes:write', ...more];
const forResources = env.RESOURCE_TOKENS && {
  registration: { enabled: true },
  introspection: { enabled: true, allowedPolicy: () => true },
  jwtIntrospection: { enabled: Boolean(env.SIGNED_ANSWERS) },
  revocation: { enabled: true },
  resourceIndicators: {
    enabled: true,
    useGrantedResource: () => true,
    getResourceServerInfo: (_, resource) => ({ scope: guarded.join(' '), audience: env.AUDIENCE ?? resource, accessTokenTTL: 300, accessTokenFormat: env.RESOURCE_TOKENS }),
  },
};

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const provider = new Provider(issuer, {
  clients: [{
    client_id: env.CLIENT_ID ?? 'mfa-e2e',
    client_secret: env.CLIENT_SECRET ?? 'e2e-secret',
    redirect_uris: redirectURIs,
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    ...(env.BACKCHANNEL_LOGOUT && { backchannel_logout_uri: env.BACKCHANNEL_LOGOUT, backchannel_logout_session_required: Boolean(env.LOGOUT_SID) }),
    ...(env.SIGNED_ANSWERS && { introspection_signed_response_alg: 'RS256' }),
  }],
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'e2e', use: 'sig', alg: 'RS256' }] },
  cookies: { keys: ['only-for-tests'] },
  routes: { ...(env.JWKS_PATH && { jwks: env.JWKS_PATH }), ...(env.INTROSPECTION_PATH && { introspection: env.INTROSPECTION_PATH }) },
  pkce: { required: () => true },
  scopes: ['openid', 'offline_access', 'profile', 'email', 'groups', ...(env.RESOURCE_TOKENS ? guarded : more)],
  claims: {
    openid: ['sub'],
    profile: ['name', 'preferred_username', ...(env.ALICE_GROUPS ? ['groups'] : [])],
    email: ['email', 'email_verified'],
    groups: ['groups'],
  },
  conformIdTokenClaims: env.CLAIMS !== 'id_token',
  issueRefreshToken: async (_, client, code) => client.grantTypeAllowed('refresh_token') && code.scopes.has('offline_access'),
  features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: Boolean(env.BACKCHANNEL_LOGOUT) }, ...forResources },
  extraTokenClaims: (_, token) => env.RESOURCE_TOKENS && token.accountId && said(bySubject[token.accountId]),
  fetch: (url, { dispatcher, ...options }) => fetch(url, options), // its own reaches no address of this machine
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: async (_, sub) => bySubject[sub] && { accountId: sub, claims: async () => bySubject[sub] },
  ttl: { AccessToken: 600, AuthorizationCode: 60, IdToken: 600, RefreshToken: 3600, Interaction: 600, Session: 3600, Grant: 3600 },
});
provider.on('server_error', (_, err) => console.error('idp: server_error', err));
for (const event of ['authorization.error', 'grant.error', 'userinfo.error', 'backchannel.error']) {
  provider.on(event, (_, err) => console.error(`idp: ${event}: ${err.message} ${err.error_description ?? ''}`));
}

if (env.LOGOUT_SID === 'alone') {
  const payload = provider.IdToken.prototype.payload;
  provider.IdToken.prototype.payload = async function () {
    const { sub, ...rest } = await payload.call(this);
    return rest.events ? rest : { sub, ...rest };
  };
}

const escape = (s) => String(s).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const page = (title, body) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>${title}</title>
<meta name="viewport" content="width=device-width"><main><h1>${title}</h1>${body}</main></html>`;
const loginPage = (uid, message = '') => page('Sign in to Example Corp', `<p role="status">${escape(message)}</p>
<form method="post" action="/interaction/${uid}/login">
<p><label>Username <input name="username" autocomplete="username"></label></p>
<p><label>Password <input name="password" type="password" autocomplete="current-password"></label></p>
<p><button type="submit">Sign in</button></p></form>`);
const consentPage = (uid, params) => page('Allow access?', `<p>${escape(params.client_id)} wants: ${escape(params.scope)}</p>
<form method="post" action="/interaction/${uid}/confirm"><p><button type="submit">Continue</button></p></form>
<form method="post" action="/interaction/${uid}/abort"><p><button type="submit">Cancel</button></p></form>`);

async function readForm(req) {
  let body = '';
  for await (const chunk of req) body += chunk;
  return new URLSearchParams(body);
}

async function interaction(req, res, uid, action) {
  const html = (text, status = 200) => {
    res.writeHead(status, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
    res.end(text);
  };
  const details = await provider.interactionDetails(req, res);
  if (req.method === 'GET') {
    return html(details.prompt.name === 'login' ? loginPage(uid) : consentPage(uid, details.params));
  }
  switch (action) {
    case 'login': {
      const form = await readForm(req);
      const user = users[form.get('username')];
      if (!user || user.password !== form.get('password')) return html(loginPage(uid, 'Wrong username or password.'), 401);
      return provider.interactionFinished(req, res, { login: { accountId: user.claims.sub } }, { mergeWithLastSubmission: false });
    }
    case 'confirm': {
      const { session, params, prompt } = details;
      const grant = details.grantId
        ? await provider.Grant.find(details.grantId)
        : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
      if (prompt.details.missingOIDCScope) grant.addOIDCScope(prompt.details.missingOIDCScope.join(' '));
      for (const [resource, scopes] of Object.entries(prompt.details.missingResourceScopes ?? {})) grant.addResourceScope(resource, scopes.join(' '));
      if (prompt.details.missingOIDCClaims) grant.addOIDCClaims(prompt.details.missingOIDCClaims);
      return provider.interactionFinished(req, res, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true });
    }
    case 'abort':
      return provider.interactionFinished(req, res, { error: 'access_denied', error_description: 'The user pressed Cancel.' });
    default:
      return html(page('Not found', ''), 404);
  }
}

provider.proxy = env.ISSUER !== undefined; // believe X-Forwarded-Proto and -Host
const oidc = provider.callback();
http.createServer((req, res) => {
  const leaver = req.method === 'DELETE' && /^\/users\/(\w+)$/.exec(req.url);
  if (leaver) {
    const user = users[leaver[1]];
    if (user) {
      delete users[leaver[1]];
      delete bySubject[user.claims.sub];
    }
    return res.writeHead(user ? 204 : 404).end();
  }
  // A client registers with the scopes that it knows of at first, and this provider
  // would never give it others.
  if (env.RESOURCE_TOKENS && req.method === 'POST' && req.url === '/reg') {
    let body = '';
    req.on('data', (chunk) => { body += chunk; }).on('end', () => {
      req.body = { ...JSON.parse(body), scope: undefined };
      oidc(req, res);
    });
    return;
  }
  const match = /^\/interaction\/([^/?]+)(?:\/(\w+))?$/.exec(req.url);
  if (!match) return oidc(req, res);
  interaction(req, res, match[1], match[2]).catch((err) => {
    console.error('idp: interaction', err.message);
    if (!res.headersSent) res.writeHead(400).end(err.message);
  });
}).listen(Number(port), new URL(own).hostname, () => console.log(JSON.stringify({ issuer })));
