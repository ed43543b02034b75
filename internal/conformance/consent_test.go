package conformance

import (
	"html"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

var consentChecks = []Check{
	{IDs: "AS-CONS-01", Run: consentComesFirst, Twins: twins(skipsConsent())},
	{IDs: "AS-CONS-02 AS-CONS-11 AS-FED-12 ATK-17", Run: everyRequestAsks, Twins: twins(remembersBrowser())},
	{IDs: "AS-CONS-03", Run: enlargementAsks, Twins: twins(remembersBrowser())},
	{IDs: "AS-CONS-04", Run: pageSaysWho, Twins: twins(replaceBody("/authorize", "Conformance client", "The app"), replaceBody("/authorize", "Team notes", "A server"), replaceBody("/authorize", "notes:read", "n"))},
	{IDs: "AS-CONS-05", Run: pageSaysWhere, Twins: twins(replaceBody("/authorize", callback, "…"))},
	{IDs: "AS-CONS-06 ATK-19", Run: loopbackIsWarnedOf, Twins: twins(replaceBody("/authorize", "note warn", "note"))},
	{IDs: "AS-CONS-07 ATK-14", Run: consentIsBound, Twins: twins(
		header("/consent", func(h http.Header) { h.Set("Origin", issuerMCP); h.Set("Sec-Fetch-Site", "same-origin") }), status("/consent", 403, 303))},
	{IDs: "AS-CONS-08 ATK-15", Run: noFrames, Twins: twins(dropHeader("/authorize", "X-Frame-Options"), replaceHeader("/callback", "Content-Security-Policy", "frame-ancestors 'none'", ""))},
	{IDs: "AS-CONS-09", Run: pagesAreInert, Twins: twins(replaceHeader("/authorize", "Content-Security-Policy", "default-src 'none'", "default-src *"),
		replaceBody("/authorize", "</body>", `<img src="https://tracker.example/p"></body>`), setHeader("/authorize", "Cache-Control", "private"), dropHeader("/authorize", "X-Content-Type-Options"))},
	{IDs: "AS-CONS-10", Run: formActionDoesNotBlock, Twins: twins(replaceHeader("/authorize", "Content-Security-Policy", "default-src", "form-action 'self'; default-src"))},
	{IDs: "AS-CONS-12", Run: cookiesAreStrict, Twins: twins(replaceHeader("/consent", "Set-Cookie", "; HttpOnly", ""), replaceHeader("/consent", "Set-Cookie", "; Secure", ""),
		replaceHeader("/authorize", "Set-Cookie", "__Host-", ""))},
	{IDs: "AS-CONS-13 ATK-18", Run: stateOnlyAfterApproval, Twins: twins(replies("/authorize", func(_ *http.Request, a *reply) {
		a.Header.Add("Set-Cookie", "__Host-mcp-login-abc-0=sealed; Path=/; Secure; HttpOnly; SameSite=Lax")
	}))},
	{IDs: "AS-CONS-14", Run: denyContactsNobody, Twins: twins(formData("/consent", func(v url.Values) { v.Set("decision", "allow") }))},
	{IDs: "AS-CONS-15", Run: scopesCanOnlyNarrow, Twins: twins(formData("/consent", func(v url.Values) { v["scope"] = []string{"notes:read", "weather:read"} }))},
	{IDs: "AS-CONS-16", Run: baselineWithoutCatalogue, Twins: twins(replaceBody("/authorize", `value="mcp"`, `value="everything"`), status("/authorize", 200, 500))},
	{IDs: "ATK-16", Run: famousNamesAreUnverified, Twins: twins(replaceBody("/authorize", "Not verified", "Verified"), replaceBody("/authorize", "badge warn", "badge good"))},
	{IDs: "ATK-41", Run: deceptiveTextIsCleaned, Twins: twins(replaceBody("/authorize", "Clau", "Cl\u202eau"))},
	{IDs: "ATK-42", Run: scriptIsInert, Twins: twins(replies("/authorize", func(_ *http.Request, a *reply) { a.Body = html.UnescapeString(a.Body) }), setHeader("/authorize", "Content-Type", "text/plain"))},
	{IDs: "ATK-50", Run: tossedCookiesAreRefused, Twins: twins(header("/callback", func(h http.Header) {
		seen, kept := map[string]bool{}, []string{}
		for _, pair := range strings.Split(h.Get("Cookie"), "; ") {
			name, _, _ := strings.Cut(pair, "=")
			if !seen[name] {
				kept = append(kept, pair)
			}
			seen[name] = true
		}
		h.Set("Cookie", strings.Join(kept, "; "))
	}))},
	{IDs: "ATK-62", Run: sealedValuesKeepTheirPurpose, Twins: twins(answers("/token", 400, 200, "{}"), status("/callback", 403, 303))},
}

// skipsConsent is a service that sends the browser straight to the provider.
func skipsConsent() Twin {
	return replies("/authorize", func(_ *http.Request, a *reply) {
		if a.Status == 200 {
			a.Status, a.Body = 303, ""
			a.Header.Set("Location", "https://idp.example/authorize")
		}
	})
}

// remembersBrowser is a service that asks a browser it knows no more.
func remembersBrowser() Twin {
	return replies("/authorize", func(r *http.Request, a *reply) {
		if a.Status == 200 && r.Header.Get("Cookie") != "" {
			a.Status, a.Body = 303, ""
			a.Header.Set("Location", "https://idp.example/authorize")
		}
	})
}

func consentComesFirst(t *T) {
	w := t.World(own)
	before := w.idp.Count(oauthtest.Authorization)
	a := w.get(w.register(hostMCP, nil).request())
	t.Want(a.Status == 200 && strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") && a.Header.Get("Location") == "", "the first answer is %d to %s", a.Status, a.Header.Get("Location"))
	t.Want(w.idp.Count(oauthtest.Authorization) == before, "the provider was asked")
	_, err := parseConfig(strings.Replace(standardConfig, "proxy:\n", "proxy:\n  disableConsentScreen: true\n", 1), nil)
	t.Want(err != nil, "consent can be switched off with an open redirect list")
}

func everyRequestAsks(t *T) {
	w := t.World()
	b := w.browser()
	first, loop := w.register(hostMCP, nil), w.register(hostMCP, metadata("http://localhost/cb"))
	b.signIn(first.request())
	for what, c := range map[string]*client{"the same client": first, "another client": w.register(hostMCP, nil), "a client on loopback": loop} {
		a := b.get(c.request())
		t.Want(a.Status == 200 && strings.Contains(a.Body, `name="decision"`), "%s is not asked about: %d", what, a.Status)
	}
	if len(t.faults) > 0 {
		return
	}
	b.signIn(loop.request())
	t.Want(b.get(loop.request()).Status == 200, "a client on loopback is approved silently")
}

func enlargementAsks(t *T) {
	w := t.World()
	b := w.browser()
	c := w.register(hostMany, metadata(callback, "https://client.example/second"))
	b.signIn(c.request(with("resource", resourceA), with("scope", "notes:read")))
	for what, e := range map[string]edit{"scope": with("scope", "notes:read notes:write"), "redirect": with("redirect_uri", "https://client.example/second"), "resource": with("resource", resourceB)} {
		a := b.get(c.request(with("resource", resourceA), with("scope", "notes:read"), e))
		t.Want(a.Status == 200 && strings.Contains(a.Body, `name="decision"`), "another %s is not asked about: %d", what, a.Status)
	}
}

func pageSaysWho(t *T) {
	w := t.World()
	a := w.get(w.register(hostMCP, nil).request(with("scope", "notes:read notes:write")))
	text := visible(a.Body)
	for _, want := range []string{"Conformance client", "notes:read", "notes:write", "See the titles and texts", "Team notes", resourceMCP, "notes_list"} {
		t.Want(strings.Contains(html.UnescapeString(text), want), "the page does not show %q", want)
	}
}

func pageSaysWhere(t *T) {
	w := t.World()
	a := w.get(w.register(hostMCP, nil).request())
	text := html.UnescapeString(visible(a.Body))
	t.Want(strings.Contains(text, callback), "the redirect URI is not shown")
	t.Want(strings.Contains(a.Body, `class="host"><bdi dir="ltr">client.example<`), "its host is not shown prominently")
	idn := w.register(hostMCP, metadata("https://xn--bcher-kva.example/cb"))
	t.Want(strings.Contains(w.get(idn.request()).Body, "xn--bcher-kva.example"), "the host is not in punycode")
}

func loopbackIsWarnedOf(t *T) {
	w := t.World()
	loop := w.get(w.register(hostMCP, changed(metadata("http://localhost/callback", "http://127.0.0.1/callback"), "client_name", "Claude Code")).request())
	web := w.get(w.register(hostMCP, nil).request())
	t.Want(strings.Contains(loop.Body, `class="note warn"`), "no warning for a client on loopback")
	t.Want(!strings.Contains(web.Body, `class="note warn"`), "a warning for a web client")
	t.Want(strings.Contains(loop.Body, "localhost"), "the host is not shown")
}

func consentIsBound(t *T) {
	w := t.World(own)
	c := w.register(hostMCP, nil)
	b := w.browser()
	_, form := b.consent(c.request())
	try := func(what string, b *browser, form url.Values, header ...string) {
		a := b.post(issuerMCP+"/consent", form, header...)
		t.Want(a.Status == 403 && a.Header.Get("Location") == "", "%s: %d", what, a.Status)
	}
	other := w.browser()
	_, otherForm := other.consent(c.request())
	try("cross-site Origin", b, form, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
	try("cross-site by Sec-Fetch-Site", b, form, "Sec-Fetch-Site", "cross-site", "Origin", "")
	try("cross-site by Origin alone", b, form, "Sec-Fetch-Site", "", "Origin", "https://evil.example")
	try("another browser's form", b, otherForm)
	try("no cookie", w.browser(), form)
	missing := url.Values{"decision": {"allow"}, "scope": form["scope"]}
	try("no value", b, missing)
	t.Want(b.get(issuerMCP+"/consent?"+form.Encode()).Status == 405, "GET approves")
	t.Want(w.idp.Count(oauthtest.Authorization) == 0, "the provider was contacted")
	a := b.post(issuerMCP+"/consent", form)
	t.Want(a.Status == 303, "the right form: %d", a.Status)
	try("the form a second time", b, form)
}

// somePages are one page of each kind.
func (w *world) somePages() map[string]*answer {
	c := w.register(hostMCP, nil)
	return map[string]*answer{
		"consent": w.get(c.request()), "unknown client": w.get(c.request(with("client_id", "x"))), "redirect mismatch": w.get(c.request(with("redirect_uri", "https://evil.example"))),
		"callback": w.get(issuerMCP + "/callback?state=x"), "cross-site form": w.do("POST", issuerMCP+"/consent", "", "Origin", "https://evil.example"),
	}
}

func noFrames(t *T) {
	for what, a := range t.World().somePages() {
		t.Want(strings.Contains(a.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'"), "%s: CSP %q", what, a.Header.Get("Content-Security-Policy"))
		t.Want(a.Header.Get("X-Frame-Options") == "DENY", "%s: X-Frame-Options %q", what, a.Header.Get("X-Frame-Options"))
	}
}

func pagesAreInert(t *T) {
	for what, a := range t.World().somePages() {
		csp := a.Header.Get("Content-Security-Policy")
		t.Want(strings.Contains(csp, "default-src 'none'") && !strings.Contains(csp, "unsafe") && !strings.Contains(csp, "*") && !strings.Contains(csp, "script-src"), "%s: CSP %q", what, csp)
		t.Want(a.Header.Get("Cache-Control") == "no-store" && a.Header.Get("X-Content-Type-Options") == "nosniff", "%s: headers %v", what, a.Header)
		policy := a.Header.Get("Referrer-Policy")
		t.Want(policy == "no-referrer" || policy == "same-origin", "%s: Referrer-Policy %q", what, policy)
		for _, bad := range []string{"<script", "<iframe", "<object", "src=\"http", "src='http", "url(http", "<link rel=\"stylesheet", " onclick", " onload", "javascript:"} {
			t.Want(!strings.Contains(strings.ToLower(a.Body), bad), "%s: has %s", what, bad)
		}
	}
}

func formActionDoesNotBlock(t *T) {
	w := t.World()
	for _, uri := range []string{callback, "http://localhost:8787/callback", "cursor://anysphere.cursor-mcp/oauth/callback"} {
		c := w.register(hostMCP, metadata(uri))
		csp := w.get(c.request()).Header.Get("Content-Security-Policy")
		t.Want(!strings.Contains(csp, "form-action"), "%s: CSP %q", uri, csp)
		t.Want(strings.HasPrefix(w.browser().signIn(c.request()).Header.Get("Location"), uri), "%s is not reached", uri)
	}
}

func cookiesAreStrict(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	b := w.browser()
	page, form := b.consent(c.request())
	lines := page.Header.Values("Set-Cookie")
	t.Want(len(lines) > 0, "no cookie binds the page")
	if len(lines) > 0 && strings.HasPrefix(lines[0], "__Host-") {
		lines = append(lines, b.approve(hostMCP, form).Header.Values("Set-Cookie")...)
	}
	for _, line := range lines {
		t.Want(strings.HasPrefix(line, "__Host-"), "%.40s: no __Host- prefix", line)
		for _, attr := range []string{"; Path=/", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
			t.Want(strings.Contains(line, attr), "%.40s: without%s", line, attr)
		}
		t.Want(!strings.Contains(line, "Domain="), "%.40s: has a domain", line)
		t.Want(!strings.Contains(line, c.id), "the client is readable in the cookie")
	}
	if len(t.faults) > 0 {
		return
	}
	// The login cookie of one login does not serve another.
	b1, b2 := w.browser(), w.browser()
	back1 := b1.toCallback(c.request())
	b2.toCallback(w.register(hostMCP, nil).request())
	a := b2.get(back1)
	t.Want(a.Status == 403, "a callback with the cookie of another login: %d", a.Status)
}

func stateOnlyAfterApproval(t *T) {
	w := t.World()
	b := w.browser()
	_, form := b.consent(w.register(hostMCP, nil).request())
	for _, line := range b.set {
		t.Want(!strings.Contains(line, "login"), "a login cookie before approval: %.60s", line)
	}
	// A browser that was never asked cannot be at the callback.
	forged := b.get(issuerMCP + "/callback?code=x&state=" + strings.Repeat("A", 26))
	t.Want(forged.Status == 403, "a callback before approval: %d", forged.Status)
	b.approve(hostMCP, form)
	t.Want(slices.ContainsFunc(b.set, func(l string) bool { return strings.Contains(l, "login") }), "no login cookie after approval")
}

func denyContactsNobody(t *T) {
	w := t.World(own)
	c := w.register(hostMCP, nil)
	b := w.browser()
	_, form := b.consent(c.request())
	form.Set("decision", "deny")
	a := b.post(issuerMCP+"/consent", form)
	if t.Want(a.Status == 303, "self-registered client: %d", a.Status); a.Status != 303 {
		return
	}
	q := a.Location().Query()
	t.Want(q.Get("error") == "access_denied" && q.Get("state") == "client-state" && q.Get("iss") == issuerMCP && !q.Has("code"), "the app is told %v", q)
	t.Want(w.idp.Count(oauthtest.Authorization) == 0 && w.idp.Count(oauthtest.Discovery) == 0, "the provider was contacted")
	v := t.World(vouched)
	b = v.browser()
	_, form = b.consent(v.register(hostMCP, nil).request())
	form.Set("decision", "deny")
	a = b.post(issuerMCP+"/consent", form)
	t.Want(a.Status == 303 && a.Location().Query().Get("error") == "access_denied" && !a.Location().Query().Has("code"), "vouched client: %d", a.Status)
}

func scopesCanOnlyNarrow(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	grant := func(requested string, posted ...string) string {
		a := w.browser().signIn(c.request(with("scope", requested)), with("scope", posted...))
		return c.exchange(a.Location().Query().Get("code")).Text("scope")
	}
	got := grant("notes:read weather:read", "notes:read")
	t.Want(got == "notes:read", "narrowed to %q", got)
	got = grant("notes:read", "notes:read", "admin", "made:up")
	t.Want(got == "notes:read", "forged to %q", got)
}

func baselineWithoutCatalogue(t *T) {
	w := t.World(withMCP(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })))
	c := w.register(hostMCP, nil)
	a := w.get(c.request())
	if a.Status != 200 {
		t.Fatalf("a dead MCP server: %d", a.Status)
	}
	t.Want(slices.Equal(consentForm(a)["scope"], []string{"mcp"}), "offered %v", consentForm(a)["scope"])
	t.Want(strings.Contains(a.Body, `class="note"`), "the page does not say so")
	if len(t.faults) > 0 {
		return
	}
	t.Want(c.tokens().Text("scope") == "mcp", "granted %q", c.tokens().Text("scope"))
}

func famousNamesAreUnverified(t *T) {
	w := t.World()
	for _, name := range []string{"Claude", "Microsoft"} {
		a := w.get(w.register(hostMCP, changed(metadata("https://evil.example/cb"), "client_name", name)).request())
		text := visible(a.Body)
		t.Want(strings.Contains(a.Body, `badge warn`) && strings.Contains(strings.ToLower(text), "not verified"), "%s is not marked as unverified", name)
		t.Want(strings.Contains(text, "evil.example") && strings.Contains(text, "https://evil.example/cb"), "%s: the real host is not shown", name)
	}
}

func deceptiveTextIsCleaned(t *T) {
	w := t.World()
	for _, name := range []string{"Clau\u202ede", "Clau\u200bde", "Clau\nde", "Clau\u0000de", "Clau" + strings.Repeat("\u0301", 500) + "de", "Clau" + strings.Repeat("e", 10000)} {
		a := w.get(w.register(hostMCP, changed(metadata(), "client_name", name)).request())
		if a.Status != 200 {
			t.Errorf("%.20q: %d", name, a.Status)
			continue
		}
		t.Want(!strings.ContainsAny(a.Body, "\u202e\u200b\x00\u2066") && strings.Count(a.Body, "\u0301") < 100 && strings.Count(a.Body, "eeeeeeeeee") < 100, "%.20q arrives as it is", name)
		t.Want(strings.Contains(a.Body, "client.example"), "%.20q pushes the host away", name)
	}
}

const script = `"><script>alert(1)</script><img src=x onerror=alert(1)>`

func scriptIsInert(t *T) {
	w := t.World(withMCP(scopesServer(scopeEntry("evil:scope", script, "tool"))))
	c := w.register(hostMCP, changed(metadata(), "client_name", script, "logo_uri", "javascript:alert(1)", "client_uri", "javascript:alert(1)"))
	for what, a := range map[string]*answer{
		"consent": w.get(c.request()), "state": w.get(c.request(with("state", script))), "scope": w.get(c.request(with("scope", script))),
		"redirect": w.get(c.request(with("redirect_uri", "https://evil.example/"+script))), "client id": w.get(c.request(with("client_id", script))),
		"callback": w.get(issuerMCP + "/callback?error=" + url.QueryEscape(script) + "&state=x"),
	} {
		t.Want(!strings.Contains(a.Body, "<script>alert") && !strings.Contains(a.Body, "<img src=x"), "%s: script on the page", what)
		t.Want(strings.HasPrefix(a.Header.Get("Content-Type"), "text/html"), "%s: Content-Type %q", what, a.Header.Get("Content-Type"))
		t.Want(a.Header.Get("X-Content-Type-Options") == "nosniff", "%s: no nosniff", what)
		for _, l := range links(a) {
			t.Want(!strings.HasPrefix(strings.ToLower(l), "javascript:"), "%s: link %q", what, l)
		}
	}
}

func tossedCookiesAreRefused(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	b := w.browser()
	back := b.toCallback(c.request())
	var name, value string
	for n, v := range b.jar[hostMCP] {
		if strings.Contains(n, "login") {
			name, value = n, v
		}
	}
	// A sibling host sets a cookie of the same name.
	a := w.get(back, "Cookie", name+"="+value+"; "+name+"=tossed")
	t.Want(a.Status == 403, "the same cookie twice: %d", a.Status)
	// Without its prefix it is not ours.
	b2 := w.browser()
	back = b2.toCallback(c.request())
	var plain []string
	for n, v := range b2.jar[hostMCP] {
		plain = append(plain, strings.TrimPrefix(n, "__Host-")+"="+v)
	}
	a = w.get(back, "Cookie", strings.Join(plain, "; "))
	t.Want(a.Status == 403, "cookies without __Host-: %d", a.Status)
}

func sealedValuesKeepTheirPurpose(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	b := w.browser()
	_, form := b.consent(c.request())
	sealed := form.Get("request")
	code := c.code()
	for what, v := range map[string]string{"consent value": sealed, "cut": code[:len(code)-1], "flipped": flip(code), "with a line break": code[:10] + "\n" + code[10:], "padded": code + "=", "client id": c.id} {
		c.exchange(v).Refused(400, "invalid_grant")
		_ = what
	}
	for what, v := range map[string]string{"code": code, "cut": sealed[:len(sealed)-1], "flipped": flip(sealed), "client id": c.id} {
		f := url.Values{"request": {v}, "decision": {"allow"}, "scope": form["scope"]}
		a := b.post(issuerMCP+"/consent", f)
		t.Want(a.Status == 403, "%s as consent value: %d", what, a.Status)
	}
	a := w.get(issuerMCP+"/callback?code=x&state="+strings.Repeat("A", 26), "Cookie", "__Host-mcp-login-AAAAAAAA-0=1."+sealed)
	t.Want(a.Status == 403, "a consent value as login cookie: %d", a.Status)
	t.Want(w.ask(resourceMCP, code).Status == 401, "a code as access token")
	// Sealed for one host, used at another.
	f := url.Values{"request": {sealed}, "decision": {"allow"}, "scope": form["scope"]}
	b.jar[hostRoot] = b.jar[hostMCP]
	t.Want(b.post(issuerRoot+"/consent", f).Status == 403, "a consent value at another host")
}

func flip(s string) string {
	b := []byte(s)
	i := len(b) / 2
	if b[i] == 'A' {
		b[i] = 'B'
	} else {
		b[i] = 'A'
	}
	return string(b)
}
