package conformance

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

var refreshChecks = []Check{
	{IDs: "AS-RT-01", Run: refreshByPolicy, Twins: twins(setMember("/token", "refresh_token", "for-everybody"))},
	{IDs: "AS-RT-02", Run: refreshRotates, Twins: twins(members("/token", func(m map[string]any) { m["refresh_token"] = "always-the-same" }))},
	{IDs: "AS-RT-03 ATK-34", Run: refreshReuseEndsFamily, Twins: twins(answers("/token", 400, 200, `{"access_token":"x"}`), remembersRefresh())},
	{IDs: "AS-RT-04", Run: refreshHasGrace, Twins: twins(spendsRefreshAtOnce())},
	{IDs: "AS-RT-05", Run: refreshIsBound, Twins: twins(answers("/token", 400, 200, `{"access_token":"x"}`))},
	{IDs: "AS-RT-06", Run: refreshOnlyNarrows, Twins: twins(formData("/token", func(v url.Values) {
		if v.Get("grant_type") == "refresh_token" {
			v.Del("scope")
			v.Del("resource")
		}
	}))},
	{IDs: "AS-RT-07", Run: refreshExpires, Twins: twins(configTwin("{refreshTokenIdleLifetime: 1h, refreshTokenLifetime: 2h}", "{refreshTokenIdleLifetime: 720h, refreshTokenLifetime: 2000h}"))},
	{IDs: "AS-RT-08", Run: refreshIsWorthNothingElsewhere, Twins: twins(errorsBecomePasses("/authenticate", 401), members("/token", func(m map[string]any) { m["refresh_token"] = "short" }))},
	{IDs: "AS-RT-09", Run: refreshAfterRestart, Twins: twins(answers("/token", 400, 500, "{}"))},
	{IDs: "AS-TOK-08", Run: codeReplayRevokes, Twins: twins(errorsBecomePasses("/authenticate", 401), status("/authenticate", 200, 401))},
	{IDs: "AS-REV-01", Run: revocationAnswers, Twins: twins(status("/revoke", 200, 404), status("/revoke", 401, 200))},
	{IDs: "AS-REV-02", Run: foreignTokensAreNotRevoked, Twins: twins(status("/revoke", 400, 200), status("/authenticate", 200, 401))},
	{IDs: "AS-REV-03 RS-VAL-05 AS-CONS-18", Run: revocationEndsFamily, Twins: twins(Twin{Front: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/revoke" {
				next.ServeHTTP(w, r)
			}
		})
	}})},
	{IDs: "AS-REV-04", Run: revocationIsPostOnly, Twins: twins(status("/revoke", 405, 200))},
	{IDs: "AS-INT-01", Run: introspectionIsForKnownCallers, Twins: twins(status("/introspect", 401, 200), members("/introspect", func(m map[string]any) { m["reason"] = "malformed" }))},
	{IDs: "AS-INT-02", Run: introspectionTellsTheTruth, Twins: twins(setMember("/introspect", "active", true), dropMember("/introspect", "client_id"))},
	{IDs: "AS-FED-09", Run: goneUsersCannotRefresh, Twins: twins(answers("/token", 400, 200, `{"access_token":"x"}`))},
	{IDs: "AS-CIMD-28", Run: installationsAreIndependent, Twins: twins(status("/authenticate", 200, 401))},
}

// remembersRefresh is a service that answers a used refresh token as the first time.
func remembersRefresh() Twin {
	return Twin{Front: func(next http.Handler) http.Handler {
		var mu sync.Mutex
		good := map[string]string{}
		return changeReplies("/token", func(r *http.Request, a *reply) {
			r.ParseForm()
			mu.Lock()
			defer mu.Unlock()
			if rt := r.PostForm.Get("refresh_token"); rt != "" {
				if a.Status == 200 {
					good[rt] = a.Body
				} else if again, ok := good[rt]; ok {
					a.Status, a.Body = 200, again
				}
			}
		}, next)
	}}
}

