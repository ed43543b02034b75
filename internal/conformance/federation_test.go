package conformance

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

var federationChecks = []Check{
	{IDs: "AS-FED-01", Run: pkceAndNonceUpstream, Twins: twins(location("/consent", func(q url.Values) { q.Del("nonce") }), location("/consent", func(q url.Values) { q.Set("code_challenge_method", "plain") }))},
	{IDs: "AS-FED-02", Run: upstreamStateIsBound, Twins: twins(answers("/callback", 403, 303, ""), location("/consent", func(q url.Values) { q.Set("state", "short") }))},
	{IDs: "AS-FED-03 ATK-20", Run: providerIssIsVerified, Twins: twins(acceptsCallbacks())},
	{IDs: "AS-FED-04", Run: idTokenIsChecked, Twins: twins(acceptsCallbacks())},
	{IDs: "AS-FED-05 AS-AT-05", Run: peopleAreSubjects, Twins: twins(members("/token", func(m map[string]any) { m["access_token"] = reclaim(m["access_token"], "sub", "alice@example.com") }))},
	{IDs: "AS-FED-06", Run: onlyVerifiedEmail, Twins: twins(acceptsCallbacks(), configTwin("  allowedEmailDomains: ['example\\.com']\n", ""))},
	{IDs: "AS-FED-08 ATK-21", Run: upstreamTokensStay, Twins: twins(members("/token", func(m map[string]any) { m["upstream"] = "at-" + strings.Repeat("LEAKED", 5)[:26] }), errorsBecomePasses("/authenticate", 401))},
	{IDs: "AS-FED-10", Run: keysAreRefetchedSlowly, Twins: twins(Twin{Flaw: true})},
	{IDs: "AS-FED-13", Run: logoutTokensAreChecked, Twins: twins(answers("/account/backchannel-logout", 400, 200, ""))},
	{IDs: "AS-FED-11 ATK-13", Run: redirectOnlyInTheSameBrowser, Twins: twins(acceptsCallbacks())},
}

// acceptsCallbacks is a service that answers every callback with a code.
func acceptsCallbacks() Twin {
	return replies("/callback", func(_ *http.Request, a *reply) {
		u, _ := url.Parse(a.Header.Get("Location"))
		if a.Status >= 400 || u != nil && u.Query().Has("error") {
			a.Status = 303
			a.Header.Set("Location", callback+"?code=granted&state=client-state&iss="+url.QueryEscape(issuerMCP))
		}
	})
}

func logoutTokensAreChecked(t *T) {
	w := t.World(own, configured("displayName: Team notes}", "displayName: Team notes, account: true}"))
	send := func(changes ...any) int {
		now := w.clock.Now()
		claims := map[string]any{
			"iss": w.idp.Issuer, "aud": oauthtest.ClientID, "sub": "alice", "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(), "jti": "one",
			"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
		}
		for i := 0; i < len(changes); i += 2 {
			if name := changes[i].(string); changes[i+1] == nil {
				delete(claims, name)
			} else {
				claims[name] = changes[i+1]
			}
		}
		return w.form(issuerMCP+"/account/backchannel-logout", url.Values{"logout_token": {w.idp.AccessToken(claims)}}).Status
	}
	for _, good := range [][]any{nil, {"sid", "s1"}, {"sub", nil, "sid", "s1"}} {
		status := send(good...)
		t.Want(status == 200, "a logout token with %v: %d", good, status)
	}
	for _, bad := range [][]any{
		{"nonce", "n"}, {"events", nil}, {"events", map[string]any{"x": 1}}, {"jti", nil}, {"sub", nil}, {"iat", nil}, {"aud", "another"}, {"iss", "https://elsewhere.example"}, {"exp", w.clock.Now().Add(-time.Hour).Unix()},
	} {
		status := send(bad...)
		t.Want(status == 400, "a logout token with %v: %d", bad, status)
	}
}

func pkceAndNonceUpstream(t *T) {
	w := t.World(own)
	c := w.register(hostMCP, nil)
	b := w.browser()
	_, form := b.consent(c.request())
	q := b.approve(hostMCP, form).Location().Query()
	t.Want(q.Get("code_challenge_method") == "S256" && len(q.Get("code_challenge")) == 43, "PKCE towards the provider: %s %q", q.Get("code_challenge_method"), q.Get("code_challenge"))
	t.Want(q.Get("code_challenge") != challengeOf(verifier), "the client's challenge is passed on")
	t.Want(len(q.Get("nonce")) >= 22, "nonce %q", q.Get("nonce"))
	t.Want(q.Get("resource") == "", "the client's resource is passed on")
	if len(t.faults) > 0 {
		return
	}
	for _, fault := range []oauthtest.Fault{oauthtest.WrongNonce, oauthtest.NoNonce} {
		w.idp.Commit(fault)
		t.Want(c.response().Get("code") == "", "%s is accepted", fault)
	}
	t.Want(w.idp.Sent(oauthtest.Token).Get("code_verifier") != "", "the verifier is not sent")
}

