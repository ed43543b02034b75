package conformance

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

// vouched is a configuration whose operator lists the redirect URIs of the
// checks, so that errors are sent there without asking.
var vouched = configured("proxy:\n", "proxy:\n  allowedRedirectURLs: ['https://client\\.example/callback(\\?x=1)?', 'http://127\\.0\\.0\\.1/cb', 'com\\.example\\.app:/cb']\n")

var authorizeChecks = []Check{
	{IDs: "AS-AUTHZ-01", Run: authorizeTakesGET, Twins: twins(status("/authorize", 405, 200),
		replies("/authorize", func(r *http.Request, a *reply) {
			if r.URL.Query().Has("foo") {
				a.Status = 400
			}
		}))},
	{IDs: "AS-AUTHZ-02", Run: noParameterTwice, Twins: twins(firstOfEach("/authorize"))},
	{IDs: "AS-AUTHZ-03", Run: unknownClientStaysLocal, Twins: twins(redirectsErrors())},
	{IDs: "AS-AUTHZ-04 ATK-05 ATK-06 ATK-07 ATK-08 ATK-10", Run: foreignRedirectStaysLocal, Twins: twins(
		redirectsErrors(), query("/authorize", func(q url.Values) { q.Set("redirect_uri", callback) }),
		replies("/authorize", func(r *http.Request, a *reply) {
			if a.Status == 400 {
				a.Body += `<a href="` + r.URL.Query().Get("redirect_uri") + `">go</a>`
			}
		}))},
	{IDs: "AS-AUTHZ-05", Run: redirectURIOptionalIfOne, Twins: twins(query("/authorize", func(q url.Values) {
		if q.Get("redirect_uri") == "" {
			q.Set("redirect_uri", callback)
		}
	}), replies("/authorize", func(r *http.Request, a *reply) {
		if r.URL.Query().Get("redirect_uri") == "" {
			a.Status = 400
		}
	}))},
	{IDs: "AS-AUTHZ-06 ATK-12", Run: errorsAskBeforeRedirect, Twins: twins(redirectsErrors())},
	{IDs: "AS-AUTHZ-07", Run: redirectURIsAreExact, Twins: twins(query("/authorize", func(q url.Values) { q.Set("redirect_uri", "https://client.example/Cb?x=1") }))},
	{IDs: "AS-AUTHZ-08", Run: loopbackPortIsFree, Twins: twins(
		query("/authorize", func(q url.Values) {
			q.Set("redirect_uri", strings.Replace(q.Get("redirect_uri"), "127.0.0.1", "localhost", 1))
		}),
		replies("/authorize", func(r *http.Request, a *reply) {
			if strings.Contains(r.URL.Query().Get("redirect_uri"), ":53682") {
				a.Status = 400
			}
		}))},
	{IDs: "AS-AUTHZ-09", Run: ownQueryIsKept, Twins: twins(location("/callback", func(q url.Values) { q.Del("x") }))},
	{IDs: "AS-AUTHZ-10", Run: onlyCode, Twins: twins(query("/authorize", func(q url.Values) { q.Set("response_type", "code") }))},
	{IDs: "AS-AUTHZ-11", Run: onlyQueryMode, Twins: twins(query("/authorize", func(q url.Values) { q.Del("response_mode") }))},
	{IDs: "AS-AUTHZ-12 ATK-03 ATK-04", Run: pkceIsRequired, Twins: twins(
		query("/authorize", func(q url.Values) { q.Set("code_challenge_method", "S256") }),
		query("/authorize", func(q url.Values) {
			if q.Get("code_challenge") == "" {
				q.Set("code_challenge", challengeOf(verifier))
			}
		}))},
	{IDs: "AS-AUTHZ-13", Run: stateComesBack, Twins: twins(
		location("/callback", func(q url.Values) { q.Set("state", strings.TrimSpace(q.Get("state")+" ")+"x") }),
		location("/authorize", func(q url.Values) { q.Del("state") }))},
	{IDs: "AS-AUTHZ-14 ATK-01", Run: issComesBack, Twins: twins(
		location("/callback", func(q url.Values) { q.Del("iss") }), location("/authorize", func(q url.Values) { q.Add("iss", "https://evil.example") }))},
	{IDs: "AS-AUTHZ-15", Run: resourceIsOfThisIssuer, Twins: twins(query("/authorize", func(q url.Values) { q.Set("resource", resourceMCP) }))},
	{IDs: "AS-AUTHZ-16 AS-AT-02", Run: spellingsOfResource, Twins: twins(
		replies("/authorize", func(r *http.Request, a *reply) {
			if r.Host == hostMCP && r.URL.Query().Get("resource") != resourceMCP {
				a.Status = 400
			}
		}))},
	{IDs: "AS-AUTHZ-17", Run: originAsResource, Twins: twins(query("/authorize", func(q url.Values) {
		if q.Get("resource") == issuerMany {
			q.Set("resource", resourceA)
		}
	}))},
	{IDs: "AS-AUTHZ-18", Run: oneResourceOnly, Twins: twins(query("/authorize", func(q url.Values) { q["resource"] = q["resource"][:1] }))},
	{IDs: "AS-AUTHZ-19", Run: absentResource, Twins: twins(requests("/authorize", func(r *http.Request) {
		if q := r.URL.Query(); r.Host == hostMany && !q.Has("resource") {
			q.Set("resource", resourceA)
			r.URL.RawQuery = q.Encode()
		}
	}))},
	{IDs: "AS-AUTHZ-20", Run: scopesAreSelected, Twins: twins(query("/authorize", func(q url.Values) { q.Del("scope") }))},
	{IDs: "AS-AUTHZ-21", Run: offlineAccessIsNoToolScope, Twins: twins(members("/token", func(m map[string]any) { m["scope"] = m["scope"].(string) + " offline_access" }))},
	{IDs: "AS-AUTHZ-22", Run: promptIsHonoured, Twins: twins(query("/authorize", func(q url.Values) { q.Del("prompt") }))},
	{IDs: "AS-AUTHZ-23", Run: requestObjectsAreRefused, Twins: twins(query("/authorize", func(q url.Values) { q.Del("request"); q.Del("request_uri") }))},
	{IDs: "AS-AUTHZ-24 AS-FED-07", Run: faultsAreMapped, Twins: twins(
		location("/callback", func(q url.Values) {
			if q.Has("error") {
				q.Set("error", "server_error")
			}
		}), location("/callback", func(q url.Values) {
			if q.Has("error") {
				q.Set("error_description", "upstream text\r\nthat must not travel")
			}
		}))},
	{IDs: "AS-AUTHZ-25 ATK-58", Run: redirectsAreSafe, Twins: twins(status("/consent", 303, 307), setHeader("/callback", "Cache-Control", "public"),
		dropHeader("/callback", "Referrer-Policy"))},
	{IDs: "AS-AUTHZ-26", Run: codesAreBound, Twins: twins(answers("/token", 400, 200, `{"access_token":"x"}`),
		location("/callback", func(q url.Values) {
			if len(q.Get("code")) > 8 {
				q.Set("code", q.Get("code")[:8])
			}
		}))},
	{IDs: "AS-AUTHZ-27", Run: authorizeIsBounded, Twins: twins(status("/authorize", 400, 200))},
	{IDs: "ATK-09", Run: patternsAreAnchored, Twins: twins(answers("/register", 400, 201, `{"client_id":"x"}`))},
	{IDs: "ATK-38", Run: headersAreNotSplit, Twins: twins(setHeader("/callback", "X-Injected", "1"))},
	{IDs: "ATK-40", Run: parameterPollution, Twins: twins(firstOfEach("/token"), firstOfEach("/authorize"), status("/token", 400, 200))},
}

