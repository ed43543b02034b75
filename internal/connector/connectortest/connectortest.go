// Package connectortest is the suite that every browser connector passes,
// against a fake of its provider. Its invariant: each case runs for each
// connector, or the connector's harness gives the reason why it cannot, and the
// suite holds the fake to that reason.
package connectortest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

// RedirectURI is the callback of every Login the suite makes.
const RedirectURI = "https://mcp.example.com/callback"

// Timeout bounds a call of a connector made with Client.
const Timeout = time.Second

// App is this service as the fakes of oauthtest know it.
func App() upstream.App {
	return upstream.App{ClientID: oauthtest.ClientID, ClientSecret: conf.NewSecret(oauthtest.ClientSecret)}
}

// Client returns a client to p with that Timeout.
func Client(p oauthtest.Provider) *http.Client {
	client := p.Client()
	client.Timeout = Timeout
	return client
}

// Fixture is a connector and the provider it talks to.
type Fixture struct {
	Connector connector.Connector
	Provider  oauthtest.Provider
	Namespace string // of every Identity
}

// Harness says how to test one kind of connector.
type Harness struct {
	// New starts a fresh provider and a connector that uses Client.
	New func(t *testing.T) Fixture
	// Alice is a person whom the connector reports in full, groups aside.
	// Her address must be at corp.example.
	Alice oauthtest.User
	// AuthorizationURLNeeds and IdentifyNeeds are the endpoints without which
	// these methods cannot work, when the connector is new.
	AuthorizationURLNeeds, IdentifyNeeds []oauthtest.Endpoint
	// RecheckNeeds are the endpoints without which Recheck cannot work.
	RecheckNeeds []oauthtest.Endpoint
	// NoNonce is the reason why the provider knows no nonce, if it does not.
	NoNonce string
	// NotApplicable gives the reason for each fault that the provider cannot commit.
	NotApplicable map[oauthtest.Fault]string
}

// NewLogin returns a Login as the service makes it.
func NewLogin() connector.Login {
	return connector.Login{
		State:       rand.Text(),
		Nonce:       rand.Text(),
		Verifier:    rand.Text() + rand.Text(),
		RedirectURI: RedirectURI,
	}
}

// SignIn walks one visit: authorization URL, browser, callback.
func SignIn(t *testing.T, f Fixture, login connector.Login) (connector.Identity, error) {
	t.Helper()
	return identify(t, f, login, Visit(t, f, login))
}

// identify calls Identify and checks that no session stands beside an error.
func identify(t *testing.T, f Fixture, login connector.Login, query url.Values) (connector.Identity, error) {
	t.Helper()
	id, session, err := f.Connector.Identify(t.Context(), login, query)
	if err != nil && session != (connector.Session{}) {
		t.Error("a session beside an error")
	}
	return id, err
}

// Visit is the first half of SignIn: it returns the callback's query.
func Visit(t *testing.T, f Fixture, login connector.Login) url.Values {
	t.Helper()
	address, err := f.Connector.AuthorizationURL(t.Context(), login)
	if err != nil {
		t.Fatalf("AuthorizationURL: %v", err)
	}
	callback := oauthtest.Visit(t, f.Provider.Client(), address)
	if got := callback.Scheme + "://" + callback.Host + callback.Path; got != login.RedirectURI {
		t.Fatalf("the browser was sent to %s", got)
	}
	if callback.Query().Get("state") != login.State {
		t.Fatalf("state came back as %q", callback.Query().Get("state"))
	}
	return callback.Query()
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Run("AS-FED-08 the identity and nothing else comes out", h.success)
	t.Run("AS-FED-01 request carries state, PKCE S256 and nonce", h.request)
	t.Run("AS-FED-01 another visit's verifier", h.wrongVerifier)
	t.Run("AS-FED-01 login without its protections", h.incompleteLogin)
	t.Run("AS-FED-05 e-mail change keeps the subject", h.emailChange)
	t.Run("AS-FED-05 reused e-mail is another subject", h.emailReuse)
	t.Run("AS-FED-06 unverified e-mail is no e-mail", h.unverifiedEmail)
	t.Run("code is redeemed once", h.replay)
	t.Run("callback without usable parameters", h.malformedCallback)
	t.Run("AS-FED-07 authorization errors", h.authorizationErrors)
	t.Run("AS-FED-07 token errors", h.tokenErrors)
	t.Run("AS-FED-04 faults", h.faults)
	t.Run("breakage", h.breakage)
	t.Run("client secret does not print", h.print)
	t.Run("AS-FED-09 re-check", h.recheck)
}

