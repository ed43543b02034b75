package migrate

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"
)

func obot() Kind {
	options := []Option{
		{Name: "DATABASE_DSN", Becomes: "guard.postgres.urlFile", Secret: true, Note: "only PostgreSQL, and only what must happen once is kept there; tokens are not stored. SQLite has no counterpart: one replica remembers by itself"},
		{Name: "OAUTH_CLIENT_ID", Becomes: "provider.clientID"},
		{Name: "OAUTH_CLIENT_SECRET", Becomes: "provider.clientSecretFile", Secret: true},
		{Name: "OAUTH_AUTHORIZE_URL", Becomes: "provider.name", Note: "says which provider it is; its endpoints are known or discovered"},
		{Name: "OAUTH_JWKS_URL", Note: "tokens of the provider were accepted in place of the proxy's own, whatever their audience; see authorizationServers for a way that names the audience"},
		{Name: "SCOPES_SUPPORTED", Becomes: "proxy.hosts[].providerToken.scopes", Note: "those besides openid, email and profile: what the MCP server may do at the provider in the person's name. Clients ask for the scopes of the MCP server and not for these"},
		{Name: "MCP_SERVER_URL", Becomes: "proxy.hosts[].endpoint"},
		{Name: "ENCRYPTION_KEY", Becomes: "keys.seedFiles", Secret: true},
		{Name: "PORT", Becomes: "listen.http"},
		{Name: "HOST", Becomes: "listen.http"},
		{Name: "ROUTE_PREFIX", Note: "the paths of the authorization server are fixed here, below no prefix"},
		{Name: "VERBOSE", Becomes: "logging.level"},
		{Name: "MODE", Becomes: "proxy.hosts[].serve.enabled", Note: `"proxy" is a served host, "forward_auth" a gateway that asks`},
	}
	variable := func(name string) (string, bool) {
		return name, slices.ContainsFunc(options, func(o Option) bool { return o.Name == name })
	}
	reader := shell{
		program: []string{"mcp-oauth-proxy"}, variable: variable,
		flag: func(name string) string {
			if name == "v" {
				name = "verbose"
			}
			return strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		},
		boolean: func(option string) bool { return option == "VERBOSE" },
	}
	return Kind{
		Name: "obot", Title: "obot mcp-oauth-proxy", Home: "https://github.com/obot-platform/mcp-oauth-proxy", Version: "of July 2026 (fe8b191)",
		Reads: "a file of variables (`NAME=value`, with or without `export`), its command line, or its `docker run`", Options: options, read: reader.read, translate: fromObot,
		About: "The MCP server gets the same four headers: `X-Forwarded-User`, `-Email`, `-Name` and `-Access-Token`. `X-Forwarded-User` begins with the provider here (`google:1081…`), so that people of two providers are never one. Each header is set on every request: `-` where there is nothing to say.",
	}
}

