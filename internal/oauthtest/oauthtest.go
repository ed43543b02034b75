// Package oauthtest has fakes of the parties this service talks to, speaking
// their documented wire formats over real HTTP. Its invariant: a fake is strict
// where the real one is (codes are single-use, PKCE, redirect URI and client
// secret are checked), and wrong only in the way a test asked for. Only tests
// import it.
package oauthtest

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Credentials of the one client that a fake provider knows.
const (
	ClientID     = "upstream-client"
	ClientSecret = "upstream-secret:%+/&="
)

// User is who the fake signs in, without asking.
type User struct {
	Subject       string // for GitHub a number, for Microsoft tid/oid
	Login         string // GitHub only
	Email         string
	EmailVerified bool
	Name          string
	Groups        []string // GitHub: organizations, and teams as org/slug
	Roles         []string // Microsoft only
	HostedDomain  string   // Google's hd
}

// Endpoint names one endpoint of a provider, for counting and breaking.
type Endpoint string

// The endpoints. Elsewhere is where a broken endpoint redirects to: no request
// should ever get there.
const (
	Discovery     Endpoint = "discovery"
	Authorization Endpoint = "authorization"
	Token         Endpoint = "token"
	Keys          Endpoint = "keys"
	UserInfo      Endpoint = "userinfo"      // GitHub: /user
	Emails        Endpoint = "emails"        // GitHub only: /user/emails
	Organizations Endpoint = "organizations" // GitHub only: /user/orgs
	Teams         Endpoint = "teams"         // GitHub only: /user/teams
	Graph         Endpoint = "graph"         // Microsoft only: /me/transitiveMemberOf
	Directory     Endpoint = "directory"     // Google only: users of the Workspace
	Memberships   Endpoint = "memberships"   // Google only: groups of a user
	ServiceToken  Endpoint = "service token" // Google only: tokens of service accounts
	SignJWT       Endpoint = "signJwt"       // Google only
	Metadata      Endpoint = "metadata"      // Google only: the metadata server
	Exchange      Endpoint = "exchange"      // Google only: the security token service
	Elsewhere     Endpoint = "elsewhere"
)

// Breakage is a way in which an endpoint fails below the level of OAuth.
type Breakage string

// The breakages; Works ends one.
const (
	Works     Breakage = ""
	Hang      Breakage = "hang"    // accepts the request, never answers
	Trickle   Breakage = "trickle" // sends headers, then never ends the body
	Huge      Breakage = "huge"    // 2 MiB of valid JSON
	Garbage   Breakage = "garbage" // HTML with status 200
	Status500 Breakage = "status500"
	Status503 Breakage = "status503"
	Status429 Breakage = "status429"
	Redirect  Breakage = "redirect" // 307 to Elsewhere
)

// Breakages are all of them.
var Breakages = []Breakage{Hang, Trickle, Huge, Garbage, Status500, Status503, Status429, Redirect}

// Fault is a way in which what the provider vouches for is wrong.
type Fault string

// The faults. Each concerns the ID token if not said otherwise.
const (
	None             Fault = ""
	WrongNonce       Fault = "wrong nonce"
	NoNonce          Fault = "no nonce"
	WrongIssuer      Fault = "wrong iss"
	WrongAudience    Fault = "wrong aud"
	SeveralAudiences Fault = "several aud without azp"
	WrongParty       Fault = "wrong azp"
	Expired          Fault = "expired"
	NoExpiry         Fault = "no exp"
	NoIssuedAt       Fault = "no iat"
	FutureIssuedAt   Fault = "iat in the future"
	NotYetValid      Fault = "nbf in the future"
	AlgNone          Fault = "alg none"
	HS256            Fault = "HS256 with the public key as secret"
	WrongKey         Fault = "signed by another key under the known kid"
	UnknownKey       Fault = "signed by an unpublished key"
	NoIDToken        Fault = "no ID token"
	NoSubject        Fault = "no sub"
	WrongTokenHash   Fault = "wrong at_hash"
	OtherUserInfo    Fault = "userinfo about another subject"
	// WrongResponseIssuer is in the authorization response (RFC 9207).
	WrongResponseIssuer Fault = "wrong iss in the authorization response"
	// NoResponseIssuer: promised by discovery, but not sent.
	NoResponseIssuer Fault = "no iss in the authorization response although advertised"
	// OtherDiscovery: the discovery document names another issuer.
	OtherDiscovery Fault = "discovery for another issuer"
)