// spendsRefreshAtOnce is a service without a grace period.
func spendsRefreshAtOnce() Twin {
	return Twin{Front: func(next http.Handler) http.Handler {
		var mu sync.Mutex
		spent := map[string]bool{}
		return changeReplies("/token", func(r *http.Request, a *reply) {
			r.ParseForm()
			mu.Lock()
			defer mu.Unlock()
			if rt := r.PostForm.Get("refresh_token"); rt != "" {
				if spent[rt] {
					a.Status, a.Body = 400, `{"error":"invalid_grant"}`
				}
				spent[rt] = true
			}
		}, next)
	}}
}

// refresh uses a refresh token.
func (c *client) refresh(token string, edits ...edit) *answer {
	v := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {c.id}}
	if c.secret != "" {
		v.Set("client_secret", c.secret)
	}
	for _, e := range edits {
		e(v)
	}
	return c.w.form("https://"+c.host+"/token", v)
}

// pair signs in for an access and a refresh token.
func (c *client) pair(edits ...edit) (access, refresh string) {
	a := c.tokens(edits...)
	if access, refresh = a.Text("access_token"), a.Text("refresh_token"); refresh == "" {
		c.w.t.Setupf("no refresh token: %s", a.Body)
	}
	return access, refresh
}

func (c *client) revoke(token string, edits ...edit) *answer {
	v := url.Values{"token": {token}, "client_id": {c.id}}
	for _, e := range edits {
		e(v)
	}
	return c.w.form("https://"+c.host+"/revoke", v)
}

func refreshByPolicy(t *T) {
	w := t.World()
	has := func(c *client, edits ...edit) bool { return c.tokens(edits...).JSON()["refresh_token"] != nil }
	codeOnly := w.register(hostMCP, changed(metadata(), "grant_types", []string{"authorization_code"}))
	t.Want(has(w.register(hostMCP, nil)), "a client with the grant gets none")
	t.Want(!has(codeOnly), "a client without the grant gets one")
	t.Want(has(codeOnly, with("scope", "notes:read offline_access")), "offline_access has no effect")
	off := t.World(configured("", "tokens: {refreshTokens: {enabled: false}}"))
	t.Want(!has(off.register(hostMCP, nil)), "refresh tokens are off, and there is one")
}

func refreshRotates(t *T) {
	w := t.World(own)
	c := w.register(hostMCP, nil)
	access, token := c.pair()
	seen := map[string]bool{access: true, token: true}
	for range 3 {
		w.clock.Move(time.Minute)
		a := c.refresh(token)
		t.Want(a.Status == 200, "%d %s", a.Status, a.Body)
		if a.Status != 200 {
			return
		}
		next, at := a.Text("refresh_token"), a.Text("access_token")
		t.Want(next != "" && !seen[next] && !seen[at], "the same token again")
		seen[next], seen[at], token = true, true, next
	}
	t.Want(w.ask(resourceMCP, c.refresh(token).Text("access_token")).Status == 200, "the new access token is refused")
}

func refreshReuseEndsFamily(t *T) {
	w := t.World(own)
	c := w.register(hostMCP, nil)
	_, first := c.pair()
	second := c.refresh(first).Text("refresh_token")
	w.clock.Move(5 * time.Minute)
	third := c.refresh(second)
	c.refresh(first).Refused(400, "invalid_grant")
	c.refresh(third.Text("refresh_token")).Refused(400, "invalid_grant")
	t.Want(w.ask(resourceMCP, third.Text("access_token")).Status == 401, "the newest access token still works")

	_, stolen := c.pair()
	owner := c.refresh(stolen)
	t.Want(w.ask(resourceMCP, owner.Text("access_token")).Status == 200, "the owner's access token does not work")
	w.clock.Move(5 * time.Second)
	again := c.refresh(stolen)
	for range 20 { // the guard is told in the background
		if again.Status != 200 {
			break
		}
		time.Sleep(50 * time.Millisecond)
		again = c.refresh(stolen)
	}
	again.Refused(400, "invalid_grant")
	t.Want(w.ask(resourceMCP, owner.Text("access_token")).Status == 401, "the owner and the thief go on")
}

