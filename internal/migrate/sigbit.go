package migrate

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"
	"golang.org/x/crypto/bcrypt"
)

// mcpAuthProxyPeople are the options about who may come in.
var mcpAuthProxyPeople = []Option{
	{Name: "google-allowed-users", Becomes: "policy.rules[].emails", Note: "only verified addresses count; others may sign in and get nothing"},
	{Name: "google-allowed-workspaces", Becomes: "provider.hostedDomains"},
	{Name: "github-allowed-users", Becomes: "policy.rules[].users", Note: "login names pass to other people, so rules name people by their stable numbers (github:1234), which are in the audit log; the names are not carried over, and these people are not let in by them"},
	{Name: "github-allowed-orgs", Becomes: "provider.allowedOrganizations"},
	{Name: "oidc-configuration-url", Becomes: "provider.issuerURL", Note: "without /.well-known/openid-configuration"},
	{Name: "oidc-scopes", Becomes: "provider.scopes"},
	{Name: "oidc-user-id-field", Becomes: "provider.subjectClaim", Note: "people are known by sub here, and rules name their verified e-mail addresses: an address can pass to another person"},
	{Name: "oidc-provider-name", Becomes: "provider.displayName"},
	{Name: "oidc-allowed-users", Becomes: "policy.rules[].emails", Note: "only verified addresses count; others may sign in and get nothing"},
	{Name: "oidc-allowed-users-glob", Becomes: "policy.rules[].emailDomains", Note: "a pattern of the form *@DOMAIN; others are not carried over and let no one in"},
}

func mcpAuthProxy() Kind {
	stored := "tokens are not stored; what must happen only once is remembered by the guard"
	newKeys := "not carried over: keys that another program used are not for this one"
	options := []Option{
		{Name: "external-url", Becomes: "proxy.hosts[].host"},
		{Name: "listen", Becomes: "listen.http", Note: "with TLS tls.redirect"},
		{Name: "tls-listen", Becomes: "listen.http"},
		{Name: "no-auto-tls", Becomes: "tls.acme.enabled"},
		{Name: "tls-host", Becomes: "tls.acme.enabled", Note: "certificates are for the hosts of proxy.hosts"},
		{Name: "tls-directory-url", Becomes: "tls.acme.directoryURL"},
		{Name: "tls-accept-tos", Becomes: "tls.acme.agreeToTerms"},
		{Name: "tls-cert-file", Becomes: "tls.certificates[].certFile"},
		{Name: "tls-key-file", Becomes: "tls.certificates[].keyFile"},
		{Name: "data-path", Becomes: "tls.acme.cacheDir", Note: "only certificates are kept on disk"},
		{Name: "repository-backend", Becomes: "guard.backend", Note: stored},
		{Name: "repository-dsn", Becomes: "guard.postgres.urlFile", Secret: true, Note: stored},
		{Name: "password", Becomes: "provider.usersFile", Secret: true, Note: "as a hash, for the user name admin: people sign in by name and password"},
		{Name: "password-hash", Becomes: "provider.usersFile", Secret: true, Note: "for the user name admin: people sign in by name and password"},
		{Name: "no-provider-auto-select", Note: "the consent page stands before the sign-in in any case"},
		{Name: "proxy-bearer-token", Becomes: "proxy.hosts[].serverCredential.file", Secret: true},
		{Name: "proxy-headers", Becomes: "proxy.hosts[].serverCredential.header", Secret: true, Note: "one header, with a credential of the MCP server"},
		{Name: "http-streaming-only", Note: "GET is part of streamable HTTP, and each request is decided"},
		{Name: "trusted-proxies", Becomes: "listen.trustedProxies"},
		{Name: "AUTH_HMAC_SECRET", Secret: true, Note: newKeys},
		{Name: "JWT_PRIVATE_KEY", Secret: true, Note: newKeys},
		{Name: "MODE", Becomes: "logging.level"},
		{Name: "TARGET", Becomes: "proxy.hosts[].endpoint", Note: "what stands behind the flags: a URL, or a command that mcp-forward-auth bridge starts"},
	}
	for _, p := range []string{"google", "github", "oidc"} {
		options = append(options, Option{Name: p + "-client-id", Becomes: "provider.clientID"}, Option{Name: p + "-client-secret", Becomes: "provider.clientSecretFile", Secret: true})
	}
	options = append(options, mcpAuthProxyPeople...)
	boolean := []string{"no-auto-tls", "tls-accept-tos", "no-provider-auto-select", "http-streaming-only"}
	names := map[string]string{}
	for _, o := range options {
		names[strings.ToUpper(strings.ReplaceAll(o.Name, "-", "_"))] = o.Name
	}
	reader := shell{
		program: []string{"mcp-auth-proxy", "mcp-warp"}, arguments: "TARGET",
		variable: func(name string) (string, bool) { o, ok := names[name]; return o, ok && name != "TARGET" },
		flag: func(name string) string {
			if long, ok := map[string]string{"H": "tls-host", "d": "data-path", "e": "external-url"}[name]; ok {
				return long
			}
			return name
		},
		boolean: func(option string) bool { return slices.Contains(boolean, option) },
	}
	return Kind{
		Name: "mcp-auth-proxy", Title: "sigbit mcp-auth-proxy", Home: "https://github.com/sigbit/mcp-auth-proxy", Version: "of March 2026 (ec9e857)",
		Reads: "its command line, its `docker run`, or a file of variables (`NAME=value`)", Options: options, read: reader.read, translate: fromMCPAuthProxy,
		About: "The redirect URI at the identity provider becomes `https://HOST/callback`, and with several providers `https://HOST/callback/ID`. A command that it started is started by [`mcp-forward-auth bridge`](../reference/commands.md), a process of its own.",
	}
}

