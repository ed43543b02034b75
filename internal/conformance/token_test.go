package conformance

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

var tokenChecks = []Check{
	{IDs: "AS-CA-01", Run: secretsBothWays, Twins: twins(header("/token", func(h http.Header) { h.Del("Authorization") }), formData("/token", func(v url.Values) { v.Del("client_secret") }))},
	{IDs: "AS-CA-02", Run: oneMethodPerRequest, Twins: twins(formData("/token", func(v url.Values) { v.Del("client_secret") }))},
	{IDs: "AS-CA-03", Run: registeredMethodIsEnforced, Twins: twins(answers("/token", 401, 400, `{"error":"invalid_grant"}`))},
	{IDs: "AS-CA-04", Run: failedClientAuthentication, Twins: twins(dropHeader("/token", "WWW-Authenticate"), status("/token", 401, 400))},
	{IDs: "AS-TOK-01", Run: formPostOnly, Twins: twins(status("/token", 405, 200), requests("/token", func(r *http.Request) {
		if r.URL.RawQuery != "" {
			r.Body, r.ContentLength = http.NoBody, 0
			r.Body = body(r.URL.RawQuery)
		}
	}))},
	{IDs: "AS-TOK-02", Run: tokenDuplicates, Twins: twins(firstOfEach("/token"), replies("/token", func(_ *http.Request, a *reply) {
		if a.Status == 200 {
			a.Status = 400
		}
	}))},
	{IDs: "AS-TOK-03", Run: grantTypeErrors, Twins: twins(replaceBody("/token", "unsupported_grant_type", "invalid_request"))},
	{IDs: "AS-TOK-04", Run: tokenAnswersAreJSON, Twins: twins(dropHeader("/token", "Cache-Control"), setHeader("/token", "Content-Type", "text/plain"))},
	{IDs: "AS-TOK-05", Run: tokenResponse, Twins: twins(dropMember("/token", "scope"), members("/token", func(m map[string]any) { m["expires_in"] = "3600" }), setMember("/token", "token_type", "mac"))},
	{IDs: "AS-TOK-06", Run: badCodesLookAlike, Twins: twins(replies("/token", func(r *http.Request, a *reply) {
		if a.Status == 400 {
			a.Body = `{"error":"invalid_grant","error_description":"` + time.Now().String() + `"}`
		}
	}))},
	{IDs: "AS-TOK-07 ATK-33", Run: codesAreUsedOnce, Twins: twins(remembersSuccess())},
	{IDs: "AS-TOK-09 ATK-02", Run: verifierIsChecked, Twins: twins(formData("/token", func(v url.Values) { v.Set("code_verifier", verifier) }))},
	{IDs: "AS-TOK-10", Run: redirectURIAtToken, Twins: twins(formData("/token", func(v url.Values) { v.Del("redirect_uri") }))},
	{IDs: "AS-TOK-11", Run: resourceAtToken, Twins: twins(formData("/token", func(v url.Values) { v.Del("resource") }))},
	{IDs: "AS-TOK-12", Run: mistakesDoNotCostTheCode, Twins: twins(spendsOnFailure())},
	{IDs: "AS-TOK-13", Run: scopeAtTokenAddsNothing, Twins: twins(setMember("/token", "scope", "notes:read notes:write"))},
	{IDs: "AS-TOK-14", Run: tokenIsBounded, Twins: twins(status("/token", 413, 200), replies("/token", func(r *http.Request, a *reply) {
		r.ParseForm()
		if a.Status == 400 {
			a.Body = `{"error":"invalid_grant","error_description":"` + strings.ReplaceAll(r.PostForm.Get("code"), `"`, `\"`) + `"}`
		}
	}))},
	{IDs: "AS-TOK-15", Run: tokensFitHeaders, Twins: twins(members("/token", func(m map[string]any) {
		if s, ok := m["access_token"].(string); ok {
			m["access_token"] = s + strings.Repeat("x", 4096)
		}
	}))},
	{IDs: "AS-OPT-01", Run: otherGrantsAreUnsupported, Twins: twins(setMember(oauthDocument, "device_authorization_endpoint", issuerMCP+"/device"), status("/token", 400, 200))},
	{IDs: "AS-DPOP-05", Run: dpopIsIgnored, Twins: twins(setMember("/token", "token_type", "DPoP"))},
	{IDs: "AS-AT-01", Run: accessTokenProfile, Twins: twins(members("/token", func(m map[string]any) { m["access_token"] = rehead(m["access_token"], "typ", "JWT") }),
		members("/token", func(m map[string]any) { m["access_token"] = reclaim(m["access_token"], "jti", nil) }))},
	{IDs: "AS-AT-03", Run: accessTokenLife, Twins: twins(setMember("/token", "expires_in", 7200), members("/token", func(m map[string]any) { m["access_token"] = reclaim(m["access_token"], "scope", "notes:read") }))},
	{IDs: "AS-AT-04", Run: accessTokenPrivacy, Twins: twins(members("/token", func(m map[string]any) { m["access_token"] = reclaim(m["access_token"], "email", "alice@example.com") }))},
	{IDs: "ATK-51 AS-CA-05", Run: guessingIsSlowed, Twins: twins(status("/token", 429, 401))},
}