func (h Harness) fixture(t *testing.T) Fixture {
	t.Helper()
	f := h.New(t)
	f.Provider.SignInAs(h.Alice)
	return f
}

func (h Harness) success(t *testing.T) {
	t.Parallel()
	f := h.fixture(t)
	id, err := SignIn(t, f, NewLogin())
	if err != nil {
		t.Fatal(err)
	}
	id.Groups = nil // what a provider knows of groups is for its own tests
	want := connector.Identity{Namespace: f.Namespace, Subject: h.Alice.Subject, Email: h.Alice.Email, Name: h.Alice.Name}
	if !reflect.DeepEqual(id, want) {
		t.Errorf("identity %+v, want %+v", id, want)
	}
}

func (h Harness) print(t *testing.T) {
	f := h.fixture(t)
	mustSignIn(t, f)
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if text := fmt.Sprintf(verb, f.Connector); strings.Contains(text, oauthtest.ClientSecret) {
			t.Errorf("%s shows the client secret: %s", verb, text)
		}
	}
}

func (h Harness) request(t *testing.T) {
	t.Parallel()
	f := h.fixture(t)
	login := NewLogin()
	if _, err := SignIn(t, f, login); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(login.Verifier))
	want := map[string]string{
		"response_type":         "code",
		"client_id":             oauthtest.ClientID,
		"redirect_uri":          RedirectURI,
		"state":                 login.State,
		"nonce":                 login.Nonce,
		"code_challenge":        base64.RawURLEncoding.EncodeToString(sum[:]),
		"code_challenge_method": "S256",
	}
	if h.NoNonce != "" {
		want["nonce"] = ""
	}
	for name, value := range want {
		if got := f.Provider.Sent(oauthtest.Authorization).Get(name); got != value {
			t.Errorf("authorization request: %s = %q, want %q", name, got, value)
		}
	}
	for name := range f.Provider.Sent(oauthtest.Authorization) {
		if strings.Contains(name, "secret") || name == "code_verifier" {
			t.Errorf("authorization request shows %s to the browser", name)
		}
	}
	if got := f.Provider.Sent(oauthtest.Token).Get("code_verifier"); got != login.Verifier {
		t.Errorf("token request: code_verifier = %q", got)
	}
}

func (h Harness) wrongVerifier(t *testing.T) {
	t.Parallel()
	f := h.fixture(t)
	login := NewLogin()
	query := Visit(t, f, login)
	login.Verifier = NewLogin().Verifier
	id, err := identify(t, f, login, query)
	refused(t, id, err, connector.ErrRejected)
}

func (h Harness) incompleteLogin(t *testing.T) {
	t.Parallel()
	f := h.fixture(t)
	query := Visit(t, f, NewLogin())
	for name, spoil := range map[string]func(*connector.Login){
		"state":        func(l *connector.Login) { l.State = "" },
		"nonce":        func(l *connector.Login) { l.Nonce = "" },
		"verifier":     func(l *connector.Login) { l.Verifier = "short" },
		"redirect URI": func(l *connector.Login) { l.RedirectURI = "" },
	} {
		login := NewLogin()
		spoil(&login)
		if address, err := f.Connector.AuthorizationURL(t.Context(), login); err == nil || address != "" {
			t.Errorf("no %s: AuthorizationURL gave %q, %v", name, address, err)
		}
		if id, err := identify(t, f, login, query); err == nil || !reflect.ValueOf(id).IsZero() {
			t.Errorf("no %s: Identify gave %+v, %v", name, id, err)
		}
	}
}

func (h Harness) emailChange(t *testing.T) {
	t.Parallel()
	f := h.fixture(t)
	before := mustSignIn(t, f)
	moved := h.Alice
	moved.Email = "alice.married@corp.example"
	moved.Login, moved.Name = "alice-married", "Alice Married"
	f.Provider.SignInAs(moved)
	after := mustSignIn(t, f)
	if before.Subject != after.Subject || before.Namespace != after.Namespace {
		t.Errorf("was %s/%s, is %s/%s", before.Namespace, before.Subject, after.Namespace, after.Subject)
	}
	if after.Email != moved.Email {
		t.Errorf("e-mail %q, want %q", after.Email, moved.Email)
	}
}

