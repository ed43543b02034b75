package registration

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// Which keys of a set are used, and what spoils it.
func TestKeySet(t *testing.T) {
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec := func(member string) string {
		return strings.Replace(publicJWK(t, &curve.PublicKey, ""), `"use":"sig"`, member, 1)
	}
	ofRSA := func(bits, e int) string {
		n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
		return publicJWK(t, &rsa.PublicKey{N: n.SetBit(n, 0, 1), E: e}, "r")
	}
	good := ec(`"use":"sig"`)
	for name, tt := range map[string]struct {
		keys []string
		used int // 0: the set is refused
	}{
		"one":                  {[]string{good}, 1},
		"of no use":            {[]string{ec(`"use":""`)}, 1},
		"for encryption":       {[]string{good, ec(`"use":"enc"`)}, 1},
		"for encryption alone": {[]string{ec(`"use":"enc"`)}, 0},
		"the longest id":       {[]string{ec(`"kid":"` + strings.Repeat("x", 256) + `"`)}, 1},
		"too long an id":       {[]string{ec(`"kid":"` + strings.Repeat("x", 257) + `"`)}, 0},
		"RSA, small":           {[]string{ofRSA(minRSABits-1, 65537)}, 0},
		"RSA, smallest":        {[]string{ofRSA(minRSABits, 65537)}, 1},
		"RSA, largest":         {[]string{ofRSA(maxRSABits, 65537)}, 1},
		"RSA, large":           {[]string{ofRSA(maxRSABits+1, 65537)}, 0},
		"RSA, exponent 3":      {[]string{ofRSA(minRSABits, 3)}, 1},
		"RSA, exponent 1":      {[]string{ofRSA(minRSABits, 1)}, 0},
		"as many as may be":    {slicesOf(good, maxKeys), maxKeys},
		"too many":             {slicesOf(good, maxKeys+1), 0},
		"a secret beside it":   {[]string{good, `{"kty":"oct"}`}, 0},
		"a private one":        {[]string{good, ec(`"D":"AA"`)}, 0},
		"a point off its line": {[]string{`{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}`}, 0},
		"of another kind":      {[]string{good, `{"kty":"OKP","crv":"X25519","x":"AQ"}`}, 1},
		"none":                 {nil, 0},
	} {
		keys, err := parseKeySet([]byte(`{"keys":[` + strings.Join(tt.keys, ",") + `]}`))
		if len(keys) != tt.used || (err == nil) != (tt.used > 0) {
			t.Errorf("%s: %d keys, %v; want %d", name, len(keys), err, tt.used)
		}
	}
	for _, raw := range []string{"", "[]", `{"keys":{}}`, `{"keys":"x"}`, `{"keys":[` + good + `],"keys":[]}`} {
		if keys, err := parseKeySet([]byte(raw)); err == nil {
			t.Errorf("%.20s is read as %d keys", raw, len(keys))
		}
	}
}

func slicesOf(s string, n int) (out []string) {
	for range n {
		out = append(out, s)
	}
	return out
}

// What the configuration says of a client is what it is, and it may do that alone.
func TestStaticClient(t *testing.T) {
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const here, there = "https://a.example/mcp", "https://a.example/other"
	s, err := NewStatic([]Known{
		{ID: "one", Name: "One", RedirectURIs: []string{"https://app.example/cb"}, AuthMethod: AuthPrivateKey, GrantTypes: []string{"authorization_code", "client_credentials"}, Scopes: []string{"read", "write"}, Resources: []string{here},
			DPoPBound: true, PushedOnly: true, JWKS: []byte(`{"keys":[` + publicJWK(t, &curve.PublicKey, "k") + `]}`)},
		{ID: "two", JWKSURI: "https://app.example/k"},
	}, NewKeySets(URLPolicy{Egress: &egress.Client{}}, time.Now))
	if err != nil {
		t.Fatal(err)
	}
	one, two := s.Client("one"), s.Client("two")
	if len(one.keys) != 1 || one.KeysMayChange() || !two.KeysMayChange() || two.jwksURI != "https://app.example/k" {
		t.Errorf("%+v, %+v", one, two)
	}
	one.keys = nil
	want := Client{ID: "one", Name: "One", RedirectURIs: []string{"https://app.example/cb"}, AuthMethod: AuthPrivateKey, GrantTypes: []string{"authorization_code", "client_credentials"}, Scopes: oauth.Scopes{"read", "write"}, Resources: []string{here},
		Trusted: true, PreRegistered: true, DPoPBound: true, PushedOnly: true}
	if !reflect.DeepEqual(*one, want) {
		t.Errorf("%+v, want\n%+v", *one, want)
	}
	if bare := (Client{ID: "two", Trusted: true, PreRegistered: true, jwksURI: "https://app.example/k"}); !reflect.DeepEqual(*two, bare) {
		t.Errorf("%+v, want\n%+v", *two, bare)
	}
	clients := &Clients{Static: s}
	if !one.MayUse("client_credentials") || one.MayUse("refresh_token") || two.MayUse("authorization_code") || !one.MayReach(here) || one.MayReach(there) || !two.MayReach(there) {
		t.Error("a client may do more or less than its entry says")
	}
	if got := one.Narrow(oauth.Scopes{"admin", "write"}); got.String() != "write" || two.Narrow(oauth.Scopes{"admin"}).String() != "admin" {
		t.Errorf("scopes %s", got)
	}
	if !clients.Reaches("client_credentials", here) || clients.Reaches("client_credentials", there) || clients.Reaches("refresh_token", here) || (&Clients{}).Reaches("client_credentials", here) {
		t.Error("a grant and a resource that no entry names together")
	}
	for _, secret := range []string{"", "x"} {
		if clients.CheckSecret(one, secret) || (&Clients{}).CheckSecret(one, secret) {
			t.Errorf("a client without a secret has %q", secret)
		}
	}
}