// remembersSuccess is a service that answers a second use of a code as the first.
func remembersSuccess() Twin {
	return Twin{Front: func(next http.Handler) http.Handler {
		var mu sync.Mutex
		good := map[string]string{}
		return changeReplies("/token", func(r *http.Request, a *reply) {
			r.ParseForm()
			mu.Lock()
			defer mu.Unlock()
			if code := r.PostForm.Get("code"); a.Status == 200 {
				good[code] = a.Body
			} else if again, ok := good[code]; ok {
				a.Status, a.Body = 200, again
			}
		}, next)
	}}
}

// spendsOnFailure is a service that uses up a code with the first request.
func spendsOnFailure() Twin {
	return Twin{Front: func(next http.Handler) http.Handler {
		var mu sync.Mutex
		spent := map[string]bool{}
		return changeReplies("/token", func(r *http.Request, a *reply) {
			r.ParseForm()
			mu.Lock()
			defer mu.Unlock()
			code := r.PostForm.Get("code")
			if spent[code] {
				a.Status, a.Body = 400, `{"error":"invalid_grant"}`
			}
			spent[code] = true
		}, next)
	}}
}

// reclaim and rehead change a JWT's payload or header; its signature is then wrong.
func reclaim(token any, name string, value any) any { return rewriteJWT(token, 1, name, value) }
func rehead(token any, name string, value any) any  { return rewriteJWT(token, 0, name, value) }

func rewriteJWT(token any, part int, name string, value any) any {
	s, _ := token.(string)
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return token
	}
	raw, _ := base64.RawURLEncoding.DecodeString(parts[part])
	m := map[string]any{}
	_ = json.Unmarshal(raw, &m)
	if m[name] = value; value == nil {
		delete(m, name)
	}
	raw, _ = json.Marshal(m)
	parts[part] = base64.RawURLEncoding.EncodeToString(raw)
	return strings.Join(parts, ".")
}

var foreignKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// foreignJWT is signed by an unknown key.
func foreignJWT(t *T, claims map[string]any, typ string, extra ...any) string {
	opts := (&jose.SignerOptions{}).WithType(jose.ContentType(typ)).WithHeader("kid", "foreign")
	for i := 0; i+1 < len(extra); i += 2 {
		opts = opts.WithHeader(jose.HeaderKey(extra[i].(string)), extra[i+1])
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: foreignKey()}, opts)
	if err != nil {
		t.Setupf("%v", err)
	}
	raw, _ := json.Marshal(claims)
	jws, err := s.Sign(raw)
	if err != nil {
		t.Setupf("%v", err)
	}
	out, err := jws.CompactSerialize()
	if err != nil {
		t.Setupf("%v", err)
	}
	return out
}

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))
}

// confidential registers a client with this method.
func (w *world) confidential(method string) *client {
	return w.register(hostMCP, changed(metadata(), "token_endpoint_auth_method", method))
}

// viaHeader sends the client's credentials in the Authorization header.
func (c *client) viaHeader(code, authorization string, edits ...edit) *answer {
	v := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {c.verifier}}
	for _, e := range edits {
		e(v)
	}
	return c.w.form("https://"+c.host+"/token", v, "Authorization", authorization)
}

