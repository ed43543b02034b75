package conformance

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"
)

var forwardChecks = []Check{
	{IDs: "RS-FWD-01 ATK-30", Run: dialectsReadTheirOwnHeaders, Twins: twins(header("/authenticate", func(h http.Header) {
		if u := h.Get("X-Forwarded-Uri"); u != "" {
			h.Set("X-Original-URL", "https://"+h.Get("X-Forwarded-Host")+u)
		}
	}), errorsBecomePasses("/authenticate*", 401, 403))},
	{IDs: "RS-FWD-02", Run: nginxStatuses, Twins: twins(status("/authenticate", 401, 400), setHeader("/authenticate", "Content-Length", "1"), status("/authenticate", 200, 204))[:1]},
	{IDs: "RS-FWD-03", Run: challengeSurvivesGateway, Twins: twins(dropHeader("/authenticate", "WWW-Authenticate"))},
	{IDs: "RS-FWD-04", Run: identityHeadersAreOurs, Twins: twins(dropHeader("/authenticate", "X-Auth-Request-Groups"), setHeader("/authenticate", "X-Auth-Request-User", "root"))},
	{IDs: "RS-FWD-05", Run: tokenStaysAtItsResource, Twins: twins(errorsBecomePasses("/authenticate", 401))},
	{IDs: "RS-FWD-06", Run: decisionsNeedNothing, Twins: twins(Twin{Front: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/authenticate") && r.ContentLength != 0 {
				_, _ = r.Body.Read(make([]byte, 1)) // waits for a body
			}
			next.ServeHTTP(w, r)
		})
	}}, errorsBecomePasses("/authenticate", 401))},
	{IDs: "RS-FWD-07", Run: decisionsAreNotStored, Twins: twins(dropHeader("/authenticate", "Cache-Control"))},
	{IDs: "RS-FWD-08", Run: hostsAreNormalized, Twins: twins(status("*", 421, 200), replies("*", func(r *http.Request, a *reply) {
		if a.Status == 421 {
			a.Body += r.Host
		}
	}))},
	{IDs: "RS-FWD-10", Run: everyHostServesEndpoints, Twins: twins(replies("/token", func(r *http.Request, a *reply) {
		if r.Host == hostRoot {
			a.Status, a.Body = 404, "{}"
		}
	}))},
	{IDs: "ATK-29", Run: spoofedHostHeaders, Twins: twins(requests("*", func(r *http.Request) {
		if h := r.Header.Get("X-Forwarded-Host"); h != "" && !strings.HasPrefix(r.URL.Path, "/authenticate/") {
			r.Host = h
		}
	}))},
	{IDs: "ATK-57", Run: nothingLeaks, Twins: twins(replies("/token", func(r *http.Request, a *reply) {
		if a.Status == 200 {
			leaks.Write([]byte(a.Body))
		}
	}))},
}

// leaks is where the twin of ATK-57 writes what a service must not.
var leaks = &logBuffer{}