func refreshHasGrace(t *T) {
	w := t.World(own)
	c := w.register(hostMCP, nil)
	_, token := c.pair()
	var mu sync.Mutex
	var wait sync.WaitGroup
	statuses := map[int]int{}
	v := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {c.id}}
	for range 10 {
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
	t.Want(statuses[200] == 10, "ten parallel refreshes: %v", statuses)
	w.clock.Move(15 * time.Second)
	a := c.refresh(token)
	t.Want(a.Status == 200, "a lost response, asked for again: %d", a.Status)
	if a.Status != 200 {
		return
	}
	t.Want(c.refresh(a.Text("refresh_token")).Status == 200, "its token is dead")
	w.clock.Move(3 * time.Minute)
	c.refresh(token).Refused(400, "invalid_grant")
}

func refreshIsBound(t *T) {
	w := t.World(own)
	c := w.confidential("client_secret_post")
	_, token := c.pair()
	c.refresh(token, without("client_secret")).Refused(401, "invalid_client")
	other := w.register(hostMCP, nil)
	other.refresh(token).Refused(400, "invalid_grant")
	elsewhere := w.register(hostRoot, nil)
	elsewhere.refresh(token).Refused(400, "invalid_grant")
	a := c.refresh(token)
	t.Want(a.Status == 200 && t.claims(a.Text("access_token"))["aud"] == resourceMCP, "the right client: %d %s", a.Status, a.Body)
}

func refreshOnlyNarrows(t *T) {
	w := t.World(own)
	c := w.register(hostMCP, nil)
	_, token := c.pair(with("scope", "notes:read weather:read"))
	c.refresh(token, with("scope", "notes:read notes:write")).Refused(400, "invalid_scope")
	c.refresh(token, with("resource", issuerRoot)).Refused(400, "invalid_target")
	a := c.refresh(token, with("scope", "notes:read"), with("resource", resourceMCP))
	t.Want(a.Status == 200 && a.Text("scope") == "notes:read", "narrowed: %d %s", a.Status, a.Body)
	if len(t.faults) > 0 {
		return
	}
	w.clock.Move(5 * time.Minute)
	a = c.refresh(a.Text("refresh_token"))
	t.Want(a.Status == 200 && a.Text("scope") == "notes:read weather:read", "afterwards: %d %s", a.Status, a.Body)
}

func refreshExpires(t *T) {
	w := t.World(own, configured("", "tokens: {refreshTokenIdleLifetime: 1h, refreshTokenLifetime: 2h}"))
	c := w.register(hostMCP, nil)
	_, idle := c.pair()
	w.clock.Move(61 * time.Minute)
	c.refresh(idle).Refused(400, "invalid_grant")
	if len(t.faults) > 0 {
		return
	}
	_, token := c.pair()
	for range 3 {
		w.clock.Move(35 * time.Minute)
		a := c.refresh(token)
		if a.Status != 200 {
			t.Fatalf("used regularly: %d %s", a.Status, a.Body)
		}
		token = a.Text("refresh_token")
	}
	w.clock.Move(20 * time.Minute)
	c.refresh(token).Refused(400, "invalid_grant")
}

func refreshIsWorthNothingElsewhere(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	access, token := c.pair()
	t.Want(len(token) >= 43, "a refresh token of %d characters", len(token))
	t.Want(w.ask(resourceMCP, token).Status == 401, "a refresh token opens the resource")
	c.exchange(token).Refused(400, "invalid_grant")
	c.refresh(access).Refused(400, "invalid_grant")
	c.refresh(flip(token)).Refused(400, "invalid_grant")
	c.refresh(token+"A").Refused(400, "invalid_grant")
}

