package migrate

import (
	"net"
	"net/url"
	"slices"
	"strings"
)

func oauth2Proxy() Kind {
	options := oauth2ProxyOptions
	byKey := map[string]string{}
	for _, o := range options {
		underscored := strings.ReplaceAll(o.Name, "-", "_")
		byKey[underscored], byKey[underscored+"s"] = o.Name, o.Name
	}
	key := func(k string) string {
		if name, ok := byKey[k]; ok {
			return name
		}
		return k
	}
	reader := shell{
		program: []string{"oauth2-proxy"},
		variable: func(name string) (string, bool) {
			rest, ours := strings.CutPrefix(name, "OAUTH2_PROXY_")
			return key(strings.ToLower(rest)), ours
		},
		flag:    func(name string) string { return name },
		boolean: func(option string) bool { return slices.Contains(oauth2ProxySwitches, option) },
		repeats: func(option string) bool { return slices.Contains(oauth2ProxyLists, option) },
	}
	return Kind{
		Name: "oauth2-proxy", Title: "oauth2-proxy", Home: "https://github.com/oauth2-proxy/oauth2-proxy", Version: "of July 2026 (14af2951)",
		Reads:   "its configuration file (named `….cfg` or `….toml`), its command line, or a file of variables (`OAUTH2_PROXY_NAME=value`)",
		Options: options, translate: fromOAuth2Proxy,
		read: func(g *given, f File) {
			if strings.HasSuffix(f.Name, ".cfg") || strings.HasSuffix(f.Name, ".toml") {
				readTOML(g, f, key)
				return
			}
			reader.read(g, f)
		},
		About: "It keeps web sites for people with browsers, and goes on doing so: move the MCP servers, and see [the words beside each other](../migration.md#from-oauth2-proxy). A flag and a key of the file that say two things are a mistake here, where it took the flag. The YAML file of `--alpha-config` is not read.",
	}
}

func fromOAuth2Proxy(t *translation) {
	for _, required := range []string{"client-id"} {
		if !t.has(required) {
			t.mistake("", "%s is required", required)
		}
	}
	if t.has("alpha-config") {
		t.mistake("alpha-config", "names a YAML file that is not read here; write its providers and upstreams as flags or keys of the configuration file")
	}
	if t.has("client-secret") && t.has("client-secret-file") {
		t.mistake("client-secret", "stands beside client-secret-file; keep one")
	}
	t.oauth2ProxyProvider()
	t.oauth2ProxyGroups()
	at := t.oauth2ProxyHost()
	t.oauth2ProxyHeaders(at)
	t.oauth2ProxyListen()
	t.oauth2ProxyGuard()
	if !t.request.Chart {
		t.seed("cookie-secret", "cookie-secret-file")
	}
	if file := t.text("custom-sign-in-logo"); file != "" && file != "-" && !strings.Contains(file, "://") {
		t.carry("custom-sign-in-logo", "branding.logoFile", file)
	}
}

// oauth2ProxyProvider writes the provider down.
func (t *translation) oauth2ProxyProvider() {
	name := t.text("provider")
	if name == "" {
		name = "google"
	}
	kind, ok := map[string]string{"google": "google", "github": "github", "oidc": "oidc", "keycloak-oidc": "oidc", "entra-id": "microsoft", "azure": "microsoft", "gitlab": "oidc", "adfs": "oidc", "cidaas": "oidc"}[name]
	if !ok {
		t.mistake("provider", "%q has no counterpart of its own; where it speaks OpenID Connect write oidc, with oidc-issuer-url", name)
		return
	}
	comment := ""
	if kind != name {
		comment = "provider: " + name + " is reached as " + kind
	}
	t.doc.set("provider.name", kind, comment)
	t.carryText("client-id", "provider.clientID")
	switch {
	case t.has("client-secret-file"):
		t.carryText("client-secret-file", "provider.clientSecretFile")
	case t.has("client-secret"):
		t.secretOf("client-secret", "provider.clientSecretFile", "client-secret")
	default:
		t.mistake("", "client-secret or client-secret-file is required here")
	}
	t.oauth2ProxyIssuer(name, kind)
	t.carryText("provider-display-name", "provider.displayName")
	if files := t.list("provider-ca-file"); len(files) == 1 {
		t.carry("provider-ca-file", "provider.caFile", files[0])
	} else if len(files) > 1 {
		t.mistake("provider-ca-file", "there is one file here: put the certificates into one")
	}
	if scopes := strings.Fields(t.text("scope")); len(scopes) > 0 {
		t.carry("scope", "provider.scopes", scopes)
	} else if name == "oidc" && t.has("allowed-group") {
		t.doc.set("provider.scopes", []string{"openid", "email", "profile", "groups"}, "allowed-group: the scope groups was asked for by itself")
	}
	t.oauth2ProxyClaims(kind)
	t.oauth2ProxyPeople(kind, name)
}