func secretsBothWays(t *T) {
	w := t.World()
	for _, method := range []string{"client_secret_basic", "client_secret_post"} {
		c := w.confidential(method)
		a := c.viaHeader(c.code(), basic(c.id, c.secret))
		t.Want(a.Status == 200, "%s in the header: %d %s", method, a.Status, a.Body)
		a = c.viaHeader(c.code(), "bAsIc "+strings.TrimPrefix(basic(c.id, c.secret), "Basic "), with("client_id", c.id))
		t.Want(a.Status == 200, "%s in the header, scheme in another case: %d", method, a.Status)
		a = c.exchange(c.code())
		t.Want(a.Status == 200, "%s in the form: %d %s", method, a.Status, a.Body)
	}
}

func oneMethodPerRequest(t *T) {
	w := t.World()
	c := w.confidential("client_secret_basic")
	code := c.code()
	c.viaHeader(code, basic(c.id, c.secret), with("client_secret", c.secret), with("client_id", c.id)).Refused(400, "invalid_request")
	other := w.confidential("client_secret_basic")
	a := c.viaHeader(code, basic(c.id, c.secret), with("client_id", other.id))
	t.Want(a.Status == 400 || a.Status == 401, "another client_id in the form: %d", a.Status)
}

func registeredMethodIsEnforced(t *T) {
	w := t.World()
	for _, method := range []string{"client_secret_basic", "client_secret_post"} {
		c := w.confidential(method)
		c.exchange("x", without("client_secret")).Refused(401, "invalid_client")
		c.exchange("x", with("client_secret", c.secret[:len(c.secret)-1]+"x")).Refused(401, "invalid_client")
		c.exchange("x", with("client_secret", "")).Refused(401, "invalid_client")
	}
	public := w.register(hostMCP, nil)
	public.exchange("x", with("client_secret", "guess")).Refused(401, "invalid_client")
	public.viaHeader("x", basic(public.id, "guess")).Refused(401, "invalid_client")
}

func failedClientAuthentication(t *T) {
	w := t.World()
	c := w.confidential("client_secret_basic")
	a := c.viaHeader("x", basic(c.id, "wrong"))
	a.Refused(401, "invalid_client")
	t.Want(strings.HasPrefix(a.Header.Get("WWW-Authenticate"), "Basic "), "WWW-Authenticate %q", a.Header.Get("WWW-Authenticate"))
	for _, bad := range []string{"Basic %%%", "Basic " + base64.StdEncoding.EncodeToString([]byte("no-colon")), "Bearer x"} {
		a := c.viaHeader("x", bad)
		a.Refused(401, "invalid_client")
	}
	c.exchange("x", with("client_secret", "wrong")).Refused(401, "invalid_client")
}

func formPostOnly(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	v := url.Values{"grant_type": {"authorization_code"}, "code": {c.code()}, "client_id": {c.id}, "code_verifier": {verifier}}
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		t.Want(w.do(method, issuerMCP+"/token?"+v.Encode(), "").Status == 405, "%s is not 405", method)
	}
	a := w.do("POST", issuerMCP+"/token?"+v.Encode(), "", "Content-Type", "application/x-www-form-urlencoded")
	t.Want(a.Status >= 400 && a.Status < 500, "parameters of the query count: %d", a.Status)
	body, _ := json.Marshal(map[string]string{"grant_type": "authorization_code", "code": v.Get("code"), "client_id": c.id, "code_verifier": verifier})
	w.do("POST", issuerMCP+"/token", string(body), "Content-Type", "application/json").Refused(400, "invalid_request")
	a = w.do("POST", issuerMCP+"/token", v.Encode(), "Content-Type", "application/x-www-form-urlencoded; charset=UTF-8")
	t.Want(a.Status == 200, "the right request: %d %s", a.Status, a.Body)
}

func tokenDuplicates(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	code := c.code(with("resource", resourceMCP))
	for _, name := range []string{"grant_type", "code", "client_id", "code_verifier", "redirect_uri"} {
		v := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "client_id": {c.id}, "code_verifier": {verifier}, "redirect_uri": {callback}}
		v.Add(name, v.Get(name))
		w.form(issuerMCP+"/token", v).Refused(400, "invalid_request")
	}
	a := c.exchange(code, with("unknown", "1"), with("resource", resourceMCP, resourceMCP), with("client_secret", ""))
	t.Want(a.Status == 200, "unknown, empty and repeated resource: %d %s", a.Status, a.Body)
}