// firstOfEach is a service that takes the first of repeated parameters.
func firstOfEach(path string) Twin {
	return Twin{Front: func(next http.Handler) http.Handler {
		first := func(v url.Values) {
			for name := range v {
				v[name] = v[name][:1]
			}
		}
		return query(path, first).Front(formData(path, first).Front(next))
	}}
}

// redirectsErrors is a service that sends every error to the redirect URI it was given.
func redirectsErrors() Twin {
	return replies("/authorize", func(r *http.Request, a *reply) {
		if a.Status >= 400 {
			a.Status = 303
			a.Header.Set("Location", "https://evil.example/?error=invalid_request")
		}
	})
}

func authorizeTakesGET(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	for _, method := range []string{"PUT", "DELETE", "PATCH"} {
		t.Want(w.do(method, c.request(), "").Status == 405, "%s is not 405", method)
	}
	a := w.get(c.request(with("foo", "1"), with("prompt", ""), with("response_mode", ""), with("scope", ""), with("nonce", "n")))
	t.Want(a.Status == 200, "unknown and empty parameters: %d", a.Status)
	before := w.mcp.count()
	a = w.do("HEAD", c.request(), "")
	t.Want(a.Status < 500 && w.mcp.count() == before, "HEAD: %d", a.Status)
}

