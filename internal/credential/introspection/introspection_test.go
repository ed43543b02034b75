package introspection

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/claim"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/clientauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

var notes = &resource.Resource{URI: "https://mcp.example.com/mcp", Host: &resource.Host{Issuer: "https://mcp.example.com"}}

// server is an authorization server that says what the test says of every token.
type server struct {
	*httptest.Server
	answer atomic.Value // of a http.HandlerFunc
	asked  atomic.Int32
	form   atomic.Value
}

func newServer(t *testing.T) *server {
	s := new(server)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		_ = r.ParseForm()
		s.form.Store(r.PostForm)
		s.answer.Load().(http.HandlerFunc)(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) says(status int, body string) {
	s.answer.Store(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
}

const active = `{"active": true, "sub": "7", "client_id": "app"}`

// kind introspects at s; the clock is the test's.
func kind(s *server, now *atomic.Int64, edit func(*Config)) *Kind {
	clock := func() time.Time { return time.Unix(now.Load(), 0) }
	k := New(clock)
	c := &Config{
		Endpoint: s.URL + "/introspect", Timeout: 4 * time.Second, Cache: 30 * time.Second, Negative: 5 * time.Second,
		Credentials: clientauth.Credentials{ClientID: "us", Secret: conf.NewSecret("a secret"), Method: clientauth.Basic},
	}
	if edit != nil {
		edit(c)
	}
	k.Accept(notes, Server{Config: c, Issuer: "https://as.example", Principal: func(raw string, said claim.Set, r *resource.Resource) (credential.Principal, error) {
		if said.String("client_id") != "app" {
			return credential.Principal{}, credential.Refused{Reason: reasons.ClientNotAccepted}
		}
		exp, _ := time.ParseDuration(string(said["exp"]) + "s")
		return credential.Principal{Issuer: said.String("iss"), Subject: said.String("sub"), Audience: r.URI, Client: "app", ID: "1", Expires: int64(exp / time.Second)}, nil
	}})
	return k
}

// resolve is what forwardauth does with a kind.
func resolve(k *Kind, raw string) (credential.Principal, error) {
	p, err := k.Verify(raw, notes)
	if errors.Is(err, credential.ErrUnknown) {
		p, err = k.Ask(context.Background(), raw, notes)
	}
	return p, err
}

func reasonOf(err error) reasons.Reason {
	refused, _ := errors.AsType[credential.Refused](err)
	return refused.Reason
}

func clock() *atomic.Int64 {
	var now atomic.Int64
	now.Store(1_800_000_000)
	return &now
}

func TestIntrospection(t *testing.T) {
	s, now := newServer(t), clock()
	s.answer.Store(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id, secret, _ := r.BasicAuth(); r.Method != http.MethodPost || id != "us" || secret != "a+secret" || r.Header.Get("Accept") != "application/json" || r.URL.RawQuery != "" {
			t.Errorf("asked %s %s by %q %q", r.Method, r.URL, id, secret)
		}
		fmt.Fprint(w, active)
	}))
	k := kind(s, now, nil)
	p, err := resolve(k, "opaque-token")
	if err != nil || p.Subject != "7" || p.Issuer != "https://as.example" || p.Until != now.Load()+30 || p.Expires < p.Until || p.Expires > p.Until+2 {
		t.Errorf("%+v %v", p, err)
	}
	if form := s.form.Load().(url.Values); form.Get("token") != "opaque-token" || form.Get("token_type_hint") != "access_token" || len(form) != 2 {
		t.Errorf("form %v", form)
	}
}