// Faults are all of them.
var Faults = []Fault{
	WrongNonce, NoNonce, WrongIssuer, WrongAudience, SeveralAudiences, WrongParty, Expired, NoExpiry,
	NoIssuedAt, FutureIssuedAt, NotYetValid, AlgNone, HS256, WrongKey, UnknownKey, NoIDToken, NoSubject,
	WrongTokenHash, OtherUserInfo, WrongResponseIssuer, NoResponseIssuer, OtherDiscovery,
}

// Provider is what both fakes can do.
type Provider interface {
	// SignInAs sets who the next visits sign in as.
	SignInAs(User)
	// RefuseAuthorization makes the authorization endpoint answer with an
	// error code; "" ends that. RefuseToken does so for the token endpoint.
	RefuseAuthorization(code string)
	RefuseToken(code string)
	// GiveRefreshTokens makes the token endpoint issue refresh tokens.
	GiveRefreshTokens(bool)
	// Remove takes back every token of a user; Change replaces the user.
	Remove(subject string)
	Change(User)
	// Break breaks an endpoint.
	Break(Endpoint, Breakage)
	// Commit makes the provider commit a fault. It reports false if this
	// kind of provider has nothing that could be wrong in this way.
	Commit(Fault) bool
	// Count and Sent: requests so far, and the parameters of the last one.
	Count(Endpoint) int
	Sent(Endpoint) url.Values
	// Client returns a client whose every request ends at the fake, whatever
	// the host: the fake can so stand for a public provider.
	Client() *http.Client
}