// Kinds of clients that are off know no client.
func TestKindsThatAreOff(t *testing.T) {
	d := newDynamic(t)
	registered, err := register(d, metadata(`"token_endpoint_auth_method":"client_secret_post"`))
	if err != nil {
		t.Fatal(err)
	}
	on := &Clients{Dynamic: d}
	c, err := on.Client(t.Context(), hostA, registered.ClientID)
	if err != nil || !on.CheckSecret(c, registered.ClientSecret) || on.CheckSecret(c, registered.ClientSecret+"x") || on.CheckSecret(&Client{ID: "other"}, registered.ClientSecret) {
		t.Errorf("%+v, %v", c, err)
	}
	if (&Clients{}).CheckSecret(c, registered.ClientSecret) {
		t.Error("the secret counts where registration is off")
	}
	for _, id := range []string{registered.ClientID, clientURL, "one"} {
		if _, err := (&Clients{}).Client(t.Context(), hostA, id); !errors.Is(err, ErrUnknown) {
			t.Errorf("%.20s: %v", id, err)
		}
	}
}

// What kind of client rules know, and whether it runs on the person's own computer.
func TestKinds(t *testing.T) {
	for want, c := range map[string]Client{rule.KindStatic: {PreRegistered: true, VouchedBy: "app.example"}, rule.KindDocument: {VouchedBy: "app.example"}, rule.KindDynamic: {}} {
		if got := c.Kind(); got != want {
			t.Errorf("%+v is %s, want %s", c, got, want)
		}
	}
	for uris, want := range map[string]bool{"": false, "http://localhost/cb": true, "http://localhost/cb http://127.0.0.1:1/cb": true, "http://localhost/cb https://app.example/cb": false, "https://app.example/cb": false, "javascript:x": false} {
		if c := (Client{RedirectURIs: strings.Fields(uris)}); c.LoopbackOnly() != want {
			t.Errorf("%q leads to the person's own computer: %v", uris, !want)
		}
	}
}

// The operator's patterns say which redirect URIs clients may have, and a client of no
// other is trusted.
func TestRedirectPolicy(t *testing.T) {
	listed := RedirectPolicy{Allowed: []*regexp.Regexp{regexp.MustCompile(`^https://app\.example/.*$`), regexp.MustCompile(`^http://localhost/cb$`)}}
	for _, tt := range []struct {
		policy  RedirectPolicy
		uris    []string
		kept    int // 0: refused
		trusted bool
	}{
		{RedirectPolicy{}, []string{"https://app.example/cb"}, 1, false},
		{RedirectPolicy{}, nil, 0, false},
		{RedirectPolicy{}, []string{"https://app.example/cb", "https://app.example/cb", "javascript:x"}, 1, false},
		{RedirectPolicy{}, []string{"javascript:x"}, 0, false},
		{listed, []string{"https://app.example/cb", "http://localhost/cb"}, 2, true},
		{listed, []string{"https://app.example/cb", "https://evil.example/cb"}, 1, false},
		{listed, []string{"https://evil.example/cb", "https://app.example/cb"}, 1, false},
		{listed, []string{"https://evil.example/cb"}, 0, false},
		{listed, nil, 0, false},
		{RedirectPolicy{}, numbered(maxRedirectURIs), maxRedirectURIs, false},
		{RedirectPolicy{}, numbered(maxRedirectURIs + 1), 0, false},
		{RedirectPolicy{Schemes: []string{"https"}, Allowed: listed.Allowed}, []string{"https://evil.example/cb"}, 0, false},
	} {
		kept, err := tt.policy.keep(tt.uris)
		if len(kept) != tt.kept || (err == nil) != (tt.kept > 0) || tt.policy.trusted(tt.uris) != tt.trusted {
			t.Errorf("%.80q: %d kept, %v, trusted %v", tt.uris, len(kept), err, tt.policy.trusted(tt.uris))
		}
	}
}

func numbered(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("https://app.example/%d", i))
	}
	return out
}