func upstreamStateIsBound(t *T) {
	w := t.World(own)
	c := w.register(hostMCP, nil)
	b := w.browser()
	_, form := b.consent(c.request())
	to := b.approve(hostMCP, form).Header.Get("Location")
	u, _ := url.Parse(to)
	t.Want(len(u.Query().Get("state")) >= 22, "state %q", u.Query().Get("state"))
	if len(t.faults) > 0 {
		return
	}
	back := b.provider(to)
	t.Want(w.browser().get(back).Status == 403, "no cookie is needed")
	t.Want(w.browser().get(strings.Replace(back, u.Query().Get("state"), strings.Repeat("A", 26), 1)).Status == 403, "any state will do")
	// Of many at once, one gets through.
	cookies := b.cookieHeader(hostMCP)
	var mu sync.Mutex
	var wait sync.WaitGroup
	codes := 0
	for range 20 {
		wait.Go(func() {
			req, _ := http.NewRequest("GET", back, nil)
			req.Header.Set("Cookie", cookies)
			resp, err := w.client.Do(req)
			if err != nil {
				return
			}
			resp.Body.Close()
			if strings.Contains(resp.Header.Get("Location"), "code=") {
				mu.Lock()
				codes++
				mu.Unlock()
			}
		})
	}
	wait.Wait()
	t.Want(codes == 1, "%d of 20 parallel callbacks got a code", codes)
	late := b.toCallback(c.request())
	w.clock.Move(11 * time.Minute)
	t.Want(b.get(late).Status == 403, "a callback after eleven minutes")
}

func (b *browser) cookieHeader(host string) string {
	var pairs []string
	for n, v := range b.jar[host] {
		pairs = append(pairs, n+"="+v)
	}
	return strings.Join(pairs, "; ")
}

func providerIssIsVerified(t *T) {
	w := t.World(own)
	c := w.register(hostMCP, nil)
	for _, fault := range []oauthtest.Fault{oauthtest.WrongResponseIssuer, oauthtest.NoResponseIssuer} {
		w.idp.Commit(fault)
		v := c.response()
		t.Want(v.Get("code") == "", "%s is accepted", fault)
		if fault == oauthtest.WrongResponseIssuer {
			t.Want(w.idp.Count(oauthtest.Token) == 0, "the code went to the provider before iss was checked")
		}
	}
	w.idp.Commit(oauthtest.None)
	// The same login finished at another of the service's hosts, with its cookies.
	b := w.browser()
	back := b.toCallback(c.request())
	b.jar[hostRoot] = b.jar[hostMCP]
	a := b.get(strings.Replace(back, hostMCP, hostRoot, 1))
	t.Want(a.Status == 403, "at another host: %d", a.Status)
}

func idTokenIsChecked(t *T) {
	w := t.World(own)
	c := w.register(hostMCP, nil)
	for _, fault := range oauthtest.Faults {
		if fault == oauthtest.OtherDiscovery || fault == oauthtest.NoResponseIssuer || fault == oauthtest.WrongResponseIssuer {
			continue // AS-FED-03; discovery is cached already
		}
		w.idp.Commit(fault)
		v := c.response()
		t.Want(v.Get("code") == "" && v.Get("error") != "", "%s is accepted", fault)
	}
	w.idp.Commit(oauthtest.None)
	t.Want(c.response().Get("code") != "", "a good ID token is refused")
	fresh := t.World(own)
	fresh.idp.Commit(oauthtest.OtherDiscovery)
	b := fresh.browser()
	_, form := b.consent(fresh.register(hostMCP, nil).request())
	a := b.post(issuerMCP+"/consent", form)
	t.Want(!strings.HasPrefix(a.Header.Get("Location"), fresh.idp.URL), "discovery of another issuer is accepted")
}

func peopleAreSubjects(t *T) {
	w := t.World(own)
	c := w.register(hostMCP, nil)
	sub := func(u oauthtest.User) any {
		w.idp.SignInAs(u)
		return t.claims(c.token())["sub"]
	}
	first := sub(alice)
	moved := alice
	moved.Email, moved.Name = "alice@new.example", "Alice Baker"
	t.Want(sub(moved) == first, "a new e-mail address makes another person")
	squatter := alice
	squatter.Subject = "mallory-9"
	t.Want(sub(squatter) != first, "an e-mail address makes the same person")
	s, _ := first.(string)
	t.Want(strings.Contains(s, alice.Subject) && s != alice.Subject && !strings.Contains(s, "@"), "sub %q does not name the provider", s)
}

