package conformance

import (
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

var resourceChecks = []Check{
	{IDs: "RS-PRM-01 RS-PRM-02", Run: resourceDocuments, Twins: twins(status(prm+"/mcp", 200, 404), setMember(prm+"/mcp", "resource", issuerMCP), setMember(prm, "resource", resourceMCP))},
	{IDs: "RS-PRM-03", Run: challengeLeadsToDocument, Twins: twins(replaceHeader("/authenticate", "WWW-Authenticate", prm+"/mcp", prm))},
	{IDs: "RS-PRM-04", Run: noDocumentForUnknownPaths, Twins: twins(replies(prm+"*", func(_ *http.Request, a *reply) {
		if a.Status == 404 {
			a.Status, a.Body = 200, `{"resource":"`+resourceMCP+`"}`
		}
	}))},
	{IDs: "RS-PRM-05", Run: resourceNamesIssuer, Twins: twins(setMember(prm+"/mcp", "authorization_servers", []string{issuerMCP + "/"}), setMember(oauthDocument, "issuer", issuerMCP+"/x"))},
	{IDs: "RS-PRM-06", Run: resourceScopesAreBaseline, Twins: twins(setMember(prm+"/a", "scopes_supported", []string{"notes:read", "notes:write"}), setMember(prm+"/mcp", "scopes_supported", []string{"offline_access"}))},
	{IDs: "RS-PRM-07", Run: resourceMembers, Twins: twins(setMember(prm+"/mcp", "bearer_methods_supported", []string{"header", "query"}), setMember(prm+"/mcp", "jwks_uri", issuerMCP+jwks))},
	{IDs: "RS-PRM-09", Run: resourceDocumentIsOpen, Twins: twins(dropHeader(prm+"/mcp", "Access-Control-Allow-Origin"), setHeader(prm+"/mcp", "Cache-Control", "private"), requests(prm+"*", func(r *http.Request) {
		if h := r.Header.Get("X-Forwarded-Host"); h != "" {
			r.Host = h
		}
	}))},
	{IDs: "RS-PRM-10", Run: resourceDocumentNeedsNoToken, Twins: twins(replies(prm+"*", func(r *http.Request, a *reply) {
		if r.Header.Get("Authorization") == "" {
			a.Status = 401
		}
	}))},
	{IDs: "RS-ERR-01", Run: challengeWithoutToken, Twins: twins(
		replaceHeader("/authenticate", "WWW-Authenticate", "Bearer ", `Bearer error="invalid_token", `), replaceHeader("/authenticate", "WWW-Authenticate", "resource_metadata", "metadata"), dropHeader("/authenticate", "WWW-Authenticate"))},
	{IDs: "RS-ERR-02", Run: badTokensLookAlike, Twins: twins(replaceHeader("/authenticate", "WWW-Authenticate", `error="invalid_token"`, `error="expired"`), replies("/authenticate", func(r *http.Request, a *reply) {
		if a.Status == 401 && len(r.Header.Get("Authorization")) > 100 {
			a.Header.Set("WWW-Authenticate", strings.Replace(a.Header.Get("WWW-Authenticate"), "expired or", "really expired or", 1))
		}
	}))},
	{IDs: "RS-ERR-03", Run: malformedCredentials, Twins: twins(errorsBecomePasses("/authenticate*", 400, 401))},
	{IDs: "RS-ERR-07", Run: challengeScopeIsMinimal, Twins: twins(replaceHeader("/authenticate", "WWW-Authenticate", `scope="notes:read"`, `scope="notes:read offline_access"`))},
	{IDs: "RS-ERR-08", Run: incurableDenials, Twins: twins(setHeader("/authenticate*", "WWW-Authenticate", `Bearer error="insufficient_scope", scope="x"`), status("/authenticate*", 403, 401))},
	{IDs: "RS-ERR-09", Run: challengesAreClean, Twins: twins(replies("/authenticate", func(r *http.Request, a *reply) {
		if a.Status == 401 {
			a.Header.Set("WWW-Authenticate", a.Header.Get("WWW-Authenticate")+`, tool="`+r.Header.Get("Mcp-Name")+`"`)
		}
	}), dropHeader("/authenticate", "Cache-Control"))},
	{IDs: "RS-VAL-01", Run: tokenInHeaderOnly, Twins: twins(requests("/authenticate", func(r *http.Request) {
		u, _ := url.Parse(r.Header.Get("X-Original-URL"))
		if tok := u.Query().Get("access_token"); tok != "" {
			r.Header.Set("Authorization", "Bearer "+tok)
		}
	}), header("/authenticate", func(h http.Header) {
		if strings.HasPrefix(h.Get("Authorization"), "bearer") {
			h.Del("Authorization")
		}
	}))},
	{IDs: "RS-VAL-02 ATK-23 ATK-24 ATK-26 AS-AT-06 ATK-27", Run: foreignTokensAreRefused, Twins: twins(errorsBecomePasses("/authenticate", 401))},
	{IDs: "RS-VAL-04 ATK-36", Run: timesAreEnforced, Twins: twins(errorsBecomePasses("/authenticate", 401))},
	{IDs: "RS-VAL-06 RS-FWD-09 ATK-31", Run: pathsAreUnambiguous, Twins: twins(errorsBecomePasses("/authenticate", 403, 401), requests("/authenticate", func(r *http.Request) {
		u, err := url.Parse(r.Header.Get("X-Original-URL"))
		if err == nil {
			r.Header.Set("X-Original-URL", "https://"+u.Host+"/mcp")
		}
	}))},
	{IDs: "RS-VAL-07 ATK-60", Run: everyMethodIsAuthorized, Twins: twins(header("/authenticate", func(h http.Header) {
		if h.Get("MCP-Session-Id") != "" {
			h.Set("X-Session-Known", "1")
		}
	}), errorsBecomePasses("/authenticate", 401))[1:]},
	{IDs: "RS-VAL-08", Run: streamsAreDocumented, NoTwin: "it is about a document"},
	{IDs: "ATK-25", Run: kidInjection, Twins: twins(errorsBecomePasses("/authenticate", 401), status("/authenticate", 401, 500))},
	{IDs: "ATK-28", Run: brokenJWTs, Twins: twins(errorsBecomePasses("/authenticate", 401))},
	{IDs: "ATK-32", Run: combinedCredentials, Twins: twins(requests("/authenticate", func(r *http.Request) {
		if v := r.Header["Authorization"]; len(v) > 0 {
			first, _, _ := strings.Cut(v[0], ",")
			r.Header["Authorization"] = []string{first}
		}
	}))},
}

func resourceDocuments(t *T) {
	w := t.World()
	for address, resource := range map[string]string{
		issuerMCP + prm + "/mcp": resourceMCP, issuerMany + prm + "/a": resourceA, issuerMany + prm + "/b": resourceB, issuerRoot + prm: issuerRoot,
		issuerMCP + prm: issuerMCP, issuerRoot + prm + "/any/path": issuerRoot + "/any/path",
	} {
		a := w.get(address)
		t.Want(a.Status == 200, "%s: %d", address, a.Status)
		if a.Status == 200 {
			t.Want(a.Text("resource") == resource, "%s: resource %q", address, a.Text("resource"))
		}
	}
}

func challengeLeadsToDocument(t *T) {
	w := t.World()
	for _, called := range []string{resourceMCP, resourceA, issuerMCP + "/mcp/deep", resourceMCP + "?a=b", issuerRoot + "/"} {
		address := w.ask(called, "").challenge().params["resource_metadata"]
		want, _, _ := strings.Cut(called, "?")
		a := w.get(address)
		t.Want(a.Status == 200 && a.Text("resource") == strings.TrimSuffix(want, "/"), "%s → %s → %d %.80s", called, address, a.Status, a.Body)
	}
}

func noDocumentForUnknownPaths(t *T) {
	w := t.World()
	for _, path := range []string{"/other", "/mcp2", "/%6dcp", "/%2e%2e/mcp", "/x%2f..%2fmcp", "/mcp;a=b", "/mcp%00"} {
		a := w.get(issuerMCP + prm + path)
		t.Want(a.Status == 404 || a.Status >= 300 && a.Status < 400, "%s: %d", path, a.Status)
		t.Want(!strings.Contains(a.Body, `"resource"`), "%s has a document", path)
	}
	a := w.get(issuerMany + prm)
	t.Want(a.Status == 404 || a.Text("resource") == issuerMany, "the root of a host with paths: %d %s", a.Status, a.Body)
}

func resourceNamesIssuer(t *T) {
	w := t.World()
	for _, address := range []string{issuerMCP + prm + "/mcp", issuerMany + prm + "/a", issuerRoot + prm} {
		servers := list(w.get(address).JSON()["authorization_servers"])
		if len(servers) != 1 {
			t.Errorf("%s: authorization_servers %v", address, servers)
			continue
		}
		a := w.get(servers[0] + oauthDocument)
		t.Want(strings.HasPrefix(address, servers[0]+"/") && a.Text("issuer") == servers[0], "%s names %s, whose issuer is %s", address, servers[0], a.Text("issuer"))
	}
}

func resourceScopesAreBaseline(t *T) {
	w := t.World()
	w.get(w.register(hostMCP, nil).request()) // the catalogue is known
	t.Want(sameList(w.get(issuerMany + prm + "/a").JSON()["scopes_supported"], "notes:read"), "not the configured baseline")
	scopes := list(w.get(issuerMCP + prm + "/mcp").JSON()["scopes_supported"])
	t.Want(!slices.Contains(scopes, "offline_access"), "offline_access is listed")
}

func resourceMembers(t *T) {
	m := t.World().get(issuerMCP + prm + "/mcp").JSON()
	t.Want(sameList(m["bearer_methods_supported"], "header"), "bearer_methods_supported %v", m["bearer_methods_supported"])
	t.Want(m["resource_name"] == "Team notes", "resource_name %v", m["resource_name"])
	for _, name := range []string{"jwks_uri", "resource_signing_alg_values_supported", "signed_metadata"} {
		t.Want(m[name] == nil, "%s is there", name)
	}
}

func resourceDocumentIsOpen(t *T) {
	w := t.World()
	a := w.get(issuerMCP + prm + "/mcp")
	t.Want(a.Status == 200 && a.Header.Get("Content-Type") == "application/json", "%d %q", a.Status, a.Header.Get("Content-Type"))
	t.Want(boundedCache(a) && strings.Contains(a.Header.Get("Cache-Control"), "public"), "Cache-Control %q", a.Header.Get("Cache-Control"))
	t.Want(a.Header.Get("Access-Control-Allow-Origin") == "*", "no CORS")
	spoofed := w.get(issuerMCP+prm+"/mcp", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "http")
	t.Want(spoofed.Body == a.Body, "X-Forwarded-Host has an effect: %d %s", spoofed.Status, spoofed.Body)
	unknown := w.get("https://evil.example" + prm + "/mcp")
	t.Want((unknown.Status == 404 || unknown.Status == 421) && !strings.Contains(unknown.Body, "evil"), "unknown host: %d", unknown.Status)
}

func resourceDocumentNeedsNoToken(t *T) {
	w := t.World()
	for _, path := range []string{prm, prm + "/mcp", oauthDocument, jwks} {
		before := w.mcp.count()
		t.Want(w.get(issuerMCP+path).Status == 200 && w.mcp.count() == before, "%s through the gateway", path)
	}
}

func challengeWithoutToken(t *T) {
	w := t.World()
	w.get(w.register(hostMCP, nil).request())
	a := w.ask(resourceMCP, "")
	t.Want(a.Status == 401, "%d", a.Status)
	c := a.challenge()
	t.Want(c.scheme == "Bearer" && c.params["resource_metadata"] == issuerMCP+prm+"/mcp", "challenge %v", c)
	t.Want(strings.Contains(c.params["scope"], "notes:read"), "scope %q", c.params["scope"])
	t.Want(c.params["error"] == "" && c.params["error_description"] == "", "an error without a token: %v", c.params)
	// Through the gateway, as the client sees it.
	t.Want(w.do("POST", resourceMCP, "{}").challenge().params["resource_metadata"] == c.params["resource_metadata"], "the gateway changes the challenge")
}

// badTokens are tokens with one thing wrong each.
func (w *world) badTokens() map[string]string {
	good := w.newToken(hostMCP, resourceMCP)
	return map[string]string{
		"no JWT": "nonsense", "changed payload": reclaim(good, "sub", "somebody").(string), "changed header": rehead(good, "typ", "JWT").(string),
		"bad signature": good[:len(good)-10] + "AAAAAAAAAA", "foreign key": foreignJWT(w.t, w.t.claims(good), "at+jwt"), "wrong audience": w.newToken(hostMany, resourceA), "cut": good[:len(good)-1],
	}
}

func badTokensLookAlike(t *T) {
	w := t.World(own)
	bad := w.badTokens()
	revoked := w.register(hostMCP, nil)
	token, _ := revoked.pair()
	revoked.revoke(token)
	bad["revoked"] = token
	expired := w.newToken(hostMCP, resourceMCP)
	answers := map[string]string{}
	check := func(what, token string) {
		a := w.ask(resourceMCP, token)
		if a.Status != 401 {
			t.Errorf("%s: %d", what, a.Status)
			return
		}
		c := a.challenge()
		t.Want(c.params["error"] == "invalid_token" && c.params["resource_metadata"] != "" && c.params["scope"] != "", "%s: %v", what, c.params)
		answers[a.Header.Get("WWW-Authenticate")+a.Body] = what
	}
	for what, token := range bad {
		check(what, token)
	}
	w.clock.Move(2 * time.Hour)
	check("expired", expired)
	t.Want(len(answers) == 1, "the answers differ: %v", answers)
}

func malformedCredentials(t *T) {
	w := t.World()
	token := w.newToken(hostMCP, resourceMCP)
	for what, lines := range map[string][]string{
		"two headers": {"Bearer " + token, "Bearer " + token}, "two schemes": {"Bearer " + token, "Basic eDp5"}, "empty token": {"Bearer "}, "no token": {"Bearer"},
		"list": {"Bearer " + token + ", Bearer " + token}, "blank inside": {"Bearer " + token + " x"},
	} {
		h := []string{"X-Original-URL", resourceMCP}
		f := []string{"X-Forwarded-Host", hostMCP, "X-Forwarded-Uri", "/mcp", "X-Forwarded-Method", "POST"}
		for _, line := range lines {
			h, f = append(h, "Authorization", line), append(f, "Authorization", line)
		}
		a := w.get(issuerMCP+"/authenticate", h...)
		t.Want(a.Status == 401 && a.challenge().params["error"] == "invalid_request", "nginx, %s: %d", what, a.Status)
		a = w.get(issuerMCP+"/authenticate/forwarded", f...)
		t.Want(a.Status == 400 && a.challenge().params["error"] == "invalid_request", "forwarded, %s: %d", what, a.Status)
	}
}

func challengeScopeIsMinimal(t *T) {
	w := t.World()
	scope := w.ask(resourceA, "").challenge().params["scope"]
	t.Want(scope == "notes:read", "scope %q", scope)
	for _, r := range []string{resourceMCP, resourceB, issuerRoot + "/"} {
		t.Want(!strings.Contains(w.ask(r, "").challenge().params["scope"], "offline_access"), "%s asks for offline_access", r)
	}
}

func incurableDenials(t *T) {
	w := t.World()
	token := w.newToken(hostMCP, resourceMCP)
	for _, target := range []string{issuerMCP + "/other", "https://unknown.example/mcp", issuerMCP + "/mcp/../x"} {
		a := w.get(issuerMCP+"/authenticate", "X-Original-URL", target, "Authorization", "Bearer "+token)
		t.Want(a.Status == 403 && !strings.Contains(a.Header.Get("WWW-Authenticate"), "insufficient_scope"), "%s: %d %q", target, a.Status, a.Header.Get("WWW-Authenticate"))
		u, _ := url.Parse(target)
		a = w.get(issuerMCP+"/authenticate/forwarded", "X-Forwarded-Host", u.Host, "X-Forwarded-Uri", u.Path, "Authorization", "Bearer "+token)
		t.Want(a.Status == 403 && !strings.Contains(a.Header.Get("WWW-Authenticate"), "insufficient_scope"), "forwarded, %s: %d", target, a.Status)
	}
}

func challengesAreClean(t *T) {
	w := t.World()
	for _, nasty := range []string{`a"b`, `a\b`, "a, Basic realm=x", "\u00e4\u2028", "a\tb"} {
		for _, token := range []string{"", "x"} {
			a := w.ask(resourceMCP, token, "Mcp-Name", nasty, "Mcp-Method", nasty, "User-Agent", nasty, "Origin", "https://"+url.QueryEscape(nasty))
			if a.Status != 401 {
				continue
			}
			c := a.challenge() // parses strictly
			t.Want(!c.repeat, "a parameter is repeated: %q", a.Header.Get("WWW-Authenticate"))
			for name := range c.params {
				t.Want(slices.Contains([]string{"error", "error_description", "scope", "resource_metadata"}, name), "parameter %s", name)
			}
			t.Want(a.Header.Get("Cache-Control") == "no-store", "Cache-Control %q", a.Header.Get("Cache-Control"))
		}
	}
}

func tokenInHeaderOnly(t *T) {
	w := t.World()
	token := w.newToken(hostMCP, resourceMCP)
	for _, scheme := range []string{"Bearer", "bearer", "BEARER", "bEaReR"} {
		t.Want(w.ask(resourceMCP, "", "Authorization", scheme+" "+token).Status == 200, "scheme %s is refused", scheme)
	}
	t.Want(w.ask(resourceMCP+"?access_token="+token, "").Status == 401, "a token in the query counts")
	a := w.do("POST", resourceMCP, "access_token="+token, "Content-Type", "application/x-www-form-urlencoded")
	t.Want(a.Status == 401, "a token in the form counts")
	a = w.do("GET", issuerMCP+"/authenticate?access_token="+token, "", "X-Original-URL", resourceMCP)
	t.Want(a.Status == 401, "a token in the query of the question counts")
	for _, other := range []string{"Basic " + token, "DPoP " + token, "Token " + token} {
		t.Want(w.ask(resourceMCP, "", "Authorization", other).Status == 401, "%.6s is taken for Bearer", other)
	}
	t.Want(w.ask(resourceMCP, "", "Cookie", "access_token="+token, "X-Access-Token", token).Status == 401, "a token in another header counts")
	t.Want(!strings.Contains(w.log.String(), token), "the token is in the log")
}

func foreignTokensAreRefused(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	good, refresh := c.pair()
	claims := t.claims(good)
	before := w.web.dials() + w.mcp.count()
	kid := t.header(good)["kid"]
	b64 := func(s string) string { return strings.TrimRight(rawBase64(s), "=") }
	payload := strings.Split(good, ".")[1]
	bad := map[string]string{
		"typ JWT": rehead(good, "typ", "JWT").(string), "typ absent": rehead(good, "typ", nil).(string), "alg PS256": rehead(good, "alg", "PS256").(string), "alg ES256": rehead(good, "alg", "ES256").(string),
		"alg RS512": rehead(good, "alg", "RS512").(string), "refresh token": refresh, "ID token": foreignJWT(t, map[string]any{"iss": w.idp.URL, "aud": "upstream-client"}, "JWT"),
		"id-jag": foreignJWT(t, claims, "oauth-id-jag+jwt"), "dpop": foreignJWT(t, claims, "dpop+jwt"), "logout": foreignJWT(t, claims, "logout+jwt"),
		"foreign key, our kid": foreignJWT(t, claims, "at+jwt", "kid", kid), "embedded jwk": foreignJWT(t, claims, "at+jwt", "jwk", map[string]any{"kty": "RSA"}),
		"jku": foreignJWT(t, claims, "at+jwt", "jku", w.mcp.URL+"/jwks", "kid", kid), "x5u": foreignJWT(t, claims, "at+jwt", "x5u", w.mcp.URL+"/cert"), "x5c": foreignJWT(t, claims, "at+jwt", "x5c", []string{"AAAA"}),
	}
	for _, none := range []string{"none", "None", "nOnE", "NONE"} {
		bad["alg "+none] = b64(`{"alg":"`+none+`","typ":"at+jwt"}`) + "." + payload + "."
		bad["alg "+none+" with our kid"] = b64(`{"alg":"`+none+`","kid":"`+kid.(string)+`","typ":"at+jwt"}`) + "." + payload + "."
	}
	public := w.get(issuerMCP + jwks).Body
	for _, secret := range []string{public, strings.TrimSpace(public)} {
		bad["HS256 with the key set"] = hmacJWT(t, claims, []byte(secret), kid.(string))
	}
	for what, token := range bad {
		a := w.ask(resourceMCP, token)
		t.Want(a.Status == 401 && (a.Status != 401 || a.challenge().params["error"] == "invalid_token"), "%s: %d", what, a.Status)
	}
	t.Want(w.web.dials()+w.mcp.count() == before, "something was fetched")
	t.Want(w.ask(resourceMCP, good).Status == 200, "the good token is refused")
	// Nor is an access token anything else.
	c.exchange(good).Refused(400, "invalid_grant")
	c.exchange("x", asserted(good), without("client_id")).Refused(401, "invalid_client")
}

func timesAreEnforced(t *T) {
	w := t.World(own)
	good := w.newToken(hostMCP, resourceMCP)
	for what, token := range map[string]any{
		"exp far ahead": reclaim(good, "exp", 253402300799), "exp text": reclaim(good, "exp", "2099"), "exp gone": reclaim(good, "exp", nil), "exp negative": reclaim(good, "exp", -1), "exp float": reclaim(good, "exp", 1e300),
		"nbf ahead": reclaim(good, "nbf", 4102444800), "iat ahead": reclaim(good, "iat", 4102444800), "aud gone": reclaim(good, "aud", nil), "sub gone": reclaim(good, "sub", nil), "crit": rehead(good, "crit", []string{"exp"}),
	} {
		t.Want(w.ask(resourceMCP, token.(string)).Status == 401, "%s is accepted", what)
	}
	expires := time.Unix(int64(t.claims(good)["exp"].(float64)), 0)
	w.clock.Move(time.Until(expires) - 30*time.Second)
	t.Want(w.ask(resourceMCP, good).Status == 200, "refused half a minute before exp")
	w.clock.Move(92 * time.Second)
	t.Want(w.ask(resourceMCP, good).Status == 401, "accepted a minute after exp")
	// The clock is set back: what was made in the future of then waits.
	w.clock.Move(3 * time.Hour)
	future := w.newToken(hostMCP, resourceMCP)
	w.clock.Move(-3 * time.Hour)
	t.Want(w.ask(resourceMCP, future).Status == 401, "a token of the future is accepted")
}

func pathsAreUnambiguous(t *T) {
	w := t.World()
	token := w.newToken(hostMCP, resourceMCP)
	for _, path := range []string{"/mcp", "/mcp/", "/mcp/deep/er", "/mcp?x=../y"} {
		t.Want(w.ask(issuerMCP+path, token).Status == 200, "%s is refused", path)
	}
	for _, path := range []string{
		"/mcp2", "/mcpx/y", "/", "/MCP", "/mcp/..;/x", "/mcp/../x", "/mcp/./x", "/%6dcp", "//mcp", "/mcp//x", "/mcp%2fx", "/mcp/%2e%2e/x", "/mcp;a=b", "/mcp/;x", `/mcp\x`, "/mcp/%00", "/mcp%", "/mcp/%zz", "/x/../mcp", "/mcp/%252e%252e/x",
	} {
		for name, a := range map[string]*answer{
			"nginx":     w.get(issuerMCP+"/authenticate", "X-Original-URL", issuerMCP+path, "Authorization", "Bearer "+token),
			"forwarded": w.get(issuerMCP+"/authenticate/forwarded", "X-Forwarded-Host", hostMCP, "X-Forwarded-Uri", path, "Authorization", "Bearer "+token),
		} {
			t.Want(a.Status == 403 || a.Status == 400, "%s, %s: %d", name, path, a.Status)
		}
	}
	t.Want(w.get(issuerMCP+"/authenticate/forwarded", "X-Forwarded-Host", hostMCP, "X-Forwarded-Uri", "https://"+hostMCP+"/mcp", "Authorization", "Bearer "+token).Status == 403, "an absolute-form target")
}

func everyMethodIsAuthorized(t *T) {
	w := t.World()
	token := w.newToken(hostMCP, resourceMCP)
	for _, method := range []string{"POST", "GET", "DELETE", "PUT", "PATCH", "HEAD", "TRACE"} {
		a := w.get(issuerMCP+"/authenticate", "X-Original-URL", resourceMCP, "X-Original-Method", method)
		t.Want(a.Status == 401, "%s without a token: %d", method, a.Status)
		a = w.get(issuerMCP+"/authenticate", "X-Original-URL", resourceMCP, "X-Original-Method", method, "MCP-Session-Id", "known-session")
		t.Want(a.Status == 401, "%s with a session id alone: %d", method, a.Status)
		a = w.get(issuerMCP+"/authenticate", "X-Original-URL", resourceMCP, "X-Original-Method", method, "Authorization", "Bearer "+token)
		t.Want(a.Status == 200, "%s with a token: %d", method, a.Status)
	}
	a := w.ask(resourceMCP, token, "MCP-Session-Id", "session-of-somebody-else")
	t.Want(a.Header.Get("X-Auth-Request-User") == t.claims(token)["sub"], "the verified subject is not handed on")
}

// streamsAreDocumented: forward auth sees the beginning of a stream only.
func streamsAreDocumented(t *T) {
	manual, err := os.ReadFile("../../docs/tool-policy.md")
	if err != nil {
		t.Setupf("%v", err)
	}
	t.Want(strings.Contains(string(manual), "stream outlives the expiry and revocation of its token"), "the manual does not say how long a stream may live")
	w := t.World(own)
	token := w.newToken(hostMCP, resourceMCP)
	w.clock.Move(2 * time.Hour)
	t.Want(w.ask(resourceMCP, token, "X-Original-Method", "GET").Status != 200, "a new stream begins with a dead token")
}

func kidInjection(t *T) {
	w := t.World()
	good := w.newToken(hostMCP, resourceMCP)
	for _, kid := range []any{"../../etc/passwd", "' OR 1=1 --", "a\x00b", strings.Repeat("k", 3000), []string{"a"}, map[string]any{}, 1, nil, ""} {
		a := w.ask(resourceMCP, rehead(good, "kid", kid).(string))
		t.Want(a.Status == 401, "kid %.20v: %d", kid, a.Status)
	}
	before := w.web.dials()
	for range 200 {
		if a := w.ask(resourceMCP, rehead(good, "kid", challengeOf(flip(good))).(string)); a.Status != 401 {
			t.Errorf("an unknown kid: %d", a.Status)
		}
	}
	t.Want(w.web.dials() == before, "unknown kids cause fetches")
}

func brokenJWTs(t *T) {
	w := t.World()
	good := w.newToken(hostMCP, resourceMCP)
	p := strings.Split(good, ".")
	for what, token := range map[string]string{
		"crit": rehead(good, "crit", []string{"x"}).(string), "b64": rehead(good, "b64", false).(string), "zip": rehead(good, "zip", "DEF").(string),
		"JWE": "eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1ciLCJwMmMiOjk5OTk5OTk5OSwiZW5jIjoiQTEyOENCQy1IUzI1NiJ9.AAAA.AAAA.AAAA.AAAA", "five parts": good + ".a.b", "two parts": p[0] + "." + p[1], "four parts": good + ".",
		"padded header": p[0] + "=." + p[1] + "." + p[2], "padded signature": good + "==", "standard alphabet": strings.ReplaceAll(strings.ReplaceAll(good, "-", "+"), "_", "/") + "+",
		"other last bits": good[:len(good)-1] + otherBits(good[len(good)-1]), "empty": "..", "dots": ".....", "JSON": `{"payload":"x"}`, "5000 bytes": good + strings.Repeat("A", 5000),
		"repeated claim": p[0] + "." + rawBase64(`{"aud":"`+resourceMCP+`","aud":"x"}`) + "." + p[2],
	} {
		began := time.Now()
		a := w.ask(resourceMCP, token)
		t.Want(a.Status == 401 && time.Since(began) < 2*time.Second, "%s: %d after %v", what, a.Status, time.Since(began))
	}
	t.Want(w.ask(resourceMCP, good).Status == 200, "the good token is refused")
}

func combinedCredentials(t *T) {
	w := t.World()
	token := w.newToken(hostMCP, resourceMCP)
	for what, lines := range map[string][]string{
		"good, then bad": {"Bearer " + token, "Bearer bad"}, "bad, then good": {"Bearer bad", "Bearer " + token}, "comma": {"Bearer " + token + ",Bearer bad"}, "good, then Basic": {"Bearer " + token, "Basic eDp5"},
	} {
		h := []string{"X-Original-URL", resourceMCP}
		for _, l := range lines {
			h = append(h, "Authorization", l)
		}
		t.Want(w.get(issuerMCP+"/authenticate", h...).Status == 401, "%s is accepted", what)
	}
	// Framing that two parsers read differently is refused by the listener.
	for what, extra := range map[string]string{
		"CL and TE": "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "two lengths": "Content-Length: 4\r\nContent-Length: 5\r\n", "odd TE": "Transfer-Encoding: xchunked\r\n", "folded": "X-A: b\r\n c\r\n",
	} {
		answer := w.raw("GET /authenticate HTTP/1.1\r\nHost: " + hostMCP + "\r\nX-Original-URL: " + resourceMCP + "\r\nConnection: close\r\n" + extra + "\r\n0\r\n\r\n")
		t.Want(!strings.HasPrefix(answer, "HTTP/1.1 200"), "%s: %.40q", what, answer)
	}
}