func noParameterTwice(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	for _, name := range []string{"client_id", "redirect_uri", "state", "response_type", "code_challenge", "code_challenge_method", "scope"} {
		a := w.get(c.request(with("scope", "notes:read")) + "&" + name + "=second")
		a.LocalError("two " + name)
		for _, link := range links(a) {
			t.Want(name != "state" || !strings.Contains(link, "state="), "an ambiguous state is echoed")
		}
	}
	a := t.World(vouched).get(t.World(vouched).register(hostMCP, nil).request() + "&response_type=code")
	t.Want(a.Status == 303 && a.Location().Query().Get("error") == "invalid_request", "not redirected to a vouched client: %d", a.Status)
	a = w.get(c.request(with("resource", resourceMCP, resourceMCP)))
	t.Want(a.Status == 200, "resource twice: %d", a.Status)
}

func unknownClientStaysLocal(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	for what, e := range map[string]edit{"missing": without("client_id"), "empty": with("client_id", ""), "unknown": with("client_id", "nobody"), "cut": with("client_id", c.id[:len(c.id)-4])} {
		w.get(c.request(e)).LocalError(what)
	}
}

// foreign are redirect URIs that resemble https://good.example/cb or
// http://127.0.0.1/cb and are neither.
var foreign = []string{
	"https://good.example@evil.example/cb", `https://good.example\@evil.example/cb`, "https://good.example%40evil.example/cb", "https://user@good.example/cb",
	"https://good.example/cb#", "https://good.example/cb#x", "https://good.example/cb%23x", "https://good.example/cb?a=b", "https://good.example/cb;a=b",
	"https://good.example/cb/../x", "https://good.example/cb/%2e%2e/x", "https://good.example//cb", "https://good.example/cb/", "https://good.example/cb%2f", "https://good.example/./cb",
	"HTTPS://good.example/cb", "https://Good.example/cb", "https://good.example./cb", "https://xn--good-xyz.example/cb", "https://\uff47ood.example/cb", "https://good\u3002example/cb",
	"https://good.example:8443/cb", "https://good.example:443/cb", "https://good.example.evil.example/cb", "https://evilgood.example/cb", "http://good.example/cb",
	"http://127.0.0.1.evil.example/cb", "http://localhost.evil.example/cb", "http://127.1/cb", "http://2130706433/cb", "http://0177.0.0.1/cb", "http://[::ffff:127.0.0.1]/cb",
	"http://0.0.0.0/cb", "http://127.0.0.1:99999/cb", "http://127.0.0.1:/cb", "http://127.0.0.1:80@evil.example/cb", "https://127.0.0.1:1234/cb", "http://127.0.0.2/cb",
	"https://evil.example/", "/cb", "//evil.example/cb", "javascript:alert(1)", " https://good.example/cb", "https://good.example/cb ", "https://good.example/cb\r\nX: y",
}

func foreignRedirectStaysLocal(t *T) {
	w := t.World()
	c := w.register(hostMCP, metadata("https://good.example/cb", "http://127.0.0.1/cb"))
	for _, uri := range foreign {
		a := w.get(c.request(with("redirect_uri", uri)))
		a.LocalError(uri)
		for _, link := range links(a) {
			t.Want(!strings.Contains(link, "evil") && !strings.Contains(link, "good.example") && !strings.HasPrefix(link, "javascript"), "%q is linked as %q", uri, link)
		}
	}
	a := w.get(c.request(with("redirect_uri", `https://evil.example/"><b>`)))
	t.Want(!strings.Contains(a.Body, "<b>"), "the URI is not escaped")
	t.Want(strings.Contains(a.Body, "https://evil.example/"), "the URI is not shown")
	t.Want(w.get(c.request(with("redirect_uri", "https://good.example/cb"))).Status == 200, "the registered URI is refused")
}

