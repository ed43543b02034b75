//go:build e2e

package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

// Many clients use a server that gets the provider's token, while replicas are killed
// and the guard goes away. The provider is a strict one: access tokens of 90 seconds,
// and refresh tokens that are good once. The token in the header has to be good in every
// call, no one has to sign in again, and no refresh token is used twice, but for those
// that were under way at the provider in the moment of a kill: what a process that is
// gone was told is gone with it.
//
// E2E_CHAOS is how long both parts take together; `make chaos T=10m`.
func TestChaosOfProviderTokens(t *testing.T) {
	whole, err := time.ParseDuration(cmp.Or(os.Getenv("E2E_CHAOS"), "40s"))
	if err != nil {
		t.Fatalf("E2E_CHAOS: %v", err)
	}
	for _, form := range []string{"client", "held"} {
		t.Run(form, func(t *testing.T) {
			track(t)
			r := startRedis(t, "--requirepass", "secret-password", "--appendfsync", "always")
			b := newBlaze(t, form, whole/2, map[string]any{"backend": "redis", "redis": map[string]any{"addresses": []string{r.address()}, "passwordFile": "password"}})
			b.burn(whole/2, r.stop, r.run)
			b.judge()
		})
	}
}

// blaze is a storm whose clients call a server that looks at the provider's token.
type blaze struct {
	*storm
	form     string
	provider *oauthtest.OIDCProvider
	signing  sync.Mutex // the fake signs in one person at a time
	people   atomic.Int64
	kills    []time.Time

	good, dead, forced, told, refreshes atomic.Int64
}

// providerLife is how long access tokens of the provider live: in a short run less, so
// that they have to be renewed in it.
func providerLife(d time.Duration) time.Duration {
	switch {
	case d < time.Minute:
		return 20 * time.Second
	case d < 2*time.Minute:
		return 40 * time.Second
	}
	return 90 * time.Second
}

// clientsInChaos are fewer in a short run, which would be over when all have signed in.
func clientsInChaos() int {
	usual := "200"
	if os.Getenv("E2E_CHAOS") == "" {
		usual = "80"
	}
	n, _ := strconv.Atoi(cmp.Or(os.Getenv("E2E_CHAOS_CLIENTS"), usual))
	return n
}

func newBlaze(t *testing.T, form string, d time.Duration, guard map[string]any) *blaze {
	b := &blaze{form: form, provider: oauthtest.NewOIDCProvider(t)}
	b.provider.GiveRefreshTokens(true)
	b.provider.SetLife(providerLife(d))
	b.provider.SetSizes(oauthtest.ShortTokens)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, live := b.provider.Live(r.Header.Get("X-Forwarded-Access-Token")); !live {
			b.dead.Add(1)
			io.WriteString(w, "dead")
			return
		}
		io.WriteString(w, "good")
	}))
	t.Cleanup(server.Close)
	section := map[string]any{"token": "access", "form": form}
	if form == "held" {
		section["accessTokenLifetime"] = "1h"
	} else {
		section["minLifetime"] = "10s"
	}
	b.storm = newStorm(t, guard, func(s *storm, file map[string]any) {
		s.backend = strings.TrimPrefix(server.URL, "http://")
		file["provider"] = map[string]any{"name": "oidc", "issuerURL": b.provider.Issuer, "clientID": oauthtest.ClientID, "clientSecret": oauthtest.ClientSecret}
		file["keys"].(map[string]any)["rotation"] = "10m"
		file["tokens"] = map[string]any{"accessTokenLifetime": "1h"}
		file["limits"] = map[string]any{"addressRequests": 0, "clientRequests": 0}
		proxy := file["proxy"].(map[string]any)
		proxy["disableConsentScreen"], proxy["allowedRedirectURLs"] = true, []string{regexp.QuoteMeta(redirectURI)}
		proxy["hosts"].([]any)[0].(map[string]any)["providerToken"] = section
	})
	return b
}

func (b *blaze) burn(d time.Duration, stopGuard, startGuard func(t *testing.T)) {
	binary, _ := buildShortKeys()
	client := b.register()
	var all sync.WaitGroup
	for range clientsInChaos() {
		all.Go(func() { b.use(client) })
	}
	for int(b.good.Load()) < clientsInChaos() && b.t.Context().Err() == nil { // all are signed in
		time.Sleep(100 * time.Millisecond)
	}
	every := min(15*time.Second, max(d/4, 5*time.Second))
	for turn, end := 0, time.Now().Add(d); time.Now().Before(end); turn++ {
		began := time.Now()
		b.kills = append(b.kills, began)
		b.kill(b.replicas[turn%3], binary)
		if turn%2 == 1 {
			b.outage(stopGuard, startGuard, nil)
		}
		time.Sleep(max(0, every-time.Since(began)))
	}
	close(b.over)
	all.Wait()
}