func dialectsReadTheirOwnHeaders(t *T) {
	w := t.World()
	token := w.newToken(hostMCP, resourceMCP)
	other := w.newToken(hostMany, resourceA)
	auth := []string{"Authorization", "Bearer " + token}
	// Each dialect by itself.
	for what, a := range map[string]*answer{
		"nginx":       w.get(issuerMCP+"/authenticate", append(auth, "X-Original-URL", resourceMCP, "X-Original-Method", "POST")...),
		"forwarded":   w.get("https://internal.example/authenticate/forwarded", append(auth, "X-Forwarded-Host", hostMCP, "X-Forwarded-Uri", "/mcp", "X-Forwarded-Method", "POST")...),
		"envoy":       w.do("POST", issuerMCP+"/authenticate/envoy/mcp", "", auth...),
		"gateway-api": w.get(issuerMCP+"/authenticate/gateway-api", append(auth, "Path", "/mcp", "Method", "POST")...),
	} {
		t.Want(a.Status == 200, "%s: %d %s", what, a.Status, a.Body)
	}
	// A client writes the headers of another dialect, in the hope that they count.
	foreign := map[string][]string{
		"nginx":       {"/authenticate", "X-Original-URL", issuerMCP + "/other", "X-Forwarded-Host", hostMCP, "X-Forwarded-Uri", "/mcp", "Path", "/mcp"},
		"forwarded":   {"/authenticate/forwarded", "X-Forwarded-Host", hostMCP, "X-Forwarded-Uri", "/other", "X-Original-URL", resourceMCP, "Path", "/mcp"},
		"envoy":       {"/authenticate/envoy/other", "X-Original-URL", resourceMCP, "X-Forwarded-Uri", "/mcp", "X-Envoy-Original-Path", "/mcp", "Path", "/mcp"},
		"gateway-api": {"/authenticate/gateway-api", "Path", "/other", "Method", "POST", "X-Original-URL", resourceMCP, "X-Forwarded-Uri", "/mcp"},
	}
	for what, h := range foreign {
		a := w.get(issuerMCP+h[0], append(auth, h[1:]...)...)
		t.Want(a.Status == 403 || a.Status == 401, "%s with the headers of others: %d", what, a.Status)
	}
	// Nothing to go by, or too much of it.
	for what, h := range map[string][]string{
		"forwarded without headers": {"/authenticate/forwarded"}, "gateway-api without headers": {"/authenticate/gateway-api"}, "unknown dialect": {"/authenticate/other", "X-Original-URL", resourceMCP},
		"two URLs": {"/authenticate", "X-Original-URL", resourceMCP, "X-Original-URL", resourceMCP}, "host of another": {"/authenticate", "X-Original-URL", resourceA},
		"two hosts": {"/authenticate/forwarded", "X-Forwarded-Host", hostMCP, "X-Forwarded-Host", hostMany, "X-Forwarded-Uri", "/mcp"},
	} {
		a := w.get(issuerMCP+h[0], append(auth, h[1:]...)...)
		t.Want(a.Status == 403 || a.Status == 401 || a.Status == 400, "%s: %d", what, a.Status)
	}
	t.Want(w.get(issuerMCP+"/authenticate", "X-Original-URL", resourceMCP, "Authorization", "Bearer "+other).Status == 401, "a token of another resource")
}

