// Clients of their own, without a person: the official TypeScript client with what the
// conformance suite of MCP hands to a client under test.
//
//   node machine-client.mjs MCP_URL
//
// MCP_CONFORMANCE_SCENARIO  auth/client-credentials-jwt, auth/client-credentials-basic,
//                           auth/enterprise-managed-authorization or auth/wif-jwt-bearer
// MCP_CONFORMANCE_CONTEXT   JSON: ids, secrets, keys and assertions, as the suite writes them
// ASSERTION=name            of auth/wif-jwt-bearer: valid_jwt, wrong_audience_jwt, expired_jwt or none
// SCOPE=scope               asked for by auth/wif-jwt-bearer
//
// Prints one JSON line about what happened; exit status 1 with {"error": …}.
import {
  Client, StreamableHTTPClientTransport, ClientCredentialsProvider, PrivateKeyJwtProvider, CrossAppAccessProvider,
  requestJwtAuthorizationGrant, discoverOAuthServerInfo,
} from '@modelcontextprotocol/client';

const [target] = process.argv.slice(2);
const { MCP_CONFORMANCE_SCENARIO: scenario, MCP_CONFORMANCE_CONTEXT: context, ASSERTION: assertion = 'valid_jwt', SCOPE: scope } = process.env;
const given = JSON.parse(context ?? '{}');

// Workload shows the JWT of its platform, once.
class Workload {
  redirectUrl = undefined;
  clientMetadata = { redirect_uris: [], grant_types: ['urn:ietf:params:oauth:grant-type:jwt-bearer'], token_endpoint_auth_method: 'none' };
  clientInformation() { return { client_id: given.client_id }; }
  tokens() { return this.stored; }
  saveTokens(tokens) { this.stored = tokens; }
  redirectToAuthorization() { throw new Error('a workload has no browser'); }
  saveCodeVerifier() {}
  codeVerifier() { return ''; }
  prepareTokenRequest(asked) {
    if (this.tried) throw new Error('the assertion was refused');
    this.tried = true;
    const params = new URLSearchParams({ grant_type: this.clientMetadata.grant_types[0] });
    if (assertion !== 'none') params.set('assertion', given[assertion]);
    if (scope ?? asked) params.set('scope', scope ?? asked);
    return params;
  }
}

async function provider() {
  const { authorizationServerMetadata } = await discoverOAuthServerInfo(new URL(target));
  const client = { clientId: given.client_id, clientSecret: given.client_secret, expectedIssuer: authorizationServerMetadata.issuer };
  switch (scenario) {
    case 'auth/client-credentials-basic': return new ClientCredentialsProvider(client);
    case 'auth/client-credentials-jwt': return new PrivateKeyJwtProvider({ ...client, privateKey: given.private_key_pem, algorithm: given.signing_algorithm });
    case 'auth/wif-jwt-bearer': return new Workload();
    case 'auth/enterprise-managed-authorization': return new CrossAppAccessProvider({
      ...client,
      assertion: async ({ authorizationServerUrl, resourceUrl, scope: asked, fetchFn }) => {
        const audience = authorizationServerUrl.replace(/\/$/, ''); // the issuer, which is written without one
        const { jwtAuthGrant } = await requestJwtAuthorizationGrant({
          tokenEndpoint: given.idp_token_endpoint, audience, resource: resourceUrl, idToken: given.idp_id_token, clientId: given.idp_client_id, scope: asked, fetchFn,
        });
        return jwtAuthGrant;
      },
    });
    default: throw new Error(`no scenario ${scenario}`);
  }
}

try {
  const authProvider = await provider();
  const client = new Client({ name: 'e2e-machine', version: '1.0.0' });
  await client.connect(new StreamableHTTPClientTransport(new URL(target), { authProvider }));
  const { tools } = await client.listTools();
  const whoami = tools.some((t) => t.name === 'whoami') && (await client.callTool({ name: 'whoami', arguments: {} })).content[0].text;
  const { scope: granted, refresh_token } = authProvider.tokens();
  await client.close();
  console.log(JSON.stringify({ tools: tools.map((t) => t.name), whoami: whoami ? JSON.parse(whoami) : null, scope: granted ?? '', refreshToken: Boolean(refresh_token) }));
} catch (err) {
  console.log(JSON.stringify({ error: `${err.name}: ${err.message}` }));
  process.exit(1);
}
process.exit(0);