// use is one person with one client, who calls every second or so.
func (b *blaze) use(client string) {
	var g grant
	var born time.Time
	for !b.isOver() {
		if g.AccessToken == "" {
			if g = b.enter(client); g.AccessToken == "" {
				time.Sleep(300 * time.Millisecond)
				continue
			}
			born = time.Now()
		}
		life := time.Duration(g.ExpiresIn) * time.Second
		if b.form == "client" && time.Since(born) > life*7/10 {
			next, over := b.renew(client, g, born.Add(life))
			if over {
				g = grant{}
				continue
			}
			g, born = next, time.Now()
		}
		b.call(&g)
		time.Sleep(time.Duration(700+rand.IntN(600)) * time.Millisecond)
	}
}

// call is one request through nginx.
func (b *blaze) call(g *grant) {
	asked := time.Now()
	a := b.send(http.MethodPost, b.gateway(), "/mcp", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "Authorization", "Bearer "+g.AccessToken, "Content-Type", "application/json")
	switch {
	case a.status == http.StatusOK && string(a.body) == "good":
		b.good.Add(1)
	case a.status == http.StatusOK: // the server has counted it, see judge
	case a.status == http.StatusUnauthorized:
		b.forced.Add(1)
		*g = grant{}
	case b.disturbed(asked, "kill", "guard"):
		b.told.Add(1)
	default:
		b.problem("a call: %d %s %v", a.status, a.body, a.err)
	}
}

// renew refreshes; over says that the client has to sign in again.
func (b *blaze) renew(client string, g grant, dies time.Time) (next grant, over bool) {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.RefreshToken}, "client_id": {client}}
	for began := time.Now(); time.Since(began) < patience; time.Sleep(300 * time.Millisecond) {
		asked := time.Now()
		a, next := b.token(b.gateway(), form)
		switch {
		case a.status == http.StatusOK:
			b.refreshes.Add(1)
			return next, false
		case a.status == http.StatusBadRequest:
			b.forced.Add(1)
			return g, true
		case !b.disturbed(asked, "kill", "guard") && !b.disturbed(asked.Add(-leaseOfGuard), "kill"):
			b.problem("/token: %d %s %v", a.status, a.body, a.err)
		}
		if b.isOver() {
			return g, true
		}
	}
	b.problem("a refresh did not come to an end")
	return g, true
}

// leaseOfGuard is how long a family is left to a replica that died.
const leaseOfGuard = 25 * time.Second

// enter signs a new person in.
func (b *blaze) enter(client string) grant {
	b.signing.Lock()
	defer b.signing.Unlock()
	n := b.people.Add(1)
	b.provider.SignInAs(oauthtest.User{Subject: fmt.Sprint("person-", n), Email: fmt.Sprintf("p%d@example.com", n), EmailVerified: true})
	jar, _ := cookiejar.New(nil)
	verifier, code := oauth2.GenerateVerifier(), ""
	browser := &http.Client{Jar: jar, Timeout: 20 * time.Second, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), redirectURI) {
			code = r.URL.Query().Get("code")
			return http.ErrUseLastResponse
		}
		return nil
	}}
	began := time.Now()
	resp, err := browser.Get(b.gateway() + "/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {client}, "redirect_uri": {redirectURI}, "state": {randText()}, "resource": {b.mcpURL},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"},
	}.Encode())
	if err == nil {
		resp.Body.Close()
	}
	if code == "" {
		if !b.disturbed(began, "kill", "guard") {
			b.problem("a sign-in: %v", err)
		}
		return grant{}
	}
	a, g := b.token(b.gateway(), url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {verifier}, "client_id": {client}, "resource": {b.mcpURL},
	})
	if a.status != http.StatusOK {
		if !b.disturbed(began, "kill", "guard") {
			b.problem("/token: %d %s %v", a.status, a.body, a.err)
		}
		return grant{}
	}
	return g
}

// around says which disturbances are near.
func (b *blaze) around(at time.Time) (text string) {
	for _, w := range b.windows {
		if at.After(w.from.Add(-3*time.Second)) && at.Before(w.to.Add(3*time.Second)) {
			text += fmt.Sprintf(" %s from %s to %s,", w.kind, w.from.Sub(at).Round(time.Millisecond), w.to.Sub(at).Round(time.Millisecond))
		}
	}
	return text
}

// inFlight is the longest that a refresh takes from the provider to the guard on a machine
// that does much else.
const inFlight = 500 * time.Millisecond