func nginxStatuses(t *T) {
	w := t.World()
	token := w.newToken(hostMCP, resourceMCP)
	for what, h := range map[string][]string{
		"allowed": {"Authorization", "Bearer " + token}, "no token": {}, "bad token": {"Authorization", "Bearer x"}, "two headers": {"Authorization", "Bearer " + token, "Authorization", "Bearer x"},
		"odd headers": {"Authorization", "Bearer " + token, "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "a", "Mcp-Method", "b"}, "unparsable": {"Authorization", "Bearer"},
		"no name": {"Authorization", "Bearer " + token, "MCP-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call"},
	} {
		for _, target := range []string{resourceMCP, issuerMCP + "/other", issuerMCP + "/mcp/../x", "garbage"} {
			a := w.get(issuerMCP+"/authenticate", append(h, "X-Original-URL", target)...)
			t.Want(a.Status == 200 || a.Status == 401 || a.Status == 403, "%s at %s: %d", what, target, a.Status)
			t.Want(a.Status != 200 || a.Body == "", "%s: 200 with a body", what)
			t.Want(a.Status != 401 || len(a.Header.Values("WWW-Authenticate")) == 1, "%s: 401 without a challenge", what)
		}
	}
}

func challengeSurvivesGateway(t *T) {
	w := t.World()
	for _, method := range []string{"POST", "GET", "DELETE"} {
		a := w.do(method, resourceMCP, "")
		t.Want(a.Status == 401, "%s: %d", method, a.Status)
		t.Want(a.challenge().params["resource_metadata"] == issuerMCP+prm+"/mcp", "%s: the challenge is lost", method)
	}
}

func identityHeadersAreOurs(t *T) {
	w := t.World()
	token := w.newToken(hostMCP, resourceMCP)
	sub := t.claims(token)["sub"].(string)
	before := w.mcp.count()
	spoofed := []string{"Authorization", "Bearer " + token}
	for _, name := range identityHeaders {
		spoofed = append(spoofed, name, "spoofed", strings.ToLower(strings.ReplaceAll(name, "-", "_")), "spoofed", strings.ReplaceAll(name, "-", "_"), "spoofed")
	}
	w.do("POST", resourceMCP, `{}`, spoofed...)
	seen, _ := w.mcp.since(before)
	if len(seen) != 1 {
		t.Fatalf("%d requests reached the MCP server", len(seen))
	}
	for name, values := range seen[0].Header {
		for _, v := range values {
			t.Want(!strings.Contains(v, "spoofed"), "%s arrives as the client wrote it", name)
		}
	}
	t.Want(seen[0].Header.Get("X-Auth-Request-User") == sub && seen[0].Header.Get("X-Auth-Request-Email") == alice.Email, "identity %v", seen[0].Header)
	// Even what is empty is set, so that no copy of the client's gets through.
	nobody := alice
	nobody.Email, nobody.Groups = "", nil
	bare := t.World(own)
	bare.idp.SignInAs(nobody)
	a := bare.ask(resourceMCP, bare.newToken(hostMCP, resourceMCP), "X-Auth-Request-Email", "root@example.com")
	for _, name := range identityHeaders {
		t.Want(len(a.Header.Values(name)) == 1 && a.Header.Get(name) != "" && !strings.Contains(a.Header.Get(name), "root"), "%s is %q", name, a.Header.Values(name))
	}
	evil := alice
	evil.Groups = []string{"a,admin", "b\r\nX-Injected: 1", "\u00fc"}
	bare.idp.SignInAs(evil)
	a = bare.ask(resourceMCP, bare.newToken(hostMCP, resourceMCP))
	t.Want(a.Header.Get("X-Injected") == "" && !strings.Contains(","+a.Header.Get("X-Auth-Request-Groups")+",", ",admin,"), "groups %q", a.Header.Get("X-Auth-Request-Groups"))
}

func tokenStaysAtItsResource(t *T) {
	w := t.World()
	token := w.newToken(hostMCP, resourceMCP)
	before := w.mcp.count()
	for _, elsewhere := range []string{resourceA, resourceB, issuerRoot + "/"} {
		a := w.do("POST", elsewhere, "{}", "Authorization", "Bearer "+token)
		t.Want(a.Status == 401, "%s: %d", elsewhere, a.Status)
	}
	t.Want(w.mcp.count() == before, "the token reached another MCP server")
}

func decisionsNeedNothing(t *T) {
	w := t.World(own)
	token := w.newToken(hostMCP, resourceMCP)
	before := w.mcp.count() + w.idp.Count("token") + w.idp.Count("keys") + w.web.dials()
	// A body is announced and never sent.
	began := time.Now()
	a := w.raw("POST /authenticate HTTP/1.1\r\nHost: " + hostMCP + "\r\nX-Original-URL: " + resourceMCP + "\r\nAuthorization: Bearer " + token + "\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n")
	t.Want(strings.HasPrefix(a, "HTTP/1.1 200") && time.Since(began) < 3*time.Second, "an announced body: %.30q after %v", a, time.Since(began))
	for range 20 {
		w.ask(resourceMCP, token)
		w.ask(resourceMCP, "nonsense")
	}
	t.Want(w.mcp.count()+w.idp.Count("token")+w.idp.Count("keys")+w.web.dials() == before, "deciding causes requests")
	// A service that cannot decide lets nothing pass.
	t.Want(w.ask(resourceMCP, "nonsense").Status == 401, "nonsense passes")
	broken := httptest.NewServer(&gateway{service: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }), mcp: w.mcp})
	t.TB.Cleanup(broken.Close)
	before = w.mcp.count()
	resp, err := http.Post(broken.URL+"/mcp", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Setupf("%v", err)
	}
	resp.Body.Close()
	t.Want(resp.StatusCode >= 500 && w.mcp.count() == before, "a broken service: %d", resp.StatusCode)
}

func decisionsAreNotStored(t *T) {
	w := t.World()
	token := w.newToken(hostMCP, resourceMCP)
	for what, a := range map[string]*answer{"allowed": w.ask(resourceMCP, token), "denied": w.ask(resourceMCP, ""), "unknown": w.ask(issuerMCP+"/other", token)} {
		t.Want(a.Header.Get("Cache-Control") == "no-store", "%s: Cache-Control %q", what, a.Header.Get("Cache-Control"))
	}
}

func hostsAreNormalized(t *T) {
	w := t.World()
	token := w.newToken(hostMCP, resourceMCP)
	for _, host := range []string{hostMCP, "MCP.Example.COM", hostMCP + ":443", hostMCP + "."} {
		a := w.get(issuerMCP+oauthDocument, "Host", host)
		t.Want(a.Status == 200 && a.Text("issuer") == issuerMCP, "%s: %d", host, a.Status)
		a = w.get(issuerMCP+"/authenticate/forwarded", "X-Forwarded-Host", host, "X-Forwarded-Uri", "/mcp", "Authorization", "Bearer "+token)
		t.Want(a.Status == 200, "%s, forwarded: %d", host, a.Status)
	}
	for _, host := range []string{"evil-host.example", hostMCP + ".evil-host.example", hostMCP + ":8443", "evil-host.example:443", "127.0.0.1"} {
		for _, path := range []string{oauthDocument, "/authorize", "/token", prm, "/nothing"} {
			a := w.do("GET", issuerMCP+path, "", "Host", host)
			t.Want(a.Status == 421 || a.Status == 404 || a.Status == 403 || a.Status == 405, "%s%s: %d", host, path, a.Status)
			t.Want(!strings.Contains(a.Body+strings.Join(flat(a.Header), ""), host), "%s is reflected", host)
		}
	}
}