func refreshAfterRestart(t *T) {
	w := t.World(own)
	c := w.register(hostMCP, nil)
	_, token := c.pair()
	c.w = t.World(own) // same seed
	a := c.refresh(token)
	t.Want(a.Status == 200 || a.Status == 400 && a.Text("error") == "invalid_grant", "after a restart: %d %s", a.Status, a.Body)
	c.w = t.World(own, configured("seedFiles: [seed]", "seedFiles: [another]"))
	c.refresh(token).Refused(400, "invalid_grant")
}

func codeReplayRevokes(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	code := c.code()
	issued := c.exchange(code).Text("access_token")
	// A caller without the verifier, or another client, ends nothing.
	c.exchange(code, with("code_verifier", verifier2)).Refused(400, "invalid_grant")
	w.register(hostMCP, nil).exchange(code).Refused(400, "invalid_grant")
	t.Want(w.ask(resourceMCP, issued).Status == 200, "a replay without the verifier revokes")
	c.exchange(code).Refused(400, "invalid_grant")
	t.Want(w.ask(resourceMCP, issued).Status == 401, "a replay with the verifier revokes nothing")
}

func revocationAnswers(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	t.Want(c.revoke("unknown").Status == 200, "an unknown token")
	t.Want(c.revoke("").Status == 400, "no token")
	c.revoke("x", with("client_id", "nobody")).Refused(401, "invalid_client")
	confidential := w.confidential("client_secret_post")
	confidential.revoke("x").Refused(401, "invalid_client")
	access, refresh := c.pair()
	t.Want(c.revoke(refresh, with("token_type_hint", "access_token")).Status == 200, "a wrong hint")
	c.refresh(refresh).Refused(400, "invalid_grant")
	t.Want(c.revoke(access, with("token_type_hint", "unheard-of")).Status == 200, "an unknown hint")
}

func foreignTokensAreNotRevoked(t *T) {
	w := t.World()
	c, other := w.register(hostMCP, nil), w.register(hostMCP, nil)
	access, refresh := c.pair()
	for _, token := range []string{access, refresh} {
		a := other.revoke(token)
		t.Want(a.Status >= 400 && a.Status < 500, "another client's token: %d", a.Status)
	}
	t.Want(w.ask(resourceMCP, access).Status == 200, "the access token is dead")
	t.Want(c.refresh(refresh).Status == 200, "the refresh token is dead")
}

func revocationEndsFamily(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	access, refresh := c.pair()
	t.Want(w.ask(resourceMCP, access).Status == 200, "a live token is refused")
	c.revoke(refresh)
	c.refresh(refresh).Refused(400, "invalid_grant")
	t.Want(w.ask(resourceMCP, access).Status == 401, "the access token lives on")
	access, _ = c.pair()
	w.ask(resourceMCP, access) // known to the cache of decisions
	c.revoke(access)
	a := w.ask(resourceMCP, access)
	t.Want(a.Status == 401 && a.challenge().params["error"] == "invalid_token", "a revoked access token: %d", a.Status)
}

func revocationIsPostOnly(t *T) {
	w := t.World()
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		a := w.do(method, issuerMCP+"/revoke?token=x&callback=alert", "")
		t.Want(a.Status == 405 && !strings.Contains(a.Body, "alert"), "%s: %d", method, a.Status)
	}
}

func goneUsersCannotRefresh(t *T) {
	w := t.World(own)
	c := w.register(hostMCP, nil)
	_, token := c.pair()
	w.clock.Move(time.Minute)
	a := c.refresh(token)
	t.Want(a.Status == 200, "a present user: %d %s", a.Status, a.Body)
	w.idp.Remove(alice.Subject)
	w.clock.Move(5 * time.Minute)
	c.refresh(a.Text("refresh_token")).Refused(400, "invalid_grant")
}