func fromMCPAuthProxy(t *translation) {
	public := t.public("external-url")
	upstream := t.sigbitTarget()
	at := t.host(0, public, upstream, true)
	t.sigbitProviders()
	t.sigbitTLS(public)
	t.sigbitCredential(at)
	t.carryList("trusted-proxies", "listen.trustedProxies")
	switch backend := strings.ToLower(t.text("repository-backend")); backend {
	case "postgres", "postgresql":
		if !t.has("repository-dsn") {
			t.mistake("repository-backend", "postgres needs repository-dsn")
		}
		t.carry("repository-backend", "guard.backend", "postgres")
		t.secretOf("repository-dsn", "guard.postgres.urlFile", "postgres-url")
	case "", "local", "sqlite", "mysql":
		if backend != "" {
			t.lost("repository-backend", "one replica remembers by itself; several share Redis or PostgreSQL")
		}
	default:
		t.mistake("repository-backend", "%q is not one of local, sqlite, postgres, mysql", backend)
	}
	if t.text("MODE") == "debug" {
		t.doc.set("logging.level", "debug")
	}
	if !t.request.Chart {
		t.seed("AUTH_HMAC_SECRET", "JWT_PRIVATE_KEY")
	}
	t.unsafe("tokens", "an access token named no MCP server; here it is for the one that it was asked for")
}

// sigbitTarget is the URL of the MCP server, or of the bridge that starts it.
func (t *translation) sigbitTarget() *url.URL {
	words, _ := t.raw("TARGET").([]string)
	if len(words) == 0 {
		return t.upstream("TARGET", "")
	}
	if strings.HasPrefix(words[0], "http://") || strings.HasPrefix(words[0], "https://") {
		return t.upstream("TARGET", words[0])
	}
	return t.stdio("TARGET", strings.Join(words, " "), "", "", nil)
}

// sigbitProviders writes the providers down: one as provider, several as providers.
func (t *translation) sigbitProviders() {
	var kinds []string
	for _, kind := range []string{"google", "github", "oidc"} {
		id, secret := t.has(kind+"-client-id"), t.has(kind+"-client-secret")
		if id != secret {
			t.mistake("", "%s-client-id and %s-client-secret go together", kind, kind)
		}
		if id && secret {
			kinds = append(kinds, kind)
		}
	}
	if t.has("password") || t.has("password-hash") {
		kinds = append(kinds, "static")
	}
	if len(kinds) == 0 {
		t.mistake("", "there is neither a provider nor a password")
	}
	for i, kind := range kinds {
		at, only := "provider", len(kinds) == 1
		if !only {
			at = fmt.Sprintf("providers.%d", i)
			t.doc.set(at+".id", kind)
		}
		t.doc.set(at+".name", kind)
		if kind != "static" {
			t.carryText(kind+"-client-id", at+".clientID")
			t.secretOf(kind+"-client-secret", at+".clientSecretFile", kind+"-client-secret")
		}
		map[string]func(string, bool){"google": t.sigbitGoogle, "github": t.sigbitGitHub, "oidc": t.sigbitOIDC, "static": t.sigbitPassword}[kind](at, only)
	}
	if t.doc.has("policy.rules.0") && len(kinds) > 1 {
		for _, kind := range kinds {
			if !slices.ContainsFunc(t.ruled, func(k string) bool { return k == kind }) {
				t.allow(map[string]any{"providers": []string{kind}}, "everyone of this provider who may sign in")
			}
		}
	}
}