func redirectURIOptionalIfOne(t *T) {
	w := t.World()
	t.Want(w.get(w.register(hostMCP, nil).request(without("redirect_uri"))).Status == 200, "one registered: not optional")
	w.get(w.register(hostMCP, metadata(callback, "https://client.example/other")).request(without("redirect_uri"))).LocalError("two registered")
}

func errorsAskBeforeRedirect(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	for what, e := range map[string]edit{
		"invalid_scope": with("scope", `"quoted"`), "invalid_target": with("resource", "https://elsewhere.example/"), "invalid_request": without("code_challenge"),
		"unsupported_response_type": with("response_type", "token"), "interaction_required": with("prompt", "none"),
	} {
		a := w.get(c.request(e))
		a.LocalError(what)
		found := slices.ContainsFunc(links(a), func(l string) bool { return strings.HasPrefix(l, callback+"?") && strings.Contains(l, "error="+what) })
		t.Want(found, "%s: no door back to the client", what)
	}
	v := t.World(vouched)
	a := v.get(v.register(hostMCP, nil).request(with("scope", `"quoted"`)))
	t.Want(a.Status == 303 && a.Location().Query().Get("error") == "invalid_scope", "vouched redirect: %d", a.Status)
}

func redirectURIsAreExact(t *T) {
	w := t.World()
	c := w.register(hostMCP, metadata("https://client.example/Cb?x=1"))
	for _, uri := range []string{"https://client.example/cb?x=1", "https://client.example/Cb", "https://client.example/Cb?x=2", "https://client.example/Cb?x=1&y=2", "https://client.example/Cb/?x=1", "https://client.example/%43b?x=1"} {
		w.get(c.request(with("redirect_uri", uri))).LocalError(uri)
	}
	t.Want(w.get(c.request()).Status == 200, "the registered URI is refused")
}

func loopbackPortIsFree(t *T) {
	w := t.World()
	for _, host := range []string{"127.0.0.1", "[::1]", "localhost"} {
		c := w.register(hostMCP, metadata("http://"+host+"/callback"))
		for _, port := range []string{"", ":1", ":53682", ":65535"} {
			a := w.get(c.request(with("redirect_uri", "http://"+host+port+"/callback")))
			t.Want(a.Status == 200, "%s%s: %d", host, port, a.Status)
		}
		w.get(c.request(with("redirect_uri", "http://"+host+":53682/other"))).LocalError("another path")
		for _, other := range []string{"127.0.0.1", "[::1]", "localhost"} {
			if other != host {
				w.get(c.request(with("redirect_uri", "http://"+other+":53682/callback"))).LocalError(host + " became " + other)
			}
		}
	}
}

func ownQueryIsKept(t *T) {
	w := t.World()
	c := w.register(hostMCP, metadata("https://client.example/cb?x=1&y=a%20b"))
	to := w.browser().signIn(c.request()).Header.Get("Location")
	t.Want(strings.HasPrefix(to, "https://client.example/cb?x=1&y=a%20b&"), "Location %q", to)
	u, err := url.Parse(to)
	t.Want(err == nil && u.Query().Get("code") != "" && u.Fragment == "", "Location %q", to)
}

func (w *world) redirectedError(t *T, c *client, want string, edits ...edit) {
	a := w.get(c.request(edits...))
	if a.Status != 303 && a.Status != 302 {
		t.Errorf("want a redirect with %s, got %d", want, a.Status)
		return
	}
	t.Want(a.Location().Query().Get("error") == want, "error %q, want %s", a.Location().Query().Get("error"), want)
}