func grantTypeErrors(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	c.exchange("x", without("grant_type")).Refused(400, "invalid_request")
	for _, g := range []string{"password", "implicit", "Authorization_Code", "unheard-of"} {
		c.exchange("x", with("grant_type", g)).Refused(400, "unsupported_grant_type")
	}
	fixed := t.World(configured("", "clients: [{id: fixed, authMethod: none, grantTypes: [authorization_code], redirectURIs: ['"+callback+"']}]"))
	c = &client{w: fixed, host: hostMCP, id: "fixed", redirect: callback, verifier: verifier}
	c.refresh("x").Refused(400, "unauthorized_client")
	t.Want(c.tokens(with("scope", "notes:read offline_access")).JSON()["refresh_token"] == nil, "offline_access adds a grant that the operator left out")
}

func tokenAnswersAreJSON(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	for want, a := range map[int]*answer{200: c.exchange(c.code()), 400: c.exchange("x"), 401: c.exchange("x", with("client_id", "nobody")), 405: w.get(issuerMCP + "/token")} {
		t.Want(a.Status == want, "status %d, want %d", a.Status, want)
		t.Want(a.Header.Get("Content-Type") == "application/json", "%d: Content-Type %q", want, a.Header.Get("Content-Type"))
		t.Want(a.Header.Get("Cache-Control") == "no-store" && a.Header.Get("Pragma") == "no-cache", "%d: may be cached", want)
		a.JSON()
	}
}

func tokenResponse(t *T) {
	m := t.World().register(hostMCP, nil).tokens().JSON()
	s, _ := m["access_token"].(string)
	kind, _ := m["token_type"].(string)
	expires, ok := m["expires_in"].(float64)
	scope, _ := m["scope"].(string)
	t.Want(s != "", "no access_token")
	t.Want(strings.EqualFold(kind, "bearer"), "token_type %v", m["token_type"])
	t.Want(ok && expires > 0 && expires == float64(int64(expires)), "expires_in %v", m["expires_in"])
	t.Want(scope != "", "scope %v", m["scope"])
}

func badCodesLookAlike(t *T) {
	w := t.World(own)
	c := w.register(hostMCP, nil)
	used, expired := c.code(), c.code()
	c.exchange(used)
	others := w.register(hostMCP, nil).code()
	elsewhere := w.register(hostRoot, nil).code()
	bodies := map[string]string{}
	for what, code := range map[string]string{"unknown": "nothing", "used": used, "of another client": others, "of another host": elsewhere} {
		a := c.exchange(code)
		a.Refused(400, "invalid_grant")
		bodies[a.Body] = what
	}
	w.clock.Move(2 * time.Minute)
	a := c.exchange(expired)
	a.Refused(400, "invalid_grant")
	bodies[a.Body] = "expired"
	t.Want(len(bodies) == 1, "the answers differ: %v", bodies)
}

func codesAreUsedOnce(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	code := c.code()
	v := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "client_id": {c.id}, "code_verifier": {verifier}}
	var mu sync.Mutex
	var wait sync.WaitGroup
	statuses := map[int]int{}
	for range 50 {
		wait.Go(func() {
			resp, err := w.client.PostForm(issuerMCP+"/token", v)
			if err != nil {
				return
			}
			resp.Body.Close()
			mu.Lock()
			statuses[resp.StatusCode]++
			mu.Unlock()
		})
	}
	wait.Wait()
	t.Want(statuses[200] == 1 && statuses[400] == 49, "50 parallel uses: %v", statuses)
	c.exchange(code).Refused(400, "invalid_grant")
}