// only gives a rule the provider that it is about, where there are several.
func (t *translation) only(kind string, rule map[string]any, single bool) map[string]any {
	if !single {
		rule["providers"] = []string{kind}
	}
	t.ruled = append(t.ruled, kind)
	return rule
}

func (t *translation) sigbitGoogle(at string, single bool) {
	users, workspaces := t.list("google-allowed-users"), t.list("google-allowed-workspaces")
	switch {
	case len(users) == 0 && len(workspaces) > 0:
		t.carry("google-allowed-workspaces", at+".hostedDomains", workspaces)
	case len(users) > 0:
		t.doc.set(at+".allowAnyUser", true, "google-allowed-users: the rules of the policy say who gets anything")
		t.allow(t.only("google", map[string]any{"emails": users}, single), t.said("google-allowed-users"))
		if len(workspaces) > 0 {
			t.allow(t.only("google", map[string]any{"emailDomains": workspaces}, single), "google-allowed-workspaces: by the domain of the verified address, since the people above may be of none of them")
		}
	default:
		t.domains(at, nil, "google-client-id", "every account of Google could sign in")
	}
}

func (t *translation) sigbitGitHub(at string, _ bool) {
	var orgs []string
	for _, o := range t.list("github-allowed-orgs") {
		orgs = append(orgs, strings.Replace(o, ":", "/", 1))
	}
	users := t.list("github-allowed-users")
	if len(users) > 0 {
		t.lost("github-allowed-users", reason(t.declared("github-allowed-users")))
	}
	switch {
	case len(orgs) > 0:
		t.carry("github-allowed-orgs", at+".allowedOrganizations", orgs)
	case len(users) > 0:
		t.doc.set(at+".allowedEmailDomains", []string{closed}, t.said("github-allowed-users"))
	default:
		t.domains(at, nil, "github-client-id", "every account of GitHub could sign in")
	}
}

func (t *translation) declared(option string) Option { o, _ := t.option(option); return o }

func (t *translation) sigbitOIDC(at string, single bool) {
	const well = "/.well-known/openid-configuration"
	configuration := t.text("oidc-configuration-url")
	issuer, ok := strings.CutSuffix(strings.Replace(configuration, "openid_configuration", "openid-configuration", 1), well)
	switch {
	case configuration == "":
		t.mistake("", "oidc-configuration-url is required beside oidc-client-id")
	case !ok:
		t.mistake("oidc-configuration-url", "does not end in %s, so that the issuer cannot be told from it", well)
	}
	t.doc.set(at+".issuerURL", issuer, t.said("oidc-configuration-url"))
	t.carryList("oidc-scopes", at+".scopes")
	t.carryText("oidc-provider-name", at+".displayName")
	email := true
	if field := t.text("oidc-user-id-field"); field != "" && field != "/email" {
		email = false
		t.lost("oidc-user-id-field", reason(t.declared("oidc-user-id-field")))
	}
	users, globs := t.list("oidc-allowed-users"), t.list("oidc-allowed-users-glob")
	if len(users)+len(globs) == 0 {
		t.unsafe("oidc-client-id", "every account of the provider could sign in, and can here; provider.allowedEmailDomains or rules of the policy say whose")
		return
	}
	var emails, domains []string
	if email {
		emails = users
	} else if len(users) > 0 {
		t.mistake("oidc-allowed-users", "names people by %s, by which rules here cannot; name them by the e-mail address", t.text("oidc-user-id-field"))
	}
	for _, g := range globs {
		domain, ok := strings.CutPrefix(g, "*@")
		if !ok || strings.ContainsAny(domain, "*?[{\\!") || !email {
			t.lost("oidc-allowed-users-glob", fmt.Sprintf("%q is not of the form *@DOMAIN", g))
			continue
		}
		domains = append(domains, domain)
	}
	if len(emails) > 0 {
		t.allow(t.only("oidc", map[string]any{"emails": emails}, single), t.said("oidc-allowed-users"))
	}
	if len(domains) > 0 {
		t.allow(t.only("oidc", map[string]any{"emailDomains": domains}, single), "oidc-allowed-users-glob")
	}
	if len(emails)+len(domains) == 0 {
		t.doc.set(at+".allowedEmailDomains", []string{closed}, "oidc-allowed-users-glob: no pattern could be carried over, so that no account is admitted")
	}
}