func onlyCode(t *T) {
	w := t.World(vouched)
	c := w.register(hostMCP, nil)
	w.redirectedError(t, c, "invalid_request", without("response_type"))
	for _, kind := range []string{"token", "id_token", "code token", "Code", "none"} {
		w.redirectedError(t, c, "unsupported_response_type", with("response_type", kind))
	}
}

func onlyQueryMode(t *T) {
	w := t.World(vouched)
	c := w.register(hostMCP, nil)
	for _, mode := range []string{"fragment", "form_post", "web_message", "Query"} {
		w.redirectedError(t, c, "invalid_request", with("response_mode", mode))
	}
	t.Want(w.get(c.request(with("response_mode", "query"))).Status == 200, "query is refused")
}

func pkceIsRequired(t *T) {
	w := t.World(vouched)
	c := w.register(hostMCP, nil)
	confidential := w.register(hostMCP, changed(metadata(), "token_endpoint_auth_method", "client_secret_basic"))
	for _, c := range []*client{c, confidential} {
		w.redirectedError(t, c, "invalid_request", without("code_challenge"))
		w.redirectedError(t, c, "invalid_request", without("code_challenge"), without("code_challenge_method"))
	}
	for _, method := range []string{"", "plain", "s256", "S512"} {
		w.redirectedError(t, c, "invalid_request", with("code_challenge_method", method))
	}
	w.redirectedError(t, c, "invalid_request", with("code_challenge_method", "plain"), with("code_challenge", verifier))
	for _, bad := range []string{"short", challengeOf("x") + "A", strings.Repeat("=", 43), strings.Repeat("!", 43), verifier} {
		w.redirectedError(t, c, "invalid_request", with("code_challenge", bad))
	}
}

func stateComesBack(t *T) {
	w := t.World(vouched)
	c := w.register(hostMCP, nil)
	for _, state := range []string{`a+b %&=é"<`, "x", strings.Repeat("s", 4096)} {
		v := c.response(with("state", state))
		t.Want(slices.Equal(v["state"], []string{state}), "success: state %.50q, want %.50q", v["state"], state)
		v = w.get(c.request(with("state", state), with("scope", `"quoted"`))).Location().Query()
		t.Want(slices.Equal(v["state"], []string{state}), "error: state %.50q, want %.50q", v["state"], state)
	}
	t.Want(!c.response(without("state")).Has("state"), "a state from nowhere")
}

func issComesBack(t *T) {
	w := t.World(vouched)
	c := w.register(hostMCP, nil)
	iss := c.response()["iss"]
	t.Want(slices.Equal(iss, []string{issuerMCP}), "success: iss %q", iss)
	iss = w.get(c.request(with("scope", `"quoted"`))).Location().Query()["iss"]
	t.Want(slices.Equal(iss, []string{issuerMCP}), "error: iss %q", iss)
	// A code carried to the wrong token endpoint is worth nothing there.
	code := c.code()
	elsewhere := w.register(hostRoot, nil)
	elsewhere.exchange(code).Refused(400, "invalid_grant")
}

func resourceIsOfThisIssuer(t *T) {
	w := t.World(vouched)
	c := w.register(hostMCP, nil)
	for _, bad := range []string{"mcp.example.com", "/mcp", resourceMCP + "#f", resourceMCP + "#", resourceA, issuerMCP + "/mcp2", issuerMCP + "/other", "https://evil.example/mcp",
		"http://" + hostMCP + "/mcp", resourceMCP + "/../x", issuerMCP + "/%6dcp", "https://mcp.example.com@evil.example/mcp", "urn:x"} {
		w.redirectedError(t, c, "invalid_target", with("resource", bad))
	}
}

func spellingsOfResource(t *T) {
	w := t.World()
	for _, spelling := range []string{resourceMCP, "HTTPS://MCP.example.com/mcp", "https://mcp.example.com:443/mcp", resourceMCP + "/", resourceMCP + "?tenant=1", issuerMCP, issuerMCP + "/"} {
		c := w.register(hostMCP, nil)
		a := w.get(c.request(with("resource", spelling)))
		t.Want(a.Status == 200, "%s: %d", spelling, a.Status)
		if a.Status != 200 {
			continue
		}
		aud := t.claims(c.token(with("resource", spelling)))["aud"]
		t.Want(aud == resourceMCP, "%s: aud %v", spelling, aud)
	}
	a := w.get(w.register(hostMCP, nil).request(with("resource", issuerMCP+"/MCP")))
	t.Want(a.Status == 400, "a path of another case: %d", a.Status)
	root := w.register(hostRoot, nil)
	for _, spelling := range []string{issuerRoot, issuerRoot + "/"} {
		t.Want(t.claims(root.token(with("resource", spelling)))["aud"] == issuerRoot, "%s has another audience", spelling)
	}
}