// oauth2ProxyIssuer says which server the provider is.
func (t *translation) oauth2ProxyIssuer(name, kind string) {
	issuer := t.text("oidc-issuer-url")
	if name == "gitlab" && issuer == "" {
		issuer = "https://gitlab.com"
	}
	switch kind {
	case "oidc":
		if issuer == "" {
			t.mistake("", "oidc-issuer-url is required for provider %s", name)
			return
		}
		if u, err := url.Parse(issuer); err == nil && u.Scheme == "http" && !loopback(u.Hostname()) {
			t.mistake("oidc-issuer-url", "begins with http://; here an issuer has https, so that no one between can be the provider")
			return
		}
		t.carry("oidc-issuer-url", "provider.issuerURL", issuer)
	case "microsoft":
		tenants := t.list("entra-id-allowed-tenant")
		if tenant := t.text("azure-tenant"); tenant != "" && tenant != "common" {
			tenants = append(tenants, tenant)
		}
		if u, err := url.Parse(issuer); err == nil && len(tenants) == 0 && u.Host == "login.microsoftonline.com" {
			tenants = []string{strings.Split(strings.Trim(u.Path, "/"), "/")[0]}
		}
		if len(tenants) > 1 {
			t.doc.set("provider.tenants", tenants)
		} else {
			t.tenants("provider", "entra-id-allowed-tenant", strings.Join(tenants, ""))
		}
	}
}

// oauth2ProxyClaims says what the provider's words are for things.
func (t *translation) oauth2ProxyClaims(kind string) {
	if kind == "oidc" {
		for option, key := range map[string]string{"oidc-groups-claim": "groupsClaim"} {
			t.carryText(option, "provider."+key)
		}
		if claim := t.text("oidc-email-claim"); claim != "" && claim != "email" {
			t.doc.set("provider.emailClaim", claim)
			t.doc.set("provider.emailVerifiedClaim", claim+"_verified", "oidc-email-claim: another claim than email has to say whether the address of it is verified; write its name")
			t.step("Name the claim that says whether the address in %q is verified, in provider.emailVerifiedClaim", claim)
		}
		if acr := strings.Fields(t.text("acr-values")); len(acr) > 0 {
			t.carry("acr-values", "provider.acrValues", acr)
		}
	}
	if t.on("insecure-oidc-allow-unverified-email") {
		t.unsafe("insecure-oidc-allow-unverified-email", "addresses that people may have made up counted as theirs; only verified ones do here")
	}
	for _, option := range []string{"insecure-oidc-skip-issuer-verification", "ssl-insecure-skip-verify", "ssl-upstream-insecure-skip-verify", "redis-insecure-skip-tls-verify"} {
		if t.on(option) {
			t.unsafe(option, "a server's proof of who it is was not checked; it always is here")
		}
	}
}

