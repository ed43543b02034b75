package bridge

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// signer is the service that signs identity headers.
type signer struct {
	key  *rsa.PrivateKey
	keys *httptest.Server
}

const (
	theIssuer   = "https://mcp.example.com"
	theResource = theIssuer + "/mcp"
)

func newSigner(t *testing.T) *signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s := &signer{key: key}
	s.keys = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k", Algorithm: "RS256", Use: "sig"}}})
	}))
	t.Cleanup(s.keys.Close)
	return s
}

func (s *signer) settings(b *Settings) {
	b.Issuer, b.Resource, b.KeysURL = theIssuer, theResource, s.keys.URL
}

func claims(subject string) map[string]any {
	now := time.Now().Unix()
	return map[string]any{"iss": theIssuer, "aud": theResource, "sub": subject, "iat": now, "exp": now + 300}
}

func sign(t *testing.T, key any, alg jose.SignatureAlgorithm, typ string, claims map[string]any) string {
	t.Helper()
	return signAs(t, "k", key, alg, typ, claims)
}

// signAs signs with a key of that id.
func signAs(t *testing.T, id string, key any, alg jose.SignatureAlgorithm, typ string, claims map[string]any) string {
	t.Helper()
	signing, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: id}}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signing.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// as is a gateway that adds the header of a person.
type as struct{ header string }

func (a as) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Auth-Request-Identity", a.header)
	return http.DefaultTransport.RoundTrip(r)
}

func (s *signer) person(t *testing.T, subject string) as {
	return as{sign(t, s.key, jose.RS256, identityType, claims(subject))}
}

func TestIdentities(t *testing.T) {
	s := newSigner(t)
	x := startBridge(t, "good", s.settings)
	without := func(name string) map[string]any {
		c := claims("jane")
		delete(c, name)
		return c
	}
	with := func(name string, value any) map[string]any {
		c := claims("jane")
		c[name] = value
		return c
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs := func(c map[string]any) string { return sign(t, s.key, jose.RS256, identityType, c) }
	good := rs(claims("jane"))
	for name, tt := range map[string]struct {
		header, says string
	}{
		"good":                   {good, ""},
		"none":                   {"", "no signed identity header"},
		"nothing to say":         {"-", "no signed identity header"},
		"an access token":        {sign(t, s.key, jose.RS256, "at+jwt", claims("jane")), "a type that is not accepted"},
		"another issuer":         {rs(with("iss", "https://evil.example")), "another issuer"},
		"another server":         {rs(with("aud", theIssuer+"/other")), "another MCP server"},
		"several servers":        {rs(with("aud", []string{theResource, theIssuer + "/other"})), "another MCP server"},
		"no subject":             {rs(without("sub")), "no subject"},
		"expired":                {rs(with("exp", time.Now().Unix()-60)), "expired"},
		"without an end":         {rs(without("exp")), "expired"},
		"of the future":          {rs(with("iat", time.Now().Unix()+120)), "future"},
		"with an unknown key":    {signAs(t, "other", other, jose.RS256, identityType, claims("jane")), "does not publish"},
		"signed by another":      {sign(t, other, jose.RS256, identityType, claims("jane")), "signature"},
		"with another algorithm": {sign(t, curve, jose.ES256, identityType, claims("jane")), "algorithm"},
		"with a secret":          {sign(t, []byte(strings.Repeat("k", 32)), jose.HS256, identityType, claims("jane")), "algorithm"},
		"changed":                {good[:len(good)-6] + "AAAAAA", "signature"},
		"no token":               {"hello", "not one"},
	} {
		a := post(t, x.url, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}`, "X-Auth-Request-Identity", tt.header)
		if want := map[bool]int{true: 200, false: 403}[tt.says == ""]; a.StatusCode != want || !strings.Contains(a.body, tt.says) {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
	}
}

// The header is there once, is of one person, and counts for its time and a little more.
func TestPerson(t *testing.T) {
	s := newSigner(t)
	now := time.Now().Truncate(time.Second)
	who := newIdentities(&Settings{IdentityHeader: "X-Auth-Request-Identity", Issuer: theIssuer, Resource: theResource, KeysURL: s.keys.URL}, slog.New(slog.DiscardHandler))
	who.now = func() time.Time { return now }
	header := func(name string, value any) string {
		c := claims("jane")
		c["iat"], c["exp"] = now.Unix(), now.Unix()
		c[name] = value
		return sign(t, s.key, jose.RS256, identityType, c)
	}
	good, seconds := header("x", 1), int64(leeway/time.Second)
	for name, tt := range map[string]struct {
		headers []string
		passes  bool
	}{
		"good":                     {[]string{good}, true},
		"twice":                    {[]string{good, good}, false},
		"and an empty one":         {[]string{good, ""}, false},
		"the end of the leeway":    {[]string{header("exp", now.Unix()-seconds)}, true},
		"beyond the leeway":        {[]string{header("exp", now.Unix()-seconds-1)}, false},
		"a clock that is ahead":    {[]string{header("iat", now.Unix()+seconds)}, true},
		"a clock that is too fast": {[]string{header("iat", now.Unix()+seconds+1)}, false},
		"two people":               {[]string{header("sub", []string{"jane", "bob"})}, false},
		"an empty subject":         {[]string{header("sub", "")}, false},
		"two issuers":              {[]string{header("iss", []string{theIssuer, "https://evil.example"})}, false},
	} {
		person, err := who.person(t.Context(), &http.Request{Header: http.Header{"X-Auth-Request-Identity": tt.headers}})
		if want := map[bool]string{true: theIssuer + " jane"}[tt.passes]; person != want || (err == nil) != tt.passes {
			t.Errorf("%s: %q, %v", name, person, err)
		}
	}
}

// A session is of the person who began it; with one process for each person, people
// never meet, and a client of the revision without sessions gets its person's.
func TestPeopleNeverMeet(t *testing.T) {
	s := newSigner(t)
	t.Run("session", func(t *testing.T) {
		x := startBridge(t, "good", s.settings)
		jane, bob := s.person(t, "jane"), s.person(t, "bob")
		a := post(t, x.url, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}`, "X-Auth-Request-Identity", jane.header)
		for _, tt := range []struct {
			who    as
			status int
		}{{jane, 200}, {bob, 404}} {
			got := post(t, x.url, `{"jsonrpc":"2.0","id":2,"method":"ping"}`, "X-Auth-Request-Identity", tt.who.header, sessionHeader, a.Header.Get(sessionHeader))
			if got.StatusCode != tt.status {
				t.Errorf("%d %s", got.StatusCode, got.body)
			}
		}
	})
	for _, sharing := range []Sharing{PerUser, PerSession} {
		t.Run("people of "+string(sharing), func(t *testing.T) {
			x := startBridge(t, "good", func(b *Settings) { s.settings(b); b.Sharing = sharing })
			pids := map[string]string{}
			var sessions []*mcp.ClientSession
			for _, name := range []string{"jane", "bob", "jane"} {
				c := x.connect(t, s.person(t, name), nil)
				sessions = append(sessions, c)
				pid := mustCall(t, c, "pid", "")
				if before := pids[name]; before != "" && before != pid {
					t.Errorf("%s has two processes", name)
				}
				pids[name] = pid
			}
			if pids["jane"] == pids["bob"] {
				t.Error("two people share a process")
			}
			_ = sessions
		})
	}
}