func originAsResource(t *T) {
	w := t.World()
	t.Want(w.get(w.register(hostMCP, nil).request(with("resource", issuerMCP))).Status == 200, "one resource: the origin is refused")
	a := w.get(w.register(hostMany, nil).request(with("resource", issuerMany)))
	t.Want(a.Status == 400 && strings.Contains(strings.Join(links(a), ""), "invalid_target"), "several resources: the origin is accepted (%d)", a.Status)
}

func oneResourceOnly(t *T) {
	w := t.World(vouched)
	c := w.register(hostMany, nil)
	w.redirectedError(t, c, "invalid_target", with("resource", resourceA, resourceB))
	t.Want(w.get(c.request(with("resource", resourceA, resourceA))).Status == 200, "the same twice is refused")
}

func absentResource(t *T) {
	w := t.World(vouched)
	t.Want(t.claims(w.register(hostMCP, nil).token(without("resource")))["aud"] == resourceMCP, "the default is another")
	w.redirectedError(t, w.register(hostMany, nil), "invalid_target")
}

func scopesAreSelected(t *T) {
	w := t.World(vouched)
	c := w.register(hostMCP, nil)
	granted := func(c *client, edits ...edit) string { return c.tokens(edits...).Text("scope") }
	t.Want(granted(c, with("scope", "notes:read")) == "notes:read", "one scope became %q", granted(c, with("scope", "notes:read")))
	t.Want(granted(c, with("scope", "no:such notes:read other:scope")) == "notes:read", "unknown scopes are not dropped")
	t.Want(granted(c, with("scope", "openid email no:such")) == granted(c, without("scope")), "where nothing is left it is not the default")
	w.redirectedError(t, c, "invalid_scope", with("scope", `notes:read "quoted"`))
	w.redirectedError(t, c, "invalid_scope", with("scope", "notes:read\tx"))
	many := w.register(hostMany, nil)
	t.Want(granted(many, with("resource", resourceA)) == "notes:read", "the default is not the configured one")
	first, second := granted(c, without("scope")), granted(c, without("scope"))
	t.Want(first == second, "the default varies: %q, %q", first, second)
}

func offlineAccessIsNoToolScope(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	a := c.tokens(with("scope", "notes:read offline_access"))
	t.Want(a.Text("scope") == "notes:read", "scope %q", a.Text("scope"))
	t.Want(t.claims(a.Text("access_token"))["scope"] == "notes:read", "scope claim %v", t.claims(a.Text("access_token"))["scope"])
	page, _ := w.browser().consent(c.request(with("scope", "offline_access")))
	t.Want(!slices.Contains(consentForm(page)["scope"], "offline_access"), "offline_access is offered as a permission")
}

func promptIsHonoured(t *T) {
	w := t.World(own, vouched)
	w.idp.EditMetadata(func(m map[string]any) {
		m["prompt_values_supported"] = []string{"none", "login", "select_account", "consent"}
	})
	c := w.register(hostMCP, nil)
	a := w.get(c.request(with("prompt", "none")))
	if a.Status != 303 {
		t.Fatalf("prompt=none: %d", a.Status)
	}
	t.Want(slices.Contains([]string{"login_required", "consent_required", "interaction_required"}, a.Location().Query().Get("error")), "prompt=none: %s", a.Location())
	a = w.get(c.request(with("prompt", "none login")))
	t.Want(a.Status == 303 && a.Location().Query().Get("error") != "", "none with another: %d", a.Status)
	for _, prompt := range []string{"login", "select_account"} {
		b := w.browser()
		_, form := b.consent(c.request(with("prompt", prompt)))
		to := b.approve(hostMCP, form).Location()
		t.Want(to.Query().Get("prompt") == prompt, "prompt=%s reaches the provider as %q", prompt, to.Query().Get("prompt"))
	}
	for _, prompt := range []string{"consent", "create", "unheard-of"} {
		t.Want(w.get(c.request(with("prompt", prompt))).Status == 200, "prompt=%s: no page", prompt)
	}
}