// oauth2ProxyPeople says who may sign in.
func (t *translation) oauth2ProxyPeople(kind, name string) {
	var patterns []string
	all := false
	for _, d := range t.list("email-domain") {
		if d == "*" {
			all = true
			continue
		}
		patterns = append(patterns, domainPattern(d))
	}
	if all {
		patterns = nil
	}
	orgs := t.oauth2ProxyOrganizations()
	if file := t.text("authenticated-emails-file"); file != "" {
		t.lost("authenticated-emails-file", "list the addresses in a rule of the policy (policy.rules[].emails)")
		if !all && len(patterns) == 0 && len(t.request.EmailDomains) == 0 {
			t.doc.set("provider.allowedEmailDomains", []string{closed}, "authenticated-emails-file: the addresses of "+file+" belong in a rule of the policy (policy.rules[].emails); until then no account is admitted. Write their domains here.")
			return
		}
	}
	switch {
	case kind == "github" && len(orgs) > 0:
		t.carry("github-org", "provider.allowedOrganizations", orgs)
		if len(patterns) > 0 {
			t.doc.set("provider.allowedEmailDomains", patterns)
		}
	case kind == "oidc" || kind == "microsoft":
		if len(patterns) > 0 || len(t.request.EmailDomains) > 0 {
			t.domains("provider", patterns, "email-domain", "")
		} else if all {
			t.unsafe("email-domain", "every account of the provider could sign in. Here it can too, unless a rule of the policy refuses it. provider.allowedEmailDomains limits who may sign in")
		}
	default:
		t.domains("provider", patterns, "email-domain", "every account of "+name+" could sign in")
	}
	if !t.has("email-domain") && !t.has("authenticated-emails-file") && !t.has("htpasswd-file") {
		t.mistake("", "email-domain is missing: without it oauth2-proxy admits no address; write email-domain=* for all")
	}
}

// oauth2ProxyOrganizations are organizations and teams of GitHub.
func (t *translation) oauth2ProxyOrganizations() (orgs []string) {
	org, teams := t.text("github-org"), t.list("github-team")
	for _, team := range teams {
		if _, slug, named := strings.Cut(team, ":"); named {
			team = strings.Replace(team, ":", "/", 1)
			_ = slug
		} else if org == "" {
			t.mistake("github-team", "names no organization; write it as ORGANIZATION:TEAM, or give github-org")
		} else {
			team = org + "/" + team
		}
		orgs = append(orgs, team)
	}
	if len(teams) == 0 && org != "" {
		orgs = []string{org}
	}
	return orgs
}

// oauth2ProxyGroups makes rules of the groups that people must be in.
func (t *translation) oauth2ProxyGroups() {
	var groups []string
	for _, option := range []string{"allowed-group", "google-group", "keycloak-group", "gitlab-group"} {
		groups = append(groups, t.list(option)...)
	}
	key, adc := t.text("google-service-account-json"), t.on("google-use-application-default-credentials")
	if key != "" || adc {
		if t.text("google-admin-email") == "" {
			t.mistake("", "google-admin-email is required to ask Google Workspace about groups")
		}
		t.doc.set("provider.workspace.credentials", map[bool]string{true: "key", false: "metadata"}[key != ""])
		t.carryText("google-service-account-json", "provider.workspace.credentialsFile")
		if key == "" {
			if !t.has("google-target-principal") {
				t.mistake("", "google-target-principal is needed here beside google-use-application-default-credentials: the service account that signs")
			}
			t.carryText("google-target-principal", "provider.workspace.serviceAccount")
		}
		t.carryText("google-admin-email", "provider.workspace.admin")
		t.doc.set("provider.workspace.groups", true)
	} else if t.has("google-group") {
		t.mistake("google-group", "needs google-service-account-json or google-use-application-default-credentials")
	}
	if len(groups) > 0 {
		t.allow(map[string]any{"groups": groups}, "members of these groups; others may sign in and get nothing")
	}
}

// oauth2ProxyHost writes the MCP server down.
func (t *translation) oauth2ProxyHost() string {
	redirect := t.text("redirect-url")
	if t.request.URL == "" && redirect != "" {
		if u, err := url.Parse(redirect); err == nil {
			u.Path, u.RawQuery = "", ""
			t.request.URL = u.String()
		}
	}
	public := t.public("redirect-url")
	var web []string
	for _, u := range t.list("upstream") {
		if strings.HasPrefix(u, "http://") || strings.HasPrefix(u, "https://") {
			web = append(web, u)
			continue
		}
		t.lost("upstream", "only an MCP server over HTTP stands behind this service, and not "+strings.SplitN(u, "://", 2)[0]+"://")
	}
	if len(web) > 1 && t.request.Server == "" {
		t.mistake("upstream", "there are several; say which is the MCP server, with --server, and translate once for each")
	}
	upstream := t.upstream("upstream", strings.Join(web, ""))
	served := len(web) > 0
	if !served {
		t.step("Let the gateway ask /authenticate in place of /oauth2/auth, as docs/gateways/README.md shows for each")
	}
	return t.host(0, public, upstream, served)
}