func verifierIsChecked(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	code := c.code()
	c.exchange(code, without("code_verifier")).Refused(400, "invalid_request")
	for _, bad := range []string{verifier2, verifier[:42], strings.Repeat("v", 129), verifier + " ", challengeOf(verifier)} {
		c.exchange(code, with("code_verifier", bad)).Refused(400, "invalid_grant")
	}
	t.Want(c.exchange(code).Status == 200, "the right verifier is refused")
	// A code that another user began is worth nothing in this client's session.
	victim := w.register(hostMCP, nil)
	victim.verifier = verifier2
	stolen := victim.code()
	c.exchange(stolen).Refused(400, "invalid_grant")
	attacker := *victim
	attacker.verifier = verifier
	attacker.exchange(stolen).Refused(400, "invalid_grant")
}

func redirectURIAtToken(t *T) {
	w := t.World()
	c := w.register(hostMCP, metadata("http://localhost/callback"))
	ask := with("redirect_uri", "http://localhost:53682/callback")
	code := c.code(ask)
	for _, bad := range []string{"http://localhost/callback", "http://localhost:53683/callback", callback} {
		c.exchange(code, with("redirect_uri", bad)).Refused(400, "invalid_grant")
	}
	t.Want(c.exchange(code, ask).Status == 200, "the same redirect_uri is refused")
	t.Want(c.exchange(c.code(ask), without("redirect_uri")).Status == 200, "no redirect_uri is refused")
}

func resourceAtToken(t *T) {
	w := t.World()
	c := w.register(hostMany, nil)
	code := c.code(with("resource", resourceA))
	for _, bad := range []string{resourceB, resourceMCP, issuerMany, "https://evil.example", "not a URI", resourceA + "#f"} {
		c.exchange(code, with("resource", bad)).Refused(400, "invalid_target")
	}
	a := c.exchange(code, with("resource", resourceA+"/"))
	t.Want(a.Status == 200, "another spelling: %d %s", a.Status, a.Body)
	a = c.exchange(c.code(with("resource", resourceB)))
	t.Want(a.Status == 200 && t.claims(a.Text("access_token"))["aud"] == resourceB, "absent: %d", a.Status)
}

func mistakesDoNotCostTheCode(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	code := c.code()
	c.exchange(code, with("resource", "https://evil.example")).Refused(400, "invalid_target")
	c.exchange(code, without("code_verifier")).Refused(400, "invalid_request")
	a := c.exchange(code)
	t.Want(a.Status == 200, "the corrected request: %d %s", a.Status, a.Body)
}

func scopeAtTokenAddsNothing(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	a := c.exchange(c.code(with("scope", "notes:read")), with("scope", "notes:read notes:write"))
	t.Want(a.Status == 200 && a.Text("scope") == "notes:read", "%d %s", a.Status, a.Body)
}

func tokenIsBounded(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	t.Want(c.exchange(strings.Repeat("x", 65<<10)).Status == 413, "a body of 65 KiB is read")
	for _, nasty := range []string{`in"put`, `in\put`, "in\r\nput", "inp\u00fct", "<input>"} {
		for _, e := range []edit{with("code", nasty), with("grant_type", nasty), with("resource", nasty), with("code_verifier", nasty)} {
			a := c.exchange(c.code(), e)
			text := a.Text("error_description")
			t.Want(!strings.Contains(text, "put"), "input is echoed: %q", text)
			for _, r := range text {
				t.Want(r >= 0x20 && r < 0x7f && r != '"' && r != '\\', "description %q", text)
			}
		}
	}
}

func tokensFitHeaders(t *T) {
	w := t.World(own)
	crowd := alice
	for range 60 {
		crowd.Groups = append(crowd.Groups, "a-group-with-a-rather-long-name-"+rand.Text())
	}
	w.idp.SignInAs(crowd)
	c := w.register(hostMCP, changed(metadata(), "client_name", strings.Repeat("n", 200)))
	a := c.exchange(c.code())
	t.Want(a.Status == 200, "%d %s", a.Status, a.Body)
	t.Want(len(a.Text("access_token")) <= 4096, "a token of %d bytes", len(a.Text("access_token")))
	allowed := w.ask(resourceMCP, a.Text("access_token"))
	t.Want(allowed.Status == 200 && len(strings.Join(flat(allowed.Header), "\r\n")) < 4096, "answer headers of %d bytes", len(strings.Join(flat(allowed.Header), "\r\n")))
}