// sigbitPassword makes the file of accounts for the password.
func (t *translation) sigbitPassword(at string, _ bool) {
	hash := t.text("password-hash")
	option := "password-hash"
	if password := t.text("password"); password != "" {
		if hash != "" {
			t.mistake("password", "stands beside password-hash, and either opened the door; keep one")
		}
		option = "password"
		made, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost+2)
		if err != nil {
			t.mistake("password", "is longer than bcrypt takes, 72 bytes; choose another")
		}
		hash = string(made)
		if len(password) < 12 {
			t.unsafe("password", "it is short, and one for all; choose a long one, and one for each person")
		}
	}
	users, err := yaml.Marshal(map[string]any{"users": []map[string]any{{"username": "admin", "passwordHash": hash}}})
	if err != nil {
		panic("migrate: " + err.Error()) // texts can be written
	}
	t.doc.set(at+".usersFile", t.file("users.yaml", "the accounts (docs/providers/static.md): admin, with a hash of "+option, string(users), false), t.said(option))
}

// sigbitTLS says where the service listens, and with which certificate.
func (t *translation) sigbitTLS(public *url.URL) {
	cert, key := t.text("tls-cert-file"), t.text("tls-key-file")
	if (cert == "") != (key == "") {
		t.mistake("", "tls-cert-file and tls-key-file go together")
	}
	off := t.on("no-auto-tls")
	host := t.text("tls-host")
	if host != "" && (off || cert != "") {
		t.mistake("tls-host", "stands beside no-auto-tls or tls-cert-file")
	}
	listen, secure := t.text("listen"), t.text("tls-listen")
	if listen == "" {
		listen = ":80"
	}
	if secure == "" {
		secure = ":443"
	}
	automatic := cert == "" && (host != "" || !off && public.Scheme == "https")
	switch {
	case t.request.Chart:
		for _, o := range []string{"listen", "tls-listen", "tls-accept-tos", "tls-directory-url", "tls-cert-file", "tls-key-file", "data-path"} {
			if t.has(o) {
				t.lost(o, "in the cluster the Ingress or the Gateway ends TLS")
			}
		}
	case cert != "":
		t.doc.set("listen.http", secure)
		t.doc.set("tls.certificates.0.certFile", cert)
		t.doc.set("tls.certificates.0.keyFile", key)
		t.doc.set("tls.redirect", listen)
	case automatic:
		if !t.on("tls-accept-tos") {
			t.mistake("", "tls-accept-tos is required for automatic certificates, as there; or no-auto-tls")
		}
		t.doc.set("listen.http", secure)
		t.doc.set("tls.acme.enabled", true)
		t.doc.set("tls.acme.agreeToTerms", true)
		data := t.text("data-path")
		if data == "" {
			data = "./data"
		}
		t.carry("data-path", "tls.acme.cacheDir", path.Join(data, "acme"))
		t.carryText("tls-directory-url", "tls.acme.directoryURL")
		t.doc.set("tls.redirect", listen)
	default:
		t.doc.set("listen.http", listen)
		if t.has("tls-accept-tos") {
			t.lost("tls-accept-tos", "no certificate is asked for")
		}
	}
}

// sigbitCredential writes down what the MCP server itself wants.
func (t *translation) sigbitCredential(at string) {
	bearer, headers := t.text("proxy-bearer-token"), t.list("proxy-headers")
	switch {
	case bearer != "" && len(headers) > 0, len(headers) > 1:
		t.mistake("proxy-headers", "the MCP server gets one credential of this service, and these are several headers; take the others out, and let the MCP server do without them")
	case bearer != "":
		t.secretOf("proxy-bearer-token", at+".serverCredential.file", "server-credential")
	case len(headers) == 1:
		name, v, ok := strings.Cut(headers[0], ":")
		if !ok || strings.TrimSpace(name) == "" || strings.TrimSpace(v) == "" {
			t.mistake("proxy-headers", "is not of the form Name:Value")
			return
		}
		v = strings.TrimSpace(v)
		if scheme, rest, two := strings.Cut(v, " "); two && strings.EqualFold(name, "Authorization") {
			t.doc.set(at+".serverCredential.scheme", scheme)
			v = rest
		} else {
			t.doc.set(at+".serverCredential.header", strings.TrimSpace(name))
		}
		t.secret(at+".serverCredential.file", "server-credential", "proxy-headers", v)
	}
}