// One question for many requests, and a revoked token ends within the cache's time.
func TestOneQuestion(t *testing.T) {
	s, now := newServer(t), clock()
	s.says(200, active)
	k := kind(s, now, nil)
	var all sync.WaitGroup
	for range 500 {
		all.Go(func() {
			if _, err := resolve(k, "token"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := s.asked.Load(); n != 1 {
		t.Errorf("%d questions", n)
	}
	s.says(200, `{"active": false}`)
	now.Add(29)
	if _, err := resolve(k, "token"); err != nil {
		t.Error(err)
	}
	now.Add(2)
	for range 3 {
		if _, err := resolve(k, "token"); reasonOf(err) != reasons.InactiveToken {
			t.Errorf("a revoked token: %v", err)
		}
	}
	if n := s.asked.Load(); n != 2 {
		t.Errorf("%d questions", n)
	}
}

// No answer counts beyond the end of its token.
func TestAnswerEndsWithTheToken(t *testing.T) {
	s, now := newServer(t), clock()
	s.says(200, fmt.Sprintf(`{"active": true, "sub": "7", "client_id": "app", "exp": %d}`, now.Load()+10))
	k := kind(s, now, nil)
	if p, err := resolve(k, "token"); err != nil || p.Until != now.Load()+10 || p.Expires != p.Until {
		t.Errorf("%+v %v", p, err)
	}
	now.Add(10)
	if _, err := k.Verify("token", notes); !errors.Is(err, credential.ErrUnknown) {
		t.Errorf("beyond its end: %v", err)
	}
}

// What refuses a token, and what is no answer at all: that is told apart, and not
// remembered.
func TestAnswers(t *testing.T) {
	with := func(member string) string {
		return strings.Replace(active, `"active": true`, `"active": true, `+member, 1)
	}
	for name, tt := range map[string]struct {
		status int
		body   string
		reason reasons.Reason
	}{
		"inactive":                   {200, `{"active": false}`, reasons.InactiveToken},
		"inactive, with more":        {200, `{"active": false, "sub": "7", "client_id": "app"}`, reasons.InactiveToken},
		"bound by DPoP":              {200, with(`"token_type": "DPoP"`), reasons.BoundToken},
		"bound by TLS":               {200, with(`"token_type": "mtls", "cnf": {"x5t#S256": "x"}`), reasons.BoundToken},
		"another type":               {200, with(`"token_type": "refresh_token"`), reasons.WrongTokenType},
		"a type that is a list":      {200, with(`"token_type": ["Bearer"]`), reasons.WrongTokenType},
		"a refresh token":            {200, with(`"token_use": "refresh_token"`), reasons.WrongTokenType},
		"another client":             {200, strings.Replace(active, "app", "other", 1), reasons.ClientNotAccepted},
		"active is text":             {200, `{"active": "true", "sub": "7"}`, reasons.VerifierUnavailable},
		"active is missing":          {200, `{"sub": "7", "client_id": "app"}`, reasons.VerifierUnavailable},
		"active is null":             {200, `{"active": null, "sub": "7"}`, reasons.VerifierUnavailable},
		"active twice":               {200, `{"active": false, "active": true, "sub": "7", "client_id": "app"}`, reasons.VerifierUnavailable},
		"a member twice, below":      {200, with(`"x": {"a": 1, "a": 2}`), reasons.VerifierUnavailable},
		"a list":                     {200, "[" + active + "]", reasons.VerifierUnavailable},
		"no JSON":                    {200, "<html>", reasons.VerifierUnavailable},
		"two documents":              {200, active + active, reasons.VerifierUnavailable},
		"too large":                  {200, with(`"x": "` + strings.Repeat("x", 1<<20) + `"`), reasons.VerifierUnavailable},
		"empty":                      {200, "", reasons.VerifierUnavailable},
		"another success":            {204, "", reasons.VerifierUnavailable},
		"it refuses the credentials": {401, `{"error": "invalid_client"}`, reasons.VerifierUnavailable},
		"a fault":                    {500, `{"active": false}`, reasons.VerifierUnavailable},
		"too many":                   {429, "", reasons.VerifierUnavailable},
		"it redirects":               {302, active, reasons.VerifierUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s, now := newServer(t), clock()
			s.says(tt.status, tt.body)
			k := kind(s, now, nil)
			for range 2 {
				if _, err := resolve(k, "token"); reasonOf(err) != tt.reason {
					t.Errorf("%v", err)
				}
			}
			remembered := tt.reason != reasons.VerifierUnavailable
			if n := s.asked.Load(); remembered != (n == 1) {
				t.Errorf("%d questions", n)
			}
			if now.Add(6); remembered {
				s.says(200, active)
			}
			s.says(200, active)
			if _, err := resolve(k, "token"); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestServerHangs(t *testing.T) {
	s, now := newServer(t), clock()
	gone := make(chan struct{})
	s.answer.Store(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(gone)
	}))
	k := kind(s, now, func(c *Config) { c.Timeout = 100 * time.Millisecond })
	if _, err := resolve(k, "token"); reasonOf(err) != reasons.VerifierUnavailable {
		t.Error(err)
	}
	<-gone // the question was ended, and nothing waits for its answer
}

// The error of a question that failed names neither the token nor the secret.
func TestReportsAreClean(t *testing.T) {
	s, now := newServer(t), clock()
	s.Close()
	k := kind(s, now, func(c *Config) { c.Credentials.Method = clientauth.Post })
	reported := ""
	k.at[notes].Report = func(_ string, err error) { reported = err.Error() }
	_, err := resolve(k, "the-token-itself")
	if err == nil || reported == "" || strings.Contains(reported+err.Error(), "the-token-itself") || strings.Contains(reported+err.Error(), "a secret") {
		t.Errorf("%q, %v", reported, err)
	}
}

// A JWT is introspected only where that is configured and only at its own issuer,
// and what has not the form of a token never.
func TestRecognises(t *testing.T) {
	const ofServer, ofAnother = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2FzLmV4YW1wbGUifQ.c2ln", "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2V2aWwuZXhhbXBsZSJ9.c2ln"
	s, now := newServer(t), clock()
	opaque, all := kind(s, now, nil), kind(s, now, func(c *Config) { c.All = true })
	for raw, want := range map[string][2]bool{
		"opaque": {true, true}, "2YotnFZFEjr1zCsicMWpAA==": {true, true}, ofServer: {false, true}, ofAnother: {false, false},
		"a b": {}, "a,b": {}, "": {}, "===": {}, strings.Repeat("x", maxOpaque+1): {},
	} {
		if opaque.Recognises(raw, notes) != want[0] || all.Recognises(raw, notes) != want[1] {
			t.Errorf("%.40q: %v %v", raw, opaque.Recognises(raw, notes), all.Recognises(raw, notes))
		}
	}
	if opaque.Recognises("opaque", &resource.Resource{URI: "https://other.example"}) {
		t.Error("at a server that is not configured")
	}
}

// Tokens that were made up do not keep one that was good from being asked about.
func TestFlood(t *testing.T) {
	s, now := newServer(t), clock()
	s.answer.Store(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.PostForm.Get("token") == "good" {
			fmt.Fprint(w, active)
			return
		}
		fmt.Fprint(w, `{"active": false}`)
	}))
	k := kind(s, now, nil)
	if _, err := resolve(k, "good"); err != nil {
		t.Fatal(err)
	}
	now.Add(31)
	var all sync.WaitGroup
	for i := range 5000 {
		all.Go(func() {
			if _, err := resolve(k, fmt.Sprint("made-up-", i)); err == nil {
				t.Error("a made-up token is good")
			}
		})
	}
	all.Wait()
	if n := s.asked.Load(); n > 700 {
		t.Errorf("%d questions", n)
	}
	if _, err := resolve(k, "good"); err != nil {
		t.Errorf("a good token: %v", err)
	}
}

func TestResolve(t *testing.T) {
	check := func(yaml string) (*Config, *conf.Check) {
		c := &conf.Check{ReadFile: func(string) ([]byte, error) { return nil, fs.ErrNotExist }}
		var file struct {
			Introspection File `json:"introspection"`
		}
		c.Decode([]byte("introspection: "+yaml), &file)
		return file.Introspection.Resolve(conf.Section{Check: c, At: "introspection"}), c
	}
	got, c := check(`{endpoint: "https://as.example/introspect", clientID: us, clientSecret: aaaaaaaaaaaaaaaa}`)
	if err := c.Err(); err != nil || got.Credentials.Method != clientauth.Basic || got.Cache != 30*time.Second || got.All {
		t.Errorf("%+v %v", got, err)
	}
	if got, c := check("{}"); got != nil || c.Err() != nil {
		t.Errorf("without the section: %v %v", got, c.Err())
	}
	for section, problem := range map[string]string{
		`{clientID: us}`: "introspection.endpoint: is required",
		`{endpoint: "as.example", clientID: us, clientSecret: aaaaaaaaaaaaaaaa}`:                                      "introspection.endpoint: \"as.example\" is not",
		`{endpoint: "https://as.example/i", clientSecret: aaaaaaaaaaaaaaaa}`:                                          "introspection.clientID: is required",
		`{endpoint: "https://as.example/i", clientID: us}`:                                                            "introspection.clientSecret: or introspection.clientSecretFile is required, or clientKeyFile",
		`{endpoint: "https://as.example/i", clientID: us, clientKeyFile: none}`:                                       "introspection.clientKeyFile: there is no such file",
		`{endpoint: "https://as.example/i", clientID: us, clientSecret: aaaaaaaa, clientAuthMethod: none}`:            "introspection.clientAuthMethod: \"none\" is not one of",
		`{endpoint: "https://as.example/i", clientID: us, clientSecret: aaaaaaaa, tokens: jwt}`:                       "introspection.tokens: \"jwt\" is not one of",
		`{endpoint: "https://as.example/i", clientID: us, clientSecret: aaaaaaaa, cache: 1h}`:                         "introspection.cache: \"1h\" is not between",
		`{endpoint: "https://as.example/i", clientID: us, clientSecret: aaaaaaaa, clientAuthMethod: private_key_jwt}`: `introspection.clientAuthMethod: "private_key_jwt" needs clientKeyFile`,
	} {
		if _, c := check(section); c.Err() == nil || !strings.HasPrefix(c.Err().Error(), problem) {
			t.Errorf("%s: %v", section, c.Err())
		}
	}
}

// With signed answers nothing else counts: not the same in plain JSON, and not one
// that does not verify.
func TestSignedAnswers(t *testing.T) {
	s, now := newServer(t), clock()
	k := kind(s, now, func(c *Config) { c.Signed = true })
	k.at[notes].Answer = func(_ context.Context, signed, clientID string, _ *resource.Resource) ([]byte, error) {
		if signed != "a.good.answer" || clientID != "us" {
			return nil, errors.New("the signed answer cannot be used")
		}
		return []byte(active), nil
	}
	for i, tt := range []struct {
		media, body string
		ok          bool
	}{
		{"application/token-introspection+jwt", "a.good.answer", true},
		{"Application/Token-Introspection+JWT; charset=utf-8", "a.good.answer", true},
		{"application/token-introspection+jwt", "a.forged.answer", false},
		{"application/json", "a.good.answer", false},
		{"application/json", active, false},
		{"", active, false},
	} {
		s.answer.Store(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if accept := r.Header.Get("Accept"); accept != "application/token-introspection+jwt" {
				t.Errorf("asked for %q", accept)
			}
			w.Header()["Content-Type"] = []string{tt.media}
			fmt.Fprint(w, tt.body)
		}))
		p, err := resolve(k, fmt.Sprintf("token-%d", i))
		if (err == nil) != tt.ok || tt.ok && p.Subject != "7" || !tt.ok && reasonOf(err) != "" && reasonOf(err) != reasons.VerifierUnavailable {
			t.Errorf("%s %s: %+v, %v", tt.media, tt.body, p, err)
		}
	}
}