func installationsAreIndependent(t *T) {
	w := t.World(own)
	_, laptop := w.tryDocument(func(id string) http.HandlerFunc { return serves(document(id)) })
	phone := w.documentClient(laptop.id)
	access1, refresh1 := laptop.pair()
	access2, refresh2 := phone.pair()
	laptop.revoke(refresh1)
	t.Want(w.ask(resourceMCP, access1).Status == 401, "the revoked installation goes on")
	t.Want(w.ask(resourceMCP, access2).Status == 200, "the other installation's access token is dead")
	t.Want(phone.refresh(refresh2).Status == 200, "the other installation's refresh token is dead")
}

// introspecting is a service with introspection, and its callers.
var introspecting = configured("", `introspection: {enabled: true}
clients:
- {id: server-mcp, authMethod: client_secret_post, secretFiles: [secret-new], redirectURIs: ['`+callback+`'], resources: ['`+resourceMCP+`']}
- {id: anybody, authMethod: none, redirectURIs: ['`+callback+`']}`)

func (w *world) introspect(token string, edits ...edit) *answer {
	v := url.Values{"token": {token}, "client_id": {"server-mcp"}, "client_secret": {"a-secret-of-the-conformance-suite-secret-new"}}
	for _, e := range edits {
		e(v)
	}
	return w.form(issuerMCP+"/introspect", v)
}

func introspectionIsForKnownCallers(t *T) {
	w := t.World(introspecting)
	c := w.register(hostMCP, nil)
	access, refresh := c.pair()
	for what, e := range map[string]edit{"nobody": without("client_id"), "no secret": without("client_secret"), "a wrong secret": with("client_secret", "guess"), "an unknown client": with("client_id", "nobody")} {
		a := w.introspect(access, e)
		t.Want(a.Status == 401 && !strings.Contains(a.Body, "active"), "%s: %d %s", what, a.Status, a.Body)
	}
	t.Want(w.introspect(access, with("client_id", "anybody"), without("client_secret")).Status == 401, "a public client")
	t.Want(w.introspect(access, with("client_id", c.id), without("client_secret")).Status == 401, "a client that registered itself")
	t.Want(w.get(issuerMCP+"/introspect?token="+access).Status == 405, "GET is served")
	if len(t.faults) > 0 {
		return
	}
	foreign := w.register(hostRoot, nil).token()
	for what, token := range map[string]string{"malformed": "x", "refresh token": refresh, "of another host": foreign, "foreign": foreignJWT(t, t.claims(access), "at+jwt"), "changed": reclaim(access, "scope", "all").(string)} {
		a := w.introspect(token)
		t.Want(a.Status == 200 && strings.TrimSpace(a.Body) == `{"active":false}`, "%s: %d %s", what, a.Status, a.Body)
	}
	off := t.World()
	t.Want(off.get(issuerMCP + oauthDocument).JSON()["introspection_endpoint"] == nil, "off, but advertised")
}

func introspectionTellsTheTruth(t *T) {
	w := t.World(own, introspecting)
	c := w.register(hostMCP, nil)
	access, _ := c.pair()
	m, claims := w.introspect(access).JSON(), t.claims(access)
	t.Want(m["active"] == true, "a live token: %v", m)
	for _, name := range []string{"aud", "iss", "sub", "client_id", "scope", "exp", "iat", "jti"} {
		t.Want(m[name] != nil && m[name] == claims[name], "%s is %v, in the token %v", name, m[name], claims[name])
	}
	t.Want(m["token_type"] == "Bearer", "token_type %v", m["token_type"])
	c.revoke(access)
	t.Want(w.introspect(access).JSON()["active"] == false, "a revoked token is active")
	access, _ = c.pair()
	w.clock.Move(2 * time.Hour)
	t.Want(w.introspect(access).JSON()["active"] == false, "an expired token is active")
}
