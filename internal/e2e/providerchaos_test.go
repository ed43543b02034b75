//go:build e2e

package e2e

import (
	"cmp"
	"encoding/base64"
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
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"sigs.k8s.io/yaml"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

// Many clients use a server that gets the provider's token, while replicas are killed
// and the guard goes away. The provider is a strict one: access tokens of 90 seconds,
// and refresh tokens that are good once. The token in the header has to be good in every
// call, no one has to sign in again, and no refresh token is used twice.
//
// What no program can keep is what a process was told and could not pass on before it was
// killed. So the provider knows which replica asks, and a tap before the guard what each
// replica wrote: judge excuses a second use only where the replica that was answered was
// then killed, and nothing of the answer had reached the guard.
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
			b := newBlaze(t, form, whole/2, r.address())
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
	// What the provider knows a process by is its name. A replica that starts again is
	// another process, and has another secret: what the one before it had asked for may
	// come to the provider when the next one runs.
	names   map[*replica]string
	files   map[*replica]map[string]any
	taps    map[string]*tap // by name
	deaths  map[string]death
	signing sync.Mutex // the fake signs in one person at a time

	good, refreshes atomic.Int64

	feel     sync.Mutex
	people   int
	families map[string]string // by subject
	felt     []feeling
	told     map[string]int // 5xx of calls by what they say
	refused  []string       // lines of the replicas' logs about what was refused or ended
}

// feeling is what a person should not come to feel: a call with a token that is not good,
// or that they have to sign in again.
type feeling struct {
	subject, what, answer string
	at                    time.Time
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

func newBlaze(t *testing.T, form string, d time.Duration, redis string) *blaze {
	b := &blaze{
		form: form, provider: oauthtest.NewOIDCProvider(t), families: map[string]string{}, told: map[string]int{},
		names: map[*replica]string{}, files: map[*replica]map[string]any{}, taps: map[string]*tap{}, deaths: map[string]death{},
	}
	b.provider.GiveRefreshTokens(true)
	b.provider.SetLife(providerLife(d))
	b.provider.SetSizes(oauthtest.ShortTokens)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, live := b.provider.Live(r.Header.Get("X-Forwarded-Access-Token")); !live {
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
	var files []map[string]any
	b.storm = newStorm(t, map[string]any{"backend": "redis"}, func(s *storm, file map[string]any) {
		name := fmt.Sprint("replica-", len(s.replicas))
		b.taps[name] = tapped(t, redis)
		files = append(files, file)
		s.backend = strings.TrimPrefix(server.URL, "http://")
		file["guard"] = map[string]any{"backend": "redis", "redis": map[string]any{"addresses": []string{b.taps[name].address}, "passwordFile": "password", "keyPrefix": tapPrefix}}
		file["provider"] = map[string]any{"name": "oidc", "issuerURL": b.provider.Issuer, "clientID": oauthtest.ClientID, "clientSecret": b.secretOf(name)}
		file["keys"].(map[string]any)["rotation"] = "10m"
		file["tokens"] = map[string]any{"accessTokenLifetime": "1h"}
		file["limits"] = map[string]any{"addressRequests": 0, "clientRequests": 0}
		proxy := file["proxy"].(map[string]any)
		proxy["disableConsentScreen"], proxy["allowedRedirectURLs"] = true, []string{regexp.QuoteMeta(redirectURI)}
		proxy["hosts"].([]any)[0].(map[string]any)["providerToken"] = section
	})
	for i, r := range b.replicas {
		b.names[r], b.files[r] = fmt.Sprint("replica-", i), files[i]
	}
	b.died = b.rename
	return b
}

// secretOf is the client's secret of one process.
func (b *blaze) secretOf(name string) string {
	secret := oauthtest.ClientSecret + name
	b.provider.KnowAs(name, secret)
	return secret
}

// keepRefusals keeps what the process of a replica wrote about refusals.
func (b *blaze) keepRefusals(r *replica) {
	for line := range strings.Lines(r.out.String()) {
		if strings.Contains(line, `.denied"`) || strings.Contains(line, `.refused"`) || strings.Contains(line, `.ended"`) {
			b.refused = append(b.refused, b.names[r]+" "+line)
		}
	}
}

// rename gives a replica that was killed another name, before it starts again.
func (b *blaze) rename(r *replica, d death) {
	b.keepRefusals(r)
	before := b.names[r]
	b.deaths[before] = d
	first, _, _ := strings.Cut(before, ".")
	name := fmt.Sprintf("%s.%d", first, len(b.deaths))
	b.names[r], b.taps[name] = name, b.taps[before]
	b.files[r]["provider"].(map[string]any)["clientSecret"] = b.secretOf(name)
	text, err := yaml.Marshal(b.files[r])
	if err == nil {
		err = os.WriteFile(r.config, text, 0o600)
	}
	if err != nil {
		b.t.Error(err)
	}
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
		b.kill(b.replicas[turn%3], binary)
		if turn%2 == 1 {
			b.outage(stopGuard, startGuard, nil)
		}
		time.Sleep(max(0, every-time.Since(began)))
	}
	close(b.over)
	all.Wait()
	for _, r := range b.replicas {
		b.keepRefusals(r)
	}
}

// signedIn is a person and what their client has.
type signedIn struct {
	grant
	subject string
	born    time.Time
}

// use is one person with one client, who calls every second or so.
func (b *blaze) use(client string) {
	var g signedIn
	for !b.isOver() {
		if g.AccessToken == "" {
			if g = b.enter(client); g.AccessToken == "" {
				time.Sleep(300 * time.Millisecond)
				continue
			}
		}
		life := time.Duration(g.ExpiresIn) * time.Second
		if b.form == "client" && time.Since(g.born) > life*7/10 {
			next, over := b.renew(client, g)
			if over {
				g = signedIn{}
				continue
			}
			g.grant, g.born = next, time.Now()
		}
		b.call(&g)
		time.Sleep(time.Duration(700+rand.IntN(600)) * time.Millisecond)
	}
}

func (b *blaze) feels(g *signedIn, what string, a answer) {
	b.feel.Lock()
	defer b.feel.Unlock()
	b.felt = append(b.felt, feeling{g.subject, what, fmt.Sprintf("%d %s %s", a.status, a.header.Get("Www-Authenticate"), a.body), time.Now()})
}

// What may be felt, see feeling.
const (
	deadToken    = "a call with a token that is not good"
	forcedSignIn = "a forced sign-in"
)

// call is one request through nginx. Whatever happens behind it, its answer is one that
// the recipe makes: 503 with Retry-After where it cannot be told who asks.
func (b *blaze) call(g *signedIn) {
	asked := time.Now()
	a := b.send(http.MethodPost, b.gateway(), "/mcp", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "Authorization", "Bearer "+g.AccessToken, "Content-Type", "application/json")
	switch {
	case a.status == http.StatusOK && string(a.body) == "good":
		b.good.Add(1)
	case a.status == http.StatusOK:
		b.feels(g, deadToken, a)
	case a.status == http.StatusUnauthorized:
		b.feels(g, forcedSignIn, a)
		*g = signedIn{}
	case a.status == http.StatusServiceUnavailable && a.retryAfter != "" && b.disturbed(asked, "kill", "guard"):
		b.feel.Lock()
		defer b.feel.Unlock()
		b.told["503 with Retry-After"]++
	default:
		b.problem("a call: %d %s %v", a.status, a.body, a.err)
	}
}

// renew refreshes; over says that the client has to sign in again.
func (b *blaze) renew(client string, g signedIn) (next grant, over bool) {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {g.RefreshToken}, "client_id": {client}}
	for began := time.Now(); time.Since(began) < patience; time.Sleep(300 * time.Millisecond) {
		asked := time.Now()
		a, next := b.token(b.gateway(), form)
		switch {
		case a.status == http.StatusOK && next.AccessToken != "": // else a kill has cut the answer
			b.refreshes.Add(1)
			return next, false
		case a.status == http.StatusBadRequest:
			b.feels(&g, forcedSignIn, a)
			return next, true
		case !b.disturbed(asked, "kill", "guard") && !b.disturbed(asked.Add(-leaseOfGuard), "kill"):
			b.problem("/token: %d %s %v", a.status, a.body, a.err)
		}
		if b.isOver() {
			return next, true
		}
	}
	b.problem("a refresh did not come to an end")
	return next, true
}