func everyHostServesEndpoints(t *T) {
	w := t.World()
	for _, host := range []string{hostMCP, hostMany, hostRoot} {
		issuer := "https://" + host
		resource := map[string]string{hostMCP: resourceMCP, hostMany: resourceB, hostRoot: issuerRoot}[host]
		for path, want := range map[string]int{oauthDocument: 200, openidDocument: 200, jwks: 200, "/token": 405, "/register": 405, "/revoke": 405, "/authorize": 400, "/callback": 403} {
			t.Want(w.get(issuer+path).Status == want, "%s%s: %d, want %d", host, path, w.get(issuer+path).Status, want)
		}
		if len(t.faults) > 0 {
			return
		}
		token := w.newToken(host, resource)
		t.Want(w.ask(strings.TrimSuffix(resource, "/")+"/", token).Status == 200, "%s: the whole flow", host)
	}
}

func spoofedHostHeaders(t *T) {
	w := t.World(vouched)
	c := w.register(hostMCP, nil)
	spoof := []string{"X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "http", "Forwarded", "host=evil.example;proto=http", "X-Original-Host", "evil.example", "X-Host", "evil.example"}
	for what, a := range map[string]*answer{
		"metadata": w.get(issuerMCP+oauthDocument, spoof...), "resource": w.get(issuerMCP+prm+"/mcp", spoof...), "challenge": w.ask(resourceMCP, "", spoof...),
		"redirect": w.get(c.request(with("scope", `"quoted"`)), spoof...), "consent": w.get(c.request(), spoof...),
	} {
		t.Want(a.Status < 421, "%s: %d", what, a.Status)
		all := a.Body + strings.Join(flat(a.Header), "\n")
		t.Want(!strings.Contains(all, "evil.example") && !strings.Contains(all, "http://"+hostMCP), "%s: the spoofed host is used", what)
	}
	b := w.browser()
	_, form := b.consent(c.request())
	req, _ := http.NewRequest("POST", issuerMCP+"/consent", strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", issuerMCP)
	for i := 0; i < len(spoof); i += 2 {
		req.Header.Set(spoof[i], spoof[i+1])
	}
	a := b.send(req)
	u, _ := url.Parse(a.Header.Get("Location"))
	t.Want(u != nil && u.Query().Get("redirect_uri") == issuerMCP+"/callback", "the provider is told to come back to %v", u)
}

func nothingLeaks(t *T) {
	w := t.World(own)
	c := w.confidential("client_secret_post")
	b := w.browser()
	page, form := b.consent(c.request())
	back := b.provider(b.approve(hostMCP, form).Header.Get("Location"))
	u, _ := url.Parse(back)
	v := b.get(back).Location().Query()
	a := c.exchange(v.Get("code"))
	token, refresh := a.Text("access_token"), a.Text("refresh_token")
	w.ask(resourceMCP, token)
	c.exchange(v.Get("code"))
	c.refresh(refresh)
	c.revoke(refresh)
	w.ask(resourceMCP, token+"x")
	metrics := httptest.NewRecorder()
	w.management.ServeHTTP(metrics, httptest.NewRequest("GET", "/metrics", nil))
	if metrics.Code != 200 || w.log.String() == "" {
		t.Setupf("no log or no metrics")
	}
	for what, secret := range map[string]string{
		"access token": token, "signature": token[strings.LastIndex(token, ".")+1:], "refresh token": refresh, "code": v.Get("code"), "client secret": c.secret, "verifier": verifier,
		"provider's code": u.Query().Get("code"), "consent value": form.Get("request"), "state": u.Query().Get("state"), "provider's secret": "upstream-secret",
	} {
		if secret == "" {
			t.Setupf("no %s to look for", what)
		}
		for where, text := range map[string]string{"log": w.log.String() + leaks.String(), "metrics": metrics.Body.String(), "page": strings.ReplaceAll(page.Body, form.Get("request"), "")} {
			t.Want(!strings.Contains(text, secret), "the %s is in the %s", what, where)
		}
	}
}

// modern are the headers of a request of the 2026-07-28 revision.
func modern(method, name string) []string {
	h := []string{"MCP-Protocol-Version", "2026-07-28", "Mcp-Method", method}
	if name != "" {
		h = append(h, "Mcp-Name", name)
	}
	return h
}

func encoded(name string) string {
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(name)) + "?="
}