// Visit is a browser at the identity provider: it gets address and returns
// where the provider sends it.
func Visit(t testing.TB, client *http.Client, address string) *url.URL {
	t.Helper()
	browser := &http.Client{
		Transport:     client.Transport,
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	to, err := resp.Location()
	if err != nil {
		t.Fatalf("authorization endpoint answered %s instead of a redirect", resp.Status)
	}
	return to
}

// fake is what the providers share: one listener, its faults and its memory.
type fake struct {
	// URL is where the fake listens.
	URL    string
	closed chan struct{} // ends hanging requests

	mu          sync.Mutex
	user        User
	fault       Fault
	broken      map[Endpoint]Breakage
	count       map[Endpoint]int
	sent        map[Endpoint]url.Values
	refuseAuthz string
	refuseToken string
	codes       map[string]visit
	tokens      map[string]User
	refreshing  bool
	refresh     map[string]visit     // live refresh tokens
	superseded  map[string]*Spending // used refresh tokens
	sizes       Sizes
	life        time.Duration // of access tokens, 0 for that of the kind of provider
	ended       map[string]time.Time
	secrets     map[string]string // of the client beside ClientSecret: who has each
	spent       []*Spending       // the first uses of refresh tokens
	reused      []Reuse           // uses of refresh tokens that were used before
	keepRefresh bool              // a refresh gives no new refresh token
	afterSpend  func()            // runs between the use of a refresh token and the answer
	scopes      map[string]string // of access tokens
}

// visit is what a code stands for.
type visit struct {
	user        User
	redirectURI string
	challenge   string
	nonce       string
	scopes      string
	refreshed   bool // by a refresh token that stays good
}

func (f *fake) start(t testing.TB, handler http.Handler) {
	f.closed = make(chan struct{})
	f.broken = map[Endpoint]Breakage{}
	f.count = map[Endpoint]int{}
	f.sent = map[Endpoint]url.Values{}
	f.codes = map[string]visit{}
	f.tokens, f.ended, f.scopes = map[string]User{}, map[string]time.Time{}, map[string]string{}
	f.refresh = map[string]visit{}
	f.superseded, f.secrets = map[string]*Spending{}, map[string]string{}
	server := httptest.NewServer(handler)
	f.URL = server.URL
	t.Cleanup(func() {
		close(f.closed)
		server.Close()
	})
}

// SignInAs implements Provider.
func (f *fake) SignInAs(u User) { f.set(func() { f.user = u }) }

// RefuseAuthorization implements Provider.
func (f *fake) RefuseAuthorization(code string) { f.set(func() { f.refuseAuthz = code }) }

// RefuseToken implements Provider.
func (f *fake) RefuseToken(code string) { f.set(func() { f.refuseToken = code }) }

// GiveRefreshTokens makes the token endpoint issue refresh tokens, each to be
// used once: as at strict providers, the use of one that was used before ends
// all of that user.
func (f *fake) GiveRefreshTokens(on bool) { f.set(func() { f.refreshing = on }) }

// Sizes are how long a provider's tokens are, in characters; 0 is short.
type Sizes struct{ Access, Refresh int }

// Sizes of tokens as they were seen: of Microsoft and Cognito, whose access tokens
// are JWTs and whose refresh tokens are encrypted; and of Okta, Auth0 and Google.
var (
	LongTokens  = Sizes{Access: 2500, Refresh: 1900}
	ShortTokens = Sizes{Access: 1100, Refresh: 100}
)

// Habits are what a provider's tokens are like: see docs/provider-tokens.md.
type Habits struct {
	Sizes
	Life time.Duration // of access tokens; 0 for no end that is told
	// Refreshes: there are refresh tokens. Rotates: each is good once; else a refresh
	// gives no new one, and the old one stays good.
	Refreshes, Rotates bool
}

// ByProvider are the habits of providers, as they were seen.
var ByProvider = map[string]Habits{
	"Google":           {Sizes{Access: 220, Refresh: 103}, time.Hour, true, false},
	"GitHub App":       {Sizes{Access: 40, Refresh: 80}, 8 * time.Hour, true, true},
	"GitHub OAuth App": {Sizes{Access: 40}, 0, false, false},
	"Microsoft Entra":  {Sizes{Access: 2500, Refresh: 1900}, 75 * time.Minute, true, true},
	"Keycloak":         {Sizes{Access: 1300, Refresh: 800}, 5 * time.Minute, true, true},
	"Auth0":            {Sizes{Access: 1200, Refresh: 100}, 24 * time.Hour, true, true},
	"Cognito":          {Sizes{Access: 1000, Refresh: 1800}, time.Hour, true, false},
	"plain OAuth 2.0":  {Sizes{Access: 64, Refresh: 64}, time.Hour, true, true},
}

// Behave makes the fake give tokens of these habits from now on.
func (f *fake) Behave(h Habits) {
	f.SetSizes(h.Sizes)
	f.SetLife(h.Life)
	f.GiveRefreshTokens(h.Refreshes)
	f.KeepRefreshTokens(h.Refreshes && !h.Rotates)
}

// SetSizes makes the tokens from now on as long as those of a real provider.
func (f *fake) SetSizes(s Sizes) { f.set(func() { f.sizes = s }) }

// SetLife is how long access tokens live from now on; the endpoints refuse those that
// have expired.
func (f *fake) SetLife(d time.Duration) { f.set(func() { f.life = d }) }

// KeepRefreshTokens makes refreshes give no new refresh token: the old one stays good.
func (f *fake) KeepRefreshTokens(on bool) { f.set(func() { f.keepRefresh = on }) }

// AfterSpending has do run each time that a refresh token has been used and before
// the answer is sent, such as to break the answer, or to take long.
func (f *fake) AfterSpending(do func()) { f.set(func() { f.afterSpend = do }) }

// Spending is the first use of a refresh token.
type Spending struct {
	Subject string // whose it is
	By      string // who has the client's secret that it came with, see KnowAs
	Asked   time.Time
	// Answered is when the answer was written, zero while it was not.
	Answered time.Time
}

// Reuse is the use of a refresh token that was used before.
type Reuse struct {
	First Spending
	By    string
	At    time.Time
}

// KnowAs gives the client one more secret. What comes with it is by this name in
// Spending and Reuse: so one sees which replica of a service asked.
func (f *fake) KnowAs(name, secret string) { f.set(func() { f.secrets[secret] = name }) }

// owner says whose secret of the client this is. f.mu is held.
func (f *fake) owner(secret string) (name string, ok bool) {
	if secret == ClientSecret {
		return "", true
	}
	name, ok = f.secrets[secret]
	return name, ok
}

// Spent returns the first uses of refresh tokens, and Reused the further ones.
func (f *fake) Spent() (all []Spending) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.spent {
		all = append(all, *s)
	}
	return all
}