// oauth2ProxyHeaders says which headers the MCP server gets.
func (t *translation) oauth2ProxyHeaders(at string) {
	forwarded := !t.off("pass-user-headers") && t.doc.has(at+".serve") && !t.on("set-xauthrequest")
	t.raw("set-xauthrequest")
	t.raw("pass-user-headers")
	if forwarded {
		t.doc.set("identityHeaders.preset", "forwarded", "pass-user-headers: X-Forwarded-User and -Email; the user is the provider's stable identifier of the person, and not a login name")
	}
	switch access, id := t.on("pass-access-token"), t.on("pass-authorization-header") || t.on("set-authorization-header"); {
	case access && id:
		t.mistake("pass-access-token", "stands beside pass-authorization-header or set-authorization-header; the MCP server gets one token of the provider")
	case access:
		t.carry("pass-access-token", at+".providerToken.token", "access")
	case id:
		t.carry("pass-authorization-header", at+".providerToken.token", "id")
		t.doc.set(at+".providerToken.header", "Authorization")
	}
}

// oauth2ProxyListen says where this service listens.
func (t *translation) oauth2ProxyListen() {
	cert, key := t.text("tls-cert-file"), t.text("tls-key-file")
	if (cert == "") != (key == "") {
		t.mistake("", "tls-cert-file and tls-key-file go together")
	}
	if t.on("reverse-proxy") {
		if networks := t.list("trusted-proxy-ip"); len(networks) > 0 {
			t.carry("trusted-proxy-ip", "listen.trustedProxies", networks)
		} else {
			t.unsafe("reverse-proxy", "X-Forwarded-For of anyone was believed; no address is looked at here until listen.trustedProxies names the gateways")
		}
	}
	if t.request.Chart {
		return
	}
	address := strings.TrimPrefix(t.text("http-address"), "http://")
	if address == "" {
		address = ":4180"
	}
	if cert != "" {
		if address = t.text("https-address"); address == "" {
			address = ":443"
		}
		t.doc.set("tls.certificates.0.certFile", cert)
		t.doc.set("tls.certificates.0.keyFile", key)
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		t.mistake("http-address", "is not host:port; sockets and file descriptors have no counterpart")
		return
	}
	t.doc.set("listen.http", address)
	t.carryText("metrics-address", "listen.management")
}

// oauth2ProxyGuard says where what happens once is remembered.
func (t *translation) oauth2ProxyGuard() {
	switch kind := t.text("session-store-type"); kind {
	case "", "cookie":
		return
	case "redis":
	default:
		t.mistake("session-store-type", "%q is not one of cookie, redis", kind)
		return
	}
	t.carry("session-store-type", "guard.backend", "redis")
	var addresses []string
	urls := t.list("redis-connection-url")
	switch {
	case t.on("redis-use-sentinel"):
		urls = t.list("redis-sentinel-connection-urls")
		t.carryText("redis-sentinel-master-name", "guard.redis.sentinelMaster")
		t.secretOf("redis-sentinel-password", "guard.redis.sentinelPasswordFile", "redis-sentinel-password")
	case t.on("redis-use-cluster"):
		urls = t.list("redis-cluster-connection-urls")
		t.doc.set("guard.redis.cluster", true)
	}
	password, user := t.text("redis-password"), t.text("redis-username")
	tls := false
	for _, text := range urls {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "redis" && u.Scheme != "rediss" {
			t.mistake("redis-connection-url", "is not a redis:// or rediss:// URL")
			continue
		}
		tls = tls || u.Scheme == "rediss"
		if p, ok := u.User.Password(); ok && password == "" {
			password, user = p, u.User.Username()
		}
		port := u.Port()
		if port == "" {
			port = "6379"
		}
		addresses = append(addresses, net.JoinHostPort(u.Hostname(), port))
	}
	if len(addresses) == 0 {
		t.mistake("session-store-type", "is redis, and no connection URL says where it is")
	}
	t.doc.set("guard.redis.addresses", addresses)
	if user != "" {
		t.doc.set("guard.redis.username", user)
	}
	if password != "" {
		t.secret("guard.redis.passwordFile", "redis-password", "redis-password", password)
	}
	if tls {
		t.doc.set("guard.redis.tls.enabled", true)
		t.carryText("redis-ca-path", "guard.redis.tls.caFile")
	}
}
