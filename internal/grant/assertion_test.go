package grant

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// signing is an endpoint, and a client that registered itself with keys.
type signing struct {
	*revoker
	id      string
	private []*ecdsa.PrivateKey
	kids    []string
	asked   int // how often its keys were asked for
}

// counting are clients whose keys are counted by s.
type counting struct {
	*registration.Clients
	s *signing
}

func (c counting) Keys(ctx context.Context, client *registration.Client, refresh bool) ([]jose.JSONWebKey, error) {
	c.s.asked++
	return c.Clients.Keys(ctx, client, refresh)
}

func newSigning(t testing.TB, kids ...string) *signing {
	t.Helper()
	s := &signing{revoker: newRevoker(t, 10), kids: kids}
	var set jose.JSONWebKeySet
	for _, kid := range kids {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		s.private = append(s.private, key)
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: &key.PublicKey, KeyID: kid})
	}
	clients := s.Clients.(*registration.Clients)
	body, err := json.Marshal(map[string]any{"redirect_uris": []string{"https://app.example.org/cb"}, "token_endpoint_auth_method": "private_key_jwt", "jwks": set})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://mcp.example.com/register", strings.NewReader(string(body)))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	(&registration.Endpoint{Dynamic: clients.Dynamic}).Serve(w, r, s.host)
	var answer struct {
		ID string `json:"client_id"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusCreated {
		t.Fatalf("%d, want %v: %s", w.Code, http.StatusCreated, w.Body)
	}
	s.id = answer.ID
	s.Clients = counting{clients, s}
	return s
}

// form is a request with an assertion signed by key, whose header names kid.
func (s *signing) form(t testing.TB, key *ecdsa.PrivateKey, kid string) url.Values {
	t.Helper()
	options := &jose.SignerOptions{}
	if kid != "" {
		options.WithHeader("kid", kid)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	raw, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: s.id, Subject: s.id, Audience: jwt.Audience{s.host.Issuer}, Expiry: jwt.NewNumericDate(now.Add(time.Minute)), ID: rand.Text(),
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return url.Values{"client_assertion": {raw}, "client_assertion_type": {assertionType}, "grant_type": {"refresh_token"}, "refresh_token": {"x"}}
}

// authenticated returns the outcome of a request with form.
func (s *signing) authenticated(form url.Values) error {
	_, err := s.who(form)
	return err
}

// who returns the client that a request with form comes from.
func (s *signing) who(form url.Values) (id string, err error) {
	c := &call{Request: httptest.NewRequest(http.MethodPost, "https://mcp.example.com/token", strings.NewReader(form.Encode())), host: s.host}
	c.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if err := s.begin(httptest.NewRecorder(), c); err != nil {
		return "", err
	}
	return c.client.ID, nil
}

func TestAssertionOfManyKeys(t *testing.T) {
	cause := func(err error) string {
		if oe, ok := errors.AsType[*oauth.Error](err); ok && oe.Code == oauth.InvalidClient {
			return oe.Cause.Error()
		}
		return "no invalid_client: " + errString(err)
	}
	t.Run("AS-CA-06 each key, by its kid", func(t *testing.T) {
		s := newSigning(t, "a", "b", "c", "d", "e", "f")
		for i, key := range s.private {
			if err := s.authenticated(s.form(t, key, s.kids[i])); err != nil {
				t.Errorf("key %d: %v", i, err)
			}
		}
	})
	t.Run("AS-CA-06 one key needs no kid", func(t *testing.T) {
		s := newSigning(t, "a")
		if err := s.authenticated(s.form(t, s.private[0], "")); err != nil {
			t.Error(err)
		}
	})
	t.Run("a kid is demanded where there are several keys", func(t *testing.T) {
		s := newSigning(t, "a", "b", "c", "d", "e", "f")
		if got := cause(s.authenticated(s.form(t, s.private[0], ""))); !strings.Contains(got, "kid") {
			t.Error(got)
		}
	})
	t.Run("several keys of one kid", func(t *testing.T) {
		s := newSigning(t, "a", "a", "a")
		if got := cause(s.authenticated(s.form(t, s.private[0], "a"))); !strings.Contains(got, "more than one registered key has") {
			t.Error(got)
		}
	})
	t.Run("keys that cannot change are looked at once", func(t *testing.T) {
		s := newSigning(t, "a", "b")
		if got := cause(s.authenticated(s.form(t, s.private[0], "b"))); got != "no registered key verifies the signature" {
			t.Error(got)
		}
		if s.asked != 1 {
			t.Errorf("the keys were asked for %d times, want 1", s.asked)
		}
	})
	t.Run("no signature is checked after too many failures", func(t *testing.T) {
		s := newSigning(t, "a", "b")
		wrong := s.form(t, s.private[0], "b")
		for range 20 {
			cause(s.authenticated(wrong))
		}
		s.asked = 0
		slow, ok := errors.AsType[*web.TooMany](s.authenticated(wrong))
		if !ok || slow.Reason != "client_authentication_throttled" || slow.Wait <= 0 {
			t.Errorf("%v", slow)
		}
		if s.asked != 0 {
			t.Error("its keys were asked for")
		}
	})
}

func errString(err error) string {
	if err == nil {
		return "nil"
	}
	return err.Error()
}

// BenchmarkBadAssertion is what a stranger can make the service do with one
// request: the worst is a kid that is there and a signature that is not of its key.
func BenchmarkBadAssertion(b *testing.B) {
	s := newSigning(b, "a", "b", "c", "d", "e", "f")
	s.Failures = nil
	for name, form := range map[string]url.Values{"unknown client": {"client_id": {"nobody"}}, "no kid": s.form(b, s.private[0], ""), "wrong key": s.form(b, s.private[0], "b")} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if s.authenticated(form) == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}