func (b *blaze) judge() {
	t := b.t
	forced, reused, dead := int(b.forced.Load()), len(b.provider.Reused()), int(b.dead.Load())
	unexplained := 0
	for _, r := range b.provider.Reused() {
		cut := slices.ContainsFunc(b.kills, func(kill time.Time) bool {
			return r.First.After(kill.Add(-inFlight)) && r.First.Before(kill.Add(inFlight))
		})
		if !cut {
			unexplained++
		}
		t.Logf("used at %s and %s later, under way at a kill: %v:%s", r.First.Format("15:04:05.000"), r.Again.Sub(r.First).Round(time.Millisecond), cut, b.around(r.First))
	}
	text, _ := json.Marshal(map[string]any{
		"form": b.form, "clients": clientsInChaos(), "kills": len(b.kills), "outages": b.count.outages, "good calls": b.good.Load(), "calls with a dead token": dead,
		"calls told 5xx during a kill or outage": b.told.Load(), "refreshes of clients": b.refreshes.Load(), "refreshes at the provider": len(b.provider.Spent()),
		"forced sign-ins": forced, "refresh tokens used twice": reused, "of these not under way at a kill": unexplained,
	})
	t.Logf("%s", text)
	for i, p := range b.problems {
		if t.Error(p); i == 20 {
			break
		}
	}
	// A provider that sees a refresh token twice ends the person's tokens at once, and with
	// them one that a call may just be carrying.
	if dead > reused {
		t.Errorf("%d calls came with a token that is not good, and %d refresh tokens were used twice", dead, reused)
	}
	// What a replica that is killed was told by the provider, and had not written down,
	// is gone with it: its refresh token is used once more, and that person signs in again.
	// Nothing else may do either.
	if unexplained > 0 || forced > reused {
		t.Errorf("%d forced sign-ins, %d refresh tokens used twice, of which %d were not under way at a kill", forced, reused, unexplained)
	}
	if b.good.Load() < int64(10*clientsInChaos()) || len(b.kills) < 3 || len(b.provider.Spent()) == 0 || b.count.outages == 0 {
		t.Errorf("too little happened")
	}
}

// Keycloak with its default tokens of five minutes, whose refresh tokens are good once:
// in both forms the token in the header is one that Keycloak itself takes. Form held is
// run with a life of half a minute as well, to see renewals that no client asks for.
func TestKeycloakProviderTokens(t *testing.T) {
	k := startKeycloak(t)
	for _, form := range []string{"client", "held"} {
		t.Run(form, func(t *testing.T) {
			realm := "tokens-" + form
			st := newStack(t, setup{provider: "own", idp: func(t *testing.T, st *stack, _ string) map[string]any {
				k.makeRealm(t, realm, map[string]any{"secret": clientSecret}, st)
				return map[string]any{
					"name": "oidc", "issuerURL": k.base + "/realms/" + realm, "clientID": "mfa-e2e", "clientSecret": clientSecret, "allowedEmailDomains": []string{`example\.com`},
				}
			}, change: func(file map[string]any) {
				file["proxy"].(map[string]any)["hosts"].([]any)[0].(map[string]any)["providerToken"] = map[string]any{"token": "access", "form": form}
			}})
			person := keycloakPerson{t: t, st: st, userinfo: k.base + "/realms/" + realm + "/protocol/openid-connect/userinfo"}
			g, a := signIn(t, st.statelessURL, alice)
			person.mustBeKnownBy(g.AccessToken)
			if form == "client" && (g.ExpiresIn > 255 || g.ExpiresIn < 200) {
				t.Errorf("an access token of %d s carries one of 300", g.ExpiresIn)
			}
			for range 3 {
				g = a.client.refresh(t, g.RefreshToken)
				if g.status != http.StatusOK {
					t.Fatalf("refresh: %d %s", g.status, g.Error)
				}
				person.mustBeKnownBy(g.AccessToken)
			}
			if form == "held" {
				k.admin(t, http.MethodPut, "/admin/realms/"+realm, map[string]any{"accessTokenLifespan": 30}, http.StatusNoContent)
				g, _ = signIn(t, st.statelessURL, alice)
				first := person.mustBeKnownBy(g.AccessToken)
				seen := map[string]bool{}
				for began := time.Now(); time.Since(began) < 40*time.Second; time.Sleep(time.Second) {
					seen[person.mustBeKnownBy(g.AccessToken)] = true
				}
				if delete(seen, first); len(seen) < 2 {
					t.Errorf("%d new tokens in forty seconds, of thirty each", len(seen))
				}
			}
			k.disable(t, realm)
			if next := a.client.refresh(t, g.RefreshToken); form == "client" && next.Error != "invalid_grant" {
				t.Errorf("refresh of a person who is gone: %d %s", next.status, next.Error)
			}
		})
	}
}

// keycloakPerson asks as a gateway for the token of a person and shows it to Keycloak.
type keycloakPerson struct {
	t        *testing.T
	st       *stack
	userinfo string
}

func (p keycloakPerson) mustBeKnownBy(access string) string {
	p.t.Helper()
	token := p.token(access)
	answer, body := do(p.t, http.MethodGet, p.userinfo, strings.NewReader(""), "Authorization", "Bearer "+token)
	if answer.StatusCode != http.StatusOK || !strings.Contains(string(body), "alice@example.com") {
		p.t.Fatalf("Keycloak says of the token: %d %s", answer.StatusCode, body)
	}
	return token
}

// token is what the MCP server gets.
func (p keycloakPerson) token(access string) string {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.st.serviceAddress+"/authenticate", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Host = p.st.name + ":" + p.st.port
	req.Header.Set("X-Original-URL", p.st.statelessURL)
	req.Header.Set("X-Original-Method", http.MethodPost)
	req.Header.Set("Authorization", "Bearer "+access)
	resp, err := quick.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		p.t.Fatalf("the service answers %d", resp.StatusCode)
	}
	return resp.Header.Get("X-Forwarded-Access-Token")
}