func fromObot(t *translation) {
	for _, required := range []string{"OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET", "OAUTH_AUTHORIZE_URL", "MCP_SERVER_URL"} {
		if !t.has(required) {
			t.mistake("", "%s is required", required)
		}
	}
	if key := t.text("ENCRYPTION_KEY"); key != "" {
		if _, err := base64.StdEncoding.DecodeString(key); err != nil && !strings.HasPrefix(key, "your-") {
			t.mistake("ENCRYPTION_KEY", "is not base64")
		}
	}
	t.obotProvider()
	t.carryText("OAUTH_CLIENT_ID", "provider.clientID")
	t.secretOf("OAUTH_CLIENT_SECRET", "provider.clientSecretFile", "client-secret")

	upstream := t.upstream("MCP_SERVER_URL", t.text("MCP_SERVER_URL"))
	served := true
	switch mode := t.text("MODE"); mode {
	case "", "proxy":
	case "forward_auth":
		served = false
		t.step("Let the gateway ask /authenticate, as docs/gateways/README.md shows for each, and copy the headers of docs/identity.md")
	case "middleware":
		t.mistake("MODE", `"middleware" is the proxy as a Go library, which has no file; translate a configuration of "proxy" or "forward_auth"`)
	default:
		t.mistake("MODE", "%q is not one of proxy, forward_auth, middleware", mode)
	}
	public := t.public("")
	at := t.host(0, public, upstream, served)
	t.doc.set("identityHeaders.preset", "forwarded", "the names of the headers that the MCP server knows")
	t.doc.set(at+".providerToken.token", "access", "X-Forwarded-Access-Token: the MCP server acts at the provider in the person's name. Take the section away if it does not")
	if scopes := t.obotScopes(); len(scopes) > 0 {
		t.carry("SCOPES_SUPPORTED", at+".providerToken.scopes", scopes)
	}
	if dsn := t.text("DATABASE_DSN"); strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		t.carry("DATABASE_DSN", "guard.backend", "postgres")
		t.secret("guard.postgres.urlFile", "postgres-url", "DATABASE_DSN", dsn)
	} else if dsn != "" {
		t.lost("DATABASE_DSN", "SQLite: one replica remembers by itself, and nothing is stored")
	}
	if !t.request.Chart {
		t.seed("ENCRYPTION_KEY")
		host, port := t.text("HOST"), t.text("PORT")
		if port == "" {
			port = "8080"
		}
		t.doc.set("listen.http", listenAddress(host, port))
	} else if t.has("ENCRYPTION_KEY") {
		t.lost("ENCRYPTION_KEY", "the chart makes a seed where there is more than one replica; see keys in its values")
	}
	if t.on("VERBOSE") {
		t.doc.set("logging.level", "debug")
	}
	t.unsafe("OAUTH_AUTHORIZE_URL", "an access token was good for every MCP server behind the proxy's host; here it names the one that it is for")
	t.unsafe("CORS", "web pages of every origin could send requests; here those of cors.allowedOrigins alone")
}

// obotProvider finds out which provider the authorization URL is of.
func (t *translation) obotProvider() {
	const option = "OAUTH_AUTHORIZE_URL"
	text := t.text(option)
	u, err := url.Parse(text)
	if text != "" && (err != nil || u.Host == "") {
		t.mistake(option, "is not a URL")
	}
	if err != nil || u.Host == "" {
		return
	}
	all := "the proxy let every account of the provider in"
	switch u.Host {
	case "accounts.google.com":
		t.carry(option, "provider.name", "google")
		t.domains("provider", nil, option, all)
	case "github.com":
		t.carry(option, "provider.name", "github")
		t.domains("provider", nil, option, all)
	case "login.microsoftonline.com":
		t.carry(option, "provider.name", "microsoft")
		t.tenants("provider", option, strings.Split(strings.Trim(u.Path, "/"), "/")[0])
		if len(t.request.EmailDomains) > 0 {
			t.domains("provider", nil, option, all)
		}
	default:
		t.doc.set("provider.name", "oidc", option+": taken for the issuer of an OpenID provider, which its discovery document must name exactly")
		t.doc.set("provider.issuerURL", strings.TrimSuffix(text, "/.well-known/openid-configuration"))
		if len(t.request.EmailDomains) > 0 {
			t.domains("provider", nil, option, all)
		} else {
			t.unsafe(option, "every account of the provider could sign in, and can here; provider.allowedEmailDomains or rules of the policy say whose")
		}
	}
}

// noTenant is a tenant that Microsoft does not have.
const noTenant = "00000000-0000-0000-0000-000000000000"

// tenants says which tenants of Microsoft may sign in.
func (t *translation) tenants(at, option, tenant string) {
	if slices.Contains([]string{"common", "organizations", "consumers", ""}, tenant) {
		t.unsafe(option, "accounts of every tenant of Microsoft could sign in; this configuration admits none until provider.tenants says whose")
		t.doc.set(at+".tenants", []string{noTenant}, "accounts of every tenant could sign in. Write the ids of your tenants here.")
		return
	}
	t.doc.set(at+".tenants", []string{tenant})
}

// obotScopes are the scopes that are for the MCP server and not for the sign-in.
func (t *translation) obotScopes() (scopes []string) {
	for _, s := range t.list("SCOPES_SUPPORTED") {
		if !slices.Contains([]string{"openid", "email", "profile"}, s) {
			scopes = append(scopes, s)
		}
	}
	return scopes
}