func requestObjectsAreRefused(t *T) {
	w := t.World(vouched)
	c := w.register(hostMCP, nil)
	before := w.mcp.count()
	w.redirectedError(t, c, "request_not_supported", with("request", "eyJhbGciOiJub25lIn0.e30."))
	w.redirectedError(t, c, "request_uri_not_supported", with("request_uri", w.mcp.URL+"/object"))
	t.Want(w.mcp.count() == before, "request_uri was fetched")
	t.Want(w.get(c.request(with("registration", "{}"))).Status == 200, "registration is not ignored")
}

func faultsAreMapped(t *T) {
	w := t.World(own, vouched)
	c := w.register(hostMCP, nil)
	check := func(what, want string) {
		v := c.response()
		t.Want(v.Get("error") == want, "%s: error %q, want %s", what, v.Get("error"), want)
		t.Want(!strings.Contains(v.Encode(), "upstream"), "%s: the provider's text travels", what)
		for _, r := range v.Get("error_description") {
			t.Want(r >= 0x20 && r < 0x7f && r != '"' && r != '\\', "%s: description has %q", what, r)
		}
	}
	for code, want := range map[string]string{
		"access_denied": "access_denied", "temporarily_unavailable": "temporarily_unavailable",
		"weird": "server_error", "invalid_scope": "server_error", "unauthorized_client": "server_error", "server_error": "server_error",
	} {
		w.idp.RefuseAuthorization(code)
		check(code, want)
	}
	w.idp.RefuseAuthorization("")
	w.idp.Break(oauthtest.Token, oauthtest.Status503)
	check("token endpoint 503", "temporarily_unavailable")
	w.idp.Break(oauthtest.Token, oauthtest.Works)
	w.idp.Commit(oauthtest.WrongNonce)
	v := c.response()
	t.Want(v.Get("code") == "" && v.Get("error") != "", "a wrong nonce: %v", v)
	w.idp.Commit(oauthtest.None)
	bob := alice
	bob.EmailVerified = false
	d := t.World(own, vouched, configured("clientID: upstream-client\n", "clientID: upstream-client\n  allowedEmailDomains: ['example\\.com']\n"))
	d.idp.SignInAs(bob)
	v = d.register(hostMCP, nil).response()
	t.Want(v.Get("error") == "access_denied", "a refused person: %q", v.Get("error"))
}

func redirectsAreSafe(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	b := w.browser()
	_, form := b.consent(c.request())
	toProvider := b.post(issuerMCP+"/consent", form)
	toClient := b.get(b.provider(toProvider.Header.Get("Location")))
	for what, a := range map[string]*answer{"consent": toProvider, "callback": toClient} {
		t.Want(a.Status == 303, "%s: %d", what, a.Status)
		t.Want(strings.Contains(a.Header.Get("Cache-Control"), "no-store"), "%s: Cache-Control %q", what, a.Header.Get("Cache-Control"))
		t.Want(a.Header.Get("Referrer-Policy") == "no-referrer", "%s: Referrer-Policy %q", what, a.Header.Get("Referrer-Policy"))
		t.Want(a.Header.Get("Access-Control-Allow-Origin") == "", "%s: CORS", what)
	}
}

func codesAreBound(t *T) {
	w := t.World(own)
	c := w.register(hostMCP, nil)
	code := c.code()
	t.Want(len(code) >= 32 && code != c.code(), "code %q", code)
	t.Want(!strings.Contains(code, challengeOf(verifier)), "the challenge is in the code")
	other := w.register(hostMCP, nil)
	other.exchange(code).Refused(400, "invalid_grant")
	c.exchange(code, with("redirect_uri", "https://client.example/other")).Refused(400, "invalid_grant")
	c.exchange(code, with("code_verifier", verifier2)).Refused(400, "invalid_grant")
	t.Want(c.exchange(code).Status == 200, "the right exchange fails")
	old := c.code()
	w.clock.Move(2 * time.Minute)
	c.exchange(old).Refused(400, "invalid_grant")
}

