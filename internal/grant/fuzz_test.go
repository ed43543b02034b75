package grant

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// FuzzAssertion: of all strings only the client's own assertion authenticates it.
// The signature may be written in another way (ECDSA has two), what it signs not.
func FuzzAssertion(f *testing.F) {
	s := newSigning(f, "a", "b")
	s.Failures = nil
	genuine := s.form(f, s.private[0], "a").Get("client_assertion")
	signed := genuine[:strings.LastIndexByte(genuine, '.')]
	f.Add(genuine)
	f.Add(signed + ".")
	f.Add(genuine + "=")
	f.Add("eyJhbGciOiJub25lIn0." + strings.Split(genuine, ".")[1] + ".")
	f.Add(s.form(f, s.private[1], "a").Get("client_assertion"))
	f.Add(`{"payload":"` + strings.Split(genuine, ".")[1] + `","signatures":[]}`)
	f.Fuzz(func(t *testing.T, raw string) {
		// Seeds may be of the client of another process, which is as good.
		id, err := s.who(url.Values{"client_assertion": {raw}, "client_assertion_type": {assertionType}, "grant_type": {"refresh_token"}})
		if err == nil && id == s.id && !strings.HasPrefix(raw, signed+".") {
			t.Errorf("%q authenticates the client", raw)
		}
	})
}

// FuzzAssertionClaims: what a client signs is held to RFC 7523, section 3,
// whatever the JSON looks like.
func FuzzAssertionClaims(f *testing.F) {
	s := newSigning(f, "a")
	s.Failures = nil
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: s.private[0]}, (&jose.SignerOptions{}).WithHeader("kid", "a"))
	if err != nil {
		f.Fatal(err)
	}
	// The id is long and random, so seeds name it by ID, and times by offsets.
	for _, seed := range []string{
		`{"iss":"ID","sub":"ID","aud":"ISSUER","exp":NOW+60,"jti":"x"}`, `{"iss":"ID","sub":"ID","aud":["ISSUER/"],"exp":NOW+6e1}`,
		`{"iss":"ID","sub":"ID","aud":["ISSUER","https://other.example"],"exp":NOW+60}`, `{"ISS":"ID","sub":"ID","aud":"ISSUER","exp":NOW+60}`,
		`{"iss":"x","iss":"ID","sub":"ID","aud":"ISSUER","exp":NOW+60}`, `{"iss":"ID","sub":"ID","aud":"ISSUER","exp":1e300}`,
		`{"iss":"ID","sub":"ID","aud":"ISSUER","exp":NOW+60,"nbf":NOW+600,"iat":-1}`, `{"iss":"ID","sub":"ID","aud":null,"exp":"NOW+60"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		now := time.Now().Unix()
		payload := replaceTimes(strings.NewReplacer("ID", s.id, "ISSUER", s.host.Issuer).Replace(text), now)
		jws, err := signer.Sign([]byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := jws.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		if s.authenticated(url.Values{"client_assertion": {raw}, "client_assertion_type": {assertionType}, "grant_type": {"refresh_token"}}) != nil {
			return
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(payload), &m); err != nil {
			t.Fatalf("%q is taken, and not JSON", payload)
		}
		if m["iss"] != s.id || m["sub"] != s.id {
			t.Errorf("%s: of another client", payload)
		}
		aud := m["aud"]
		if list, ok := aud.([]any); ok && len(list) == 1 {
			aud = list[0]
		}
		if aud != s.host.Issuer && aud != s.host.Issuer+"/" {
			t.Errorf("%s: for another server", payload)
		}
		const slack = 60 // the skew, and the time this takes
		if exp, ok := m["exp"].(float64); !ok || exp < float64(now-slack) || exp > float64(now)+maxAssertionAge.Seconds()+slack {
			t.Errorf("%s: exp %v at %d", payload, m["exp"], now)
		}
		for _, name := range []string{"nbf", "iat"} {
			if at, ok := m[name].(float64); ok && at > float64(now+slack) {
				t.Errorf("%s: %s is ahead of %d", payload, name, now)
			}
		}
	})
}

// replaceTimes writes NOW+n, with n in digits, as a number.
func replaceTimes(s string, now int64) string {
	for {
		before, rest, found := strings.Cut(s, "NOW+")
		if !found {
			return s
		}
		n := int64(0)
		for len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9' && n < 1e6 {
			n = 10*n + int64(rest[0]-'0')
			rest = rest[1:]
		}
		text, _ := json.Marshal(now + n)
		s = before + string(text) + rest
	}
}