func otherGrantsAreUnsupported(t *T) {
	w := t.World()
	m := w.get(issuerMCP + oauthDocument).JSON()
	for _, name := range []string{"device_authorization_endpoint", "pushed_authorization_request_endpoint", "introspection_endpoint", "backchannel_authentication_endpoint"} {
		t.Want(m[name] == nil, "%s is advertised", name)
	}
	c := w.confidential("client_secret_post")
	for _, g := range []string{"urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:jwt-bearer", "client_credentials", "urn:openid:params:grant-type:ciba"} {
		t.Want(!slices.Contains(list(m["grant_types_supported"]), g), "%s is advertised", g)
		c.exchange("x", with("grant_type", g), with("assertion", "x")).Refused(400, "unsupported_grant_type")
	}
}

func dpopIsIgnored(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	v := url.Values{"grant_type": {"authorization_code"}, "code": {c.code(with("dpop_jkt", challengeOf("x")))}, "client_id": {c.id}, "code_verifier": {verifier}}
	a := w.form(issuerMCP+"/token", v, "DPoP", "eyJ0eXAiOiJkcG9wK2p3dCJ9.e30.x")
	t.Want(a.Status == 200 && a.Text("token_type") == "Bearer", "%d %s", a.Status, a.Body)
}

func accessTokenProfile(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	token := c.token()
	h, m := t.header(token), t.claims(token)
	t.Want(h["typ"] == "at+jwt" && h["alg"] == "RS256" && h["kid"] != nil && h["kid"] != "", "header %v", h)
	for _, name := range []string{"iss", "aud", "sub", "client_id", "jti", "scope"} {
		s, _ := m[name].(string)
		t.Want(s != "", "%s is %v", name, m[name])
	}
	for _, name := range []string{"exp", "iat"} {
		n, ok := m[name].(float64)
		t.Want(ok && n > 1.7e9, "%s is %v", name, m[name])
	}
	t.Want(m["client_id"] == c.id, "client_id %v", m["client_id"])
	t.Want(t.claims(c.token())["jti"] != m["jti"], "two tokens share a jti")
}

func accessTokenLife(t *T) {
	w := t.World()
	a := w.register(hostMCP, nil).tokens(with("scope", "notes:read notes:write"))
	m := t.claims(a.Text("access_token"))
	life := m["exp"].(float64) - m["iat"].(float64)
	t.Want(m["scope"] == a.Text("scope"), "scope claim %v, response %v", m["scope"], a.Text("scope"))
	t.Want(a.JSON()["expires_in"] == life && life <= 3600, "life %v, expires_in %v", life, a.JSON()["expires_in"])
}

func accessTokenPrivacy(t *T) {
	token := t.World().newToken(hostMCP, resourceMCP)
	raw, _ := json.Marshal(t.claims(token))
	for _, personal := range []string{alice.Email, alice.Name, "Adams", "engineering"} {
		t.Want(!strings.Contains(string(raw), personal), "the token shows %q", personal)
	}
}

func guessingIsSlowed(t *T) {
	w := t.World(own)
	c := w.confidential("client_secret_post")
	slowed := false
	for range 300 {
		a := c.exchange("x", with("client_secret", rand.Text()))
		if a.Status == http.StatusTooManyRequests {
			slowed = true
			t.Want(a.Header.Get("Retry-After") != "", "429 without Retry-After")
			break
		}
		if a.Status != 401 {
			t.Fatalf("a wrong secret: %d", a.Status)
		}
	}
	t.Want(slowed, "300 wrong secrets in a row were all answered")
}

func newKey() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) }

func rawBase64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// hmacJWT is signed with a public value as secret.
func hmacJWT(t *T, claims map[string]any, secret []byte, kid string) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: secret}, (&jose.SignerOptions{}).WithType("at+jwt").WithHeader("kid", kid))
	if err != nil {
		t.Setupf("%v", err)
	}
	raw, _ := json.Marshal(claims)
	jws, err := s.Sign(raw)
	if err != nil {
		t.Setupf("%v", err)
	}
	out, _ := jws.CompactSerialize()
	return out
}

// otherBits is another letter with the same first four bits: a second spelling
// of the last byte of a 256-byte signature in base64url.
func otherBits(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)^1])
}