func authorizeIsBounded(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	w.get(c.request(with("padding", strings.Repeat("x", 17<<10)))).LocalError("query of 17 KiB")
	w.get(c.request(with("scope", strings.Repeat("s ", 2100)+"x"))).LocalError("scope of 4 KiB")
	w.get(c.request(with("resource", resourceMCP+"/"+strings.Repeat("x", 2048)))).LocalError("resource of 2 KiB")
	w.get(c.request(with("redirect_uri", callback+"?"+strings.Repeat("x", 2048)))).LocalError("redirect URI of 2 KiB")
	w.get(c.request(with("state", strings.Repeat("s", 5000)))).LocalError("state of 5000 bytes")
}

func patternsAreAnchored(t *T) {
	w := t.World(configured("proxy:\n", "proxy:\n  allowedRedirectURLs: ['https://good\\.example/cb']\n"))
	for _, uri := range []string{"https://good.example.evil.example/cb", "https://evilgood.example/cb", "https://good.example/cb/more", "https://evil.example/?https://good.example/cb", "https://goodxexample/cb", "*", "https://*/cb"} {
		a := w.postJSON(issuerMCP+"/register", metadata(uri))
		t.Want(a.Status == 400, "%s: %d", uri, a.Status)
	}
	t.Want(w.postJSON(issuerMCP+"/register", metadata("https://good.example/cb")).Status == 201, "the listed URI is refused")
}

func headersAreNotSplit(t *T) {
	w := t.World(vouched)
	c := w.register(hostMCP, changed(metadata(callback, "https://client.example/callback?x=1"), "client_name", "A\r\nX-Injected: 1\u2028B"))
	for _, bad := range []string{"a\r\nX-Injected: 1", "a\nX-Injected: 1", "a\u2028X-Injected: 1", "\x00"} {
		b := w.browser()
		last := b.get(c.request(with("state", bad)))
		if last.Status == 200 { // else it is refused, which is as good
			last = b.signIn(c.request(with("state", bad)))
		}
		for _, a := range []*answer{
			last, b.signIn(c.request()), w.get(c.request(with("scope", bad))), w.get(c.request(with("resource", bad))),
			w.get(c.request(with("redirect_uri", "https://client.example/callback?x=1"+bad))), w.get(c.request(), "Cookie", "mcp=1"),
		} {
			t.Want(a.Header.Get("X-Injected") == "", "%q made a header", bad)
			for name, values := range a.Header {
				for _, v := range values {
					t.Want(!strings.ContainsAny(v, "\r\n\x00") && utf8.ValidString(v), "%s has %q", name, v)
				}
			}
		}
	}
}

func parameterPollution(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	code := c.code()
	w.form(issuerMCP+"/token?code="+code, url.Values{"grant_type": {"authorization_code"}, "client_id": {c.id}, "code_verifier": {verifier}}).Refused(400, "invalid_request")
	w.do("POST", issuerMCP+"/token", "grant_type=authorization_code&grant_type=authorization_code&code_verifier="+verifier+"&client_id="+c.id+"&code="+code, "Content-Type", "application/x-www-form-urlencoded").Refused(400, "invalid_request")
	w.do("POST", issuerMCP+"/token", "grant_type=authorization_code;client_id="+c.id, "Content-Type", "application/x-www-form-urlencoded").Refused(400, "invalid_request")
	w.do("POST", issuerMCP+"/token", "grant_type=%zz", "Content-Type", "application/x-www-form-urlencoded").Refused(400, "invalid_request")
	a := w.form(issuerMCP+"/token", url.Values{"grant_type": {"authorization_code"}, "client_id[]": {c.id}, "code": {code}})
	t.Want(a.Status >= 400, "client_id[] counts as client_id")
	w.get(c.request() + "&client_id=" + c.id).LocalError("client_id twice")
	w.get(c.request(without("client_id")) + ";client_id=" + c.id).LocalError("semicolon")
}
