// The official TypeScript MCP client does everything a user's MCP client does:
// discover, register, authorize (headless), get a token, list and call tools.
//
//   node ts-client.mjs MCP_URL
//
// MODE=auto|legacy|<revision>  protocol negotiation (auto)
// LOGIN=user:password          at the identity provider (alice:alice-password)
// KEEP=scope,scope             scopes to leave ticked on the consent page (all)
// TOOLS=name,name              tools to call besides whoami
// STEP_UP=name                 then call this tool, which KEEP should not open: refused, the
//                              client asks for more, everything is ticked, and it calls again
// SECONDS=n                    then call whoami again and again for so long
// CLIENT_ID=id                 a client that the authorization server knows (it registers itself)
// DPOP=1                       with a token that is bound to a key
// REFRESH=1                    also spend the refresh token and call again
//
// Prints one JSON line about what happened; exit status 1 with {"error": …}.
import { randomBytes } from 'node:crypto';
import { Client, StreamableHTTPClientTransport, UnauthorizedError, DpopSession, refreshAuthorization, discoverOAuthServerInfo } from '@modelcontextprotocol/client';
import { walk } from './walk.mjs';

const [target] = process.argv.slice(2);
const env = process.env;
const [username, password] = (env.LOGIN ?? 'alice:alice-password').split(':');
let keep = env.KEEP === undefined ? () => true : (scope) => env.KEEP.split(',').includes(scope);
const mode = { auto: 'auto', legacy: 'legacy' }[env.MODE ?? 'auto'] ?? { pin: env.MODE };
const redirectURL = 'http://127.0.0.1:33418/callback';

class Provider {
  redirectUrl = redirectURL;
  clientMetadata = {
    client_name: 'End-to-end TypeScript client',
    redirect_uris: [redirectURL],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  };
  #state = randomBytes(16).toString('base64url');
  state() { return this.#state; }
  clientInformation() { return this.client ?? (env.CLIENT_ID && { client_id: env.CLIENT_ID }); }
  saveClientInformation(client) { this.client = client; }
  tokens() { return this.stored; }
  saveTokens(tokens) { this.stored = tokens; }
  codeVerifier() { return this.verifier; }
  saveCodeVerifier(verifier) { this.verifier = verifier; }
  discoveryState() { return this.discovered; }
  saveDiscoveryState(state) { this.discovered = state; }
  async redirectToAuthorization(url) {
    this.authorizationURL = url;
    const { params, visited, trail } = await walk(url, { redirectURL, username, password, keep });
    if (params.get('state') !== this.#state) throw new Error('the state came back changed');
    this.callback = params;
    this.visited = visited;
    this.trail = trail;
  }
}

const provider = new Provider();
if (env.DPOP) {
  const session = await DpopSession.create();
  provider.dpop = () => session;
}
const newClient = () => new Client({ name: 'e2e-ts', version: '1.0.0' }, { versionNegotiation: { mode } });
const newTransport = () => new StreamableHTTPClientTransport(new URL(target), { authProvider: provider });

let transport; // of the latest connection
async function connect() {
  transport = newTransport();
  try {
    const client = newClient();
    await client.connect(transport);
    return client; // no sign-in was asked for
  } catch (err) {
    if (!(err instanceof UnauthorizedError)) throw err;
  }
  if (!provider.callback) throw new Error('the client asked for no authorization');
  await transport.finishAuth(provider.callback); // checks state and iss (RFC 9207)
  return reconnect();
}

async function reconnect() {
  const client = newClient();
  transport = newTransport();
  await client.connect(transport);
  return client;
}

const text = (result) => result.content?.map((c) => c.text ?? '').join('');
const parsed = (s) => { try { return JSON.parse(s); } catch { return s; } };

async function call(client, name) {
  try {
    const result = await client.callTool({ name, arguments: {} });
    return { isError: result.isError ?? false, result: parsed(text(result)) };
  } catch (err) {
    return { error: `${err.name}: ${err.message}` };
  }
}

// stepUp calls a tool that the token does not open. The client asks for more by
// itself; only the person's part and the second call are ours.
async function stepUp(client, name) {
  keep = () => true;
  provider.authorizationURL = provider.callback = undefined;
  const report = { asked: '', granted: '', refused: '' };
  try {
    await client.callTool({ name, arguments: {} });
    return report;
  } catch (err) {
    report.refused = err.name;
    if (!(err instanceof UnauthorizedError) || !provider.callback) return { ...report, call: { error: `${err.name}: ${err.message}` } };
  }
  report.asked = provider.authorizationURL.searchParams.get('scope') ?? '';
  await transport.finishAuth(provider.callback);
  report.granted = provider.stored.scope;
  const again = await reconnect();
  report.call = await call(again, name);
  report.whoami = await call(again, 'whoami');
  await again.close();
  return report;
}

async function refresh() {
  const info = await discoverOAuthServerInfo(new URL(target));
  const before = provider.stored;
  const after = await refreshAuthorization(info.authorizationServerUrl, {
    metadata: info.authorizationServerMetadata, clientInformation: provider.client, refreshToken: before.refresh_token,
    dpop: provider.dpop?.(),
    resource: new URL(target),
  });
  provider.stored = after;
  return { newAccessToken: after.access_token !== before.access_token, newRefreshToken: after.refresh_token !== before.refresh_token, scope: after.scope };
}

const report = { client: 'typescript', mode: env.MODE ?? 'auto' };
try {
  const client = await connect();
  const { tools } = await client.listTools();
  Object.assign(report, {
    protocolVersion: client.getNegotiatedProtocolVersion(),
    requestedScope: provider.authorizationURL?.searchParams.get('scope') ?? '',
    resource: provider.authorizationURL?.searchParams.get('resource') ?? '',
    iss: provider.callback?.get('iss') ?? '',
    grantedScope: provider.stored?.scope ?? '',
    tokenType: provider.stored?.token_type ?? '',
    hasRefreshToken: Boolean(provider.stored?.refresh_token),
    registered: Boolean(provider.client?.client_id),
    authorizationServer: provider.authorizationURL?.origin ?? '',
    offered: provider.trail?.flatMap((p) => p.offered) ?? [],
    tools: tools.map((t) => t.name),
    whoami: await call(client, 'whoami'),
    calls: {},
    visited: provider.visited,
  });
  for (const name of (env.TOOLS ?? '').split(',').filter(Boolean)) report.calls[name] = await call(client, name);
  if (env.SECONDS) {
    report.loop = { calls: 0, failed: 0, errors: [] };
    for (const end = Date.now() + 1000 * Number(env.SECONDS); Date.now() < end; await new Promise((r) => setTimeout(r, 20))) {
      const { error, isError } = await call(client, 'whoami');
      report.loop.calls++;
      if (error || isError) {
        report.loop.failed++;
        report.loop.errors = [...report.loop.errors, error ?? 'isError'].slice(-5);
      }
    }
  }
  if (env.STEP_UP) report.stepUp = await stepUp(client, env.STEP_UP);
  if (env.REFRESH) {
    report.refresh = await refresh();
    report.afterRefresh = await call(client, 'whoami');
  }
  await client.close();
  console.log(JSON.stringify(report));
} catch (err) {
  console.log(JSON.stringify({ ...report, error: `${err.name}: ${err.message}`, cause: String(err.cause ?? ''), visited: provider.visited }));
  process.exit(1);
}
process.exit(0);