func onlyVerifiedEmail(t *T) {
	w := t.World(own, configured("clientID: upstream-client\n", "clientID: upstream-client\n  allowedEmailDomains: ['example\\.com']\n"))
	c := w.register(hostMCP, nil)
	try := func(what string, ok bool, change func(*oauthtest.User)) {
		u := alice
		change(&u)
		w.idp.SignInAs(u)
		v := c.response()
		t.Want((v.Get("code") != "") == ok, "%s: code %v, error %q", what, v.Get("code") != "", v.Get("error"))
	}
	try("verified", true, func(*oauthtest.User) {})
	try("unverified", false, func(u *oauthtest.User) { u.EmailVerified = false })
	try("no address", false, func(u *oauthtest.User) { u.Email = "" })
	try("other domain", false, func(u *oauthtest.User) { u.Email = "alice@evil.example" })
	try("suffix", false, func(u *oauthtest.User) { u.Email = "alice@example.com.evil.example" })
	try("prefix", false, func(u *oauthtest.User) { u.Email = "alice@notexample.com" })
	try("domain in the name", false, func(u *oauthtest.User) { u.Email = "alice@example.com@evil.example" })
}

// upstreamToken is what the fake provider's access tokens look like. Less than
// the whole of it turns up in random base64url now and then.
var upstreamToken = regexp.MustCompile(`at-[A-Z2-7]{26}`)

func upstreamTokensStay(t *T) {
	w := t.World(own)
	c := w.register(hostMCP, nil)
	v := c.response()
	a := c.exchange(v.Get("code"))
	token := a.Text("access_token")
	allowed := w.ask(resourceMCP, token)
	for what, text := range map[string]string{"redirect": v.Encode(), "token response": a.Body, "decision": strings.Join(flat(allowed.Header), "\n"), "log": w.log.String()} {
		t.Want(!upstreamToken.MatchString(text), "a token of the provider is in the %s", what)
	}
	payload := t.claims(token)
	for name, value := range payload {
		s, _ := value.(string)
		t.Want(!strings.HasPrefix(s, "at-"), "a token of the provider is in %s", name)
	}
	// Nor does a foreign token open anything.
	resp, err := http.Get(w.idp.URL + "/keys")
	if err != nil {
		t.Setupf("%v", err)
	}
	resp.Body.Close()
	t.Want(w.ask(resourceMCP, "at-SOMETHING").Status == 401, "a token of the provider is accepted")
	t.Want(w.ask(resourceMCP, foreignJWT(t, map[string]any{"iss": w.idp.URL, "aud": "upstream-client", "sub": "x"}, "JWT")).Status == 401, "an ID token is accepted")
}

func flat(h http.Header) (out []string) {
	for n, vs := range h {
		for _, v := range vs {
			out = append(out, n+": "+v)
		}
	}
	return out
}

func keysAreRefetchedSlowly(t *T) {
	w := t.World(own)
	c := w.register(hostMCP, nil)
	t.Want(c.response().Get("code") != "", "a good sign-in fails")
	w.idp.Commit(oauthtest.UnknownKey)
	before := w.idp.Count(oauthtest.Keys)
	for range 5 {
		if t.twin.Flaw { // a service that asks each time
			if resp, err := http.Get(w.idp.URL + "/keys"); err == nil {
				resp.Body.Close()
			}
		}
		t.Want(c.response().Get("code") == "", "an unknown key is accepted")
	}
	t.Want(w.idp.Count(oauthtest.Keys)-before <= 1, "five unknown keys caused %d fetches", w.idp.Count(oauthtest.Keys)-before)
}

func redirectOnlyInTheSameBrowser(t *T) {
	w := t.World(own)
	c := w.register(hostMCP, nil)
	attacker := w.browser()
	back := attacker.toCallback(c.request())
	victim := w.browser()
	victim.consent(w.register(hostMCP, nil).request())
	a := victim.get(back)
	t.Want(a.Status == 403 && a.Header.Get("Location") == "", "the attacker's callback in the victim's browser: %d", a.Status)
	// The victim's own login, finished with the attacker's code.
	mine := victim.toCallback(c.request())
	m, _ := url.Parse(mine)
	k, _ := url.Parse(back)
	q := m.Query()
	q.Set("code", k.Query().Get("code"))
	m.RawQuery = q.Encode()
	a = victim.get(m.String())
	t.Want(!strings.Contains(a.Header.Get("Location"), "code="), "the attacker's code in the victim's login is accepted")
}