// Reused: see Spent.
func (f *fake) Reused() []Reuse {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.reused)
}

// answered notes that the answer to the use of a refresh token was written.
func (f *fake) answered(refreshToken string) {
	f.set(func() {
		if s := f.superseded[refreshToken]; s != nil && s.Answered.IsZero() {
			s.Answered = time.Now()
		}
	})
}

// Live reports whose access token this is, if it is good now, and with which scopes
// the visit asked for it.
func (f *fake) Live(token string) (u User, scopes string, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u, ok = f.tokens[token]
	if end := f.ended[token]; ok && !end.IsZero() && !time.Now().Before(end) {
		ok = false
	}
	return u, f.scopes[token], ok
}

// expiresIn is the lifetime that an answer names, in seconds.
func (f *fake) expiresIn(standard int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.life == 0 {
		return standard
	}
	return int(f.life / time.Second)
}

// Remove takes back every token of a user, as when the account is disabled.
func (f *fake) Remove(subject string) { f.set(func() { f.remove(subject) }) }

func (f *fake) remove(subject string) {
	maps.DeleteFunc(f.tokens, func(_ string, u User) bool { return u.Subject == subject })
	maps.DeleteFunc(f.refresh, func(_ string, v visit) bool { return v.user.Subject == subject })
}

// Change replaces what the provider knows of the user with this subject.
func (f *fake) Change(u User) {
	f.set(func() {
		for token, old := range f.tokens {
			if old.Subject == u.Subject {
				f.tokens[token] = u
			}
		}
		for token, v := range f.refresh {
			if v.user.Subject == u.Subject {
				v.user = u
				f.refresh[token] = v
			}
		}
	})
}

// Break implements Provider.
func (f *fake) Break(e Endpoint, b Breakage) { f.set(func() { f.broken[e] = b }) }

// Count implements Provider.
func (f *fake) Count(e Endpoint) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count[e]
}

// Sent implements Provider.
func (f *fake) Sent(e Endpoint) url.Values {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sent[e]
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// Client implements Provider.
func (f *fake) Client() *http.Client {
	return &http.Client{Transport: redirectAll{to: strings.TrimPrefix(f.URL, "http://")}}
}

type redirectAll struct{ to string }

func (r redirectAll) RoundTrip(req *http.Request) (*http.Response, error) {
	out := req.Clone(req.Context())
	out.Host = req.URL.Host
	out.URL.Scheme, out.URL.Host = "http", r.to
	resp, err := http.DefaultTransport.RoundTrip(out)
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}

// at counts a request to e, breaks it if told so, and else serves it.
func (f *fake) at(e Endpoint, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		_ = r.ParseForm()
		f.mu.Lock()
		f.count[e]++
		f.sent[e] = r.Form
		breakage := f.broken[e]
		f.mu.Unlock()
		if breakage == Works {
			serve(w, r)
			return
		}
		f.breakDown(w, r, breakage)
	}
}

func (f *fake) breakDown(w http.ResponseWriter, r *http.Request, b Breakage) {
	w.Header().Set("Content-Type", "application/json")
	switch b {
	case Hang:
		f.wait(r)
	case Trickle:
		_, _ = w.Write([]byte(`{"padding":"`))
		_ = http.NewResponseController(w).Flush()
		f.wait(r)
	case Huge:
		_, _ = w.Write([]byte(`{"padding":"` + strings.Repeat("x", 2<<20) + `"}`))
	case Garbage:
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!doctype html><title>Sign in to the hotel network</title>"))
	case Status500:
		http.Error(w, `{"error":"internal"}`, http.StatusInternalServerError)
	case Status503:
		http.Error(w, `{"error":"maintenance"}`, http.StatusServiceUnavailable)
	case Status429:
		w.Header().Set("Retry-After", "60")
		http.Error(w, `{"error":"slow_down"}`, http.StatusTooManyRequests)
	case Redirect:
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}
}

func (f *fake) wait(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-f.closed:
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