func (h Harness) emailReuse(t *testing.T) {
	t.Parallel()
	f := h.fixture(t)
	before := mustSignIn(t, f)
	other := h.Alice
	other.Subject = "424242"
	f.Provider.SignInAs(other)
	if after := mustSignIn(t, f); after.Subject == before.Subject {
		t.Errorf("two people are both %s", after.Subject)
	}
}

func (h Harness) unverifiedEmail(t *testing.T) {
	t.Parallel()
	f := h.fixture(t)
	unverified := h.Alice
	unverified.EmailVerified = false
	f.Provider.SignInAs(unverified)
	if id := mustSignIn(t, f); id.Email != "" || id.Subject != h.Alice.Subject {
		t.Errorf("identity %+v", id)
	}
}

func (h Harness) replay(t *testing.T) {
	t.Parallel()
	f := h.fixture(t)
	login := NewLogin()
	query := Visit(t, f, login)
	if _, err := identify(t, f, login, query); err != nil {
		t.Fatal(err)
	}
	id, err := identify(t, f, login, query)
	refused(t, id, err, connector.ErrRejected)
}

func (h Harness) malformedCallback(t *testing.T) {
	t.Parallel()
	f := h.fixture(t)
	login := NewLogin()
	good := Visit(t, f, login)
	for name, spoil := range map[string]func(url.Values){
		"no code":   func(q url.Values) { q.Del("code") },
		"two codes": func(q url.Values) { q.Add("code", "another") },
		"long code": func(q url.Values) { q.Set("code", strings.Repeat("x", 1<<16)) },
		"two issuers": func(q url.Values) {
			q["iss"] = []string{q.Get("iss"), "https://attacker.example"}
		},
	} {
		query := url.Values{}
		for k, v := range good {
			query[k] = slices.Clone(v)
		}
		spoil(query)
		before := f.Provider.Count(oauthtest.Token)
		id, err := identify(t, f, login, query)
		t.Log(name)
		refused(t, id, err, connector.ErrRejected)
		if f.Provider.Count(oauthtest.Token) != before {
			t.Errorf("%s: the token endpoint was asked", name)
		}
	}
}

func (h Harness) authorizationErrors(t *testing.T) {
	for code, want := range map[string]error{
		"access_denied":           connector.ErrCancelled,
		"temporarily_unavailable": connector.ErrUnavailable,
		"unauthorized":            connector.ErrCancelled,
		"server_error":            connector.ErrRejected,
		"invalid_request":         connector.ErrRejected,
		"login_required":          connector.ErrRejected,
		"made_up\r\nSet-Cookie: x" + strings.Repeat("x", 5000): connector.ErrRejected,
	} {
		t.Run(code[:min(len(code), 24)], func(t *testing.T) {
			t.Parallel()
			f := h.fixture(t)
			f.Provider.RefuseAuthorization(code)
			id, err := SignIn(t, f, NewLogin())
			refused(t, id, err, want)
			if n := f.Provider.Count(oauthtest.Token); n != 0 {
				t.Errorf("%d token requests after an error", n)
			}
		})
	}
}

func (h Harness) tokenErrors(t *testing.T) {
	for code, want := range map[string]error{
		"invalid_grant":           connector.ErrRejected,
		"invalid_client":          connector.ErrRejected,
		"temporarily_unavailable": connector.ErrUnavailable,
		"server_error":            connector.ErrUnavailable,
		strings.Repeat("x", 5000): connector.ErrRejected,
	} {
		t.Run(code[:min(len(code), 24)], func(t *testing.T) {
			t.Parallel()
			f := h.fixture(t)
			f.Provider.RefuseToken(code)
			id, err := SignIn(t, f, NewLogin())
			refused(t, id, err, want)
			if n := f.Provider.Count(oauthtest.Token); n != 1 {
				t.Errorf("%d token requests for one code", n)
			}
		})
	}
}

// requirement says which row a fault belongs to, where it is not AS-FED-04.
var requirement = map[oauthtest.Fault]string{
	oauthtest.WrongNonce:          "AS-FED-01",
	oauthtest.NoNonce:             "AS-FED-01",
	oauthtest.WrongResponseIssuer: "AS-FED-03",
	oauthtest.NoResponseIssuer:    "AS-FED-03",
	oauthtest.NoSubject:           "AS-FED-05",
	oauthtest.OtherUserInfo:       "AS-FED-05",
	oauthtest.OtherDiscovery:      "AS-FED-10",
}