// leaseOfGuard is how long a family is left to a replica that died.
const leaseOfGuard = 25 * time.Second

// enter signs a new person in.
func (b *blaze) enter(client string) signedIn {
	b.signing.Lock()
	defer b.signing.Unlock()
	b.people++
	person := oauthtest.User{Subject: fmt.Sprint("person-", b.people), Email: fmt.Sprintf("p%d@example.com", b.people), EmailVerified: true}
	b.provider.SignInAs(person)
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
		return signedIn{}
	}
	a, g := b.token(b.gateway(), url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {verifier}, "client_id": {client}, "resource": {b.mcpURL},
	})
	if a.status != http.StatusOK || g.AccessToken == "" {
		if !b.disturbed(began, "kill", "guard") {
			b.problem("/token: %d %s %v", a.status, a.body, a.err)
		}
		return signedIn{}
	}
	b.feel.Lock()
	defer b.feel.Unlock()
	b.families[person.Subject] = familyOf(g.AccessToken)
	return signedIn{g, person.Subject, time.Now()}
}

// familyOf is the sign-in that an access token names.
func familyOf(access string) string {
	var claims struct {
		Family string `json:"family"`
	}
	if parts := strings.Split(access, "."); len(parts) == 3 {
		raw, _ := base64.RawURLEncoding.DecodeString(parts[1])
		_ = json.Unmarshal(raw, &claims)
	}
	return claims.Family
}