func (h Harness) faults(t *testing.T) {
	for fault := range h.NotApplicable {
		if !slices.Contains(oauthtest.Faults, fault) {
			t.Errorf("harness excludes the unknown fault %q", fault)
		}
	}
	for _, fault := range oauthtest.Faults {
		row := requirement[fault]
		if row == "" {
			row = "AS-FED-04"
		}
		t.Run(row+" "+string(fault), func(t *testing.T) {
			t.Parallel()
			f := h.fixture(t)
			reason, excluded := h.NotApplicable[fault]
			if can := f.Provider.Commit(fault); can == excluded {
				t.Fatalf("the provider can commit this: %v; the harness excludes it: %v", can, excluded)
			}
			if excluded {
				t.Log("not applicable: " + reason)
				return
			}
			h.identifyFails(t, f, connector.ErrRejected)
		})
	}
}

func (h Harness) breakage(t *testing.T) {
	for _, breakage := range oauthtest.Breakages {
		for _, endpoint := range h.AuthorizationURLNeeds {
			t.Run("AuthorizationURL "+string(endpoint)+" "+string(breakage), func(t *testing.T) {
				t.Parallel()
				f := h.fixture(t)
				f.Provider.Break(endpoint, breakage)
				address, err := within(t, func() (string, error) { return f.Connector.AuthorizationURL(t.Context(), NewLogin()) })
				if want := expected(breakage); address != "" || !errors.Is(err, want) {
					t.Errorf("got %q, %v, want %v", address, err, want)
				}
				h.elsewhere(t, f)
			})
		}
		for _, endpoint := range h.IdentifyNeeds {
			t.Run("Identify "+string(endpoint)+" "+string(breakage), func(t *testing.T) {
				t.Parallel()
				f := h.fixture(t)
				login := NewLogin()
				query := Visit(t, f, login)
				f.Provider.Break(endpoint, breakage)
				id, err := within(t, func() (connector.Identity, error) { return identify(t, f, login, query) })
				refused(t, id, err, expected(breakage))
				h.elsewhere(t, f)
			})
		}
	}
}

// elsewhere: a token request that is followed carries secret and code with it.
func (h Harness) elsewhere(t *testing.T, f Fixture) {
	t.Helper()
	if n := f.Provider.Count(oauthtest.Elsewhere); n != 0 {
		t.Errorf("%d requests followed a redirect", n)
	}
}

func expected(b oauthtest.Breakage) error {
	switch b {
	case oauthtest.Huge, oauthtest.Garbage, oauthtest.Redirect:
		return connector.ErrRejected // an answer, but not one to accept
	}
	return connector.ErrUnavailable
}

// within fails the test if call takes much longer than the connector may.
func within[T any](t *testing.T, call func() (T, error)) (T, error) {
	t.Helper()
	start := time.Now()
	value, err := call()
	if took := time.Since(start); took > 5*Timeout {
		t.Errorf("took %v with a bound of %v", took, Timeout)
	}
	return value, err
}

// identifyFails signs in against a fault, which may show at any step.
func (h Harness) identifyFails(t *testing.T, f Fixture, want error) {
	t.Helper()
	login := NewLogin()
	address, err := f.Connector.AuthorizationURL(t.Context(), login)
	if err != nil {
		refused(t, connector.Identity{}, err, want)
		return
	}
	callback := oauthtest.Visit(t, f.Provider.Client(), address)
	id, err := identify(t, f, login, callback.Query())
	refused(t, id, err, want)
}

func mustSignIn(t *testing.T, f Fixture) connector.Identity {
	t.Helper()
	id, err := SignIn(t, f, NewLogin())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// refused checks that err is want and no other kind, that there is no identity
// beside it, and that the text is fit for a log.
func refused(t *testing.T, id connector.Identity, err, want error) {
	t.Helper()
	for _, kind := range []error{connector.ErrCancelled, connector.ErrRejected, connector.ErrNotAllowed, connector.ErrUnavailable} {
		if errors.Is(err, kind) != (kind == want) {
			t.Errorf("error %v, want only %v", err, want)
		}
	}
	if !reflect.ValueOf(id).IsZero() {
		t.Errorf("identity %+v beside an error", id)
	}
	if err == nil {
		return
	}
	if text := err.Error(); len(text) > 600 || strings.ContainsAny(text, "\r\n") {
		t.Errorf("error text of %d bytes is not fit for a log: %.700q", len(text), text)
	}
	for _, secret := range []string{oauthtest.ClientSecret, url.QueryEscape(oauthtest.ClientSecret), "at-"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("error text shows %q", secret)
		}
	}
}
