package issuer

import (
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

// A signed answer counts only if the issuer signed it, a moment ago, for this service,
// and as an answer: neither can be used as the other.
func TestSignedAnswers(t *testing.T) {
	as, other := oauthtest.NewIssuer(t), oauthtest.NewIssuer(t)
	list := resolved(t, File{Issuer: as.URL})
	list[0].NoKeys, list[0].SignedAnswers = true, true
	f := newFixture(t)
	f.Accept(f.notes, list[0])
	said := map[string]any{"active": true, "sub": "7"}
	answer := func(by *oauthtest.Issuer, claims, header map[string]any) string {
		all := map[string]any{"iss": as.URL, "aud": "us", "iat": f.now().Unix(), "token_introspection": said}
		for name, value := range claims {
			if all[name] = value; value == nil {
				delete(all, name)
			}
		}
		typ := map[string]any{"typ": "token-introspection+jwt"}
		for name, value := range header {
			typ[name] = value
		}
		return by.Token(all, typ)
	}
	for name, tt := range map[string]struct {
		answer string
		want   string // of the error, "" for none
	}{
		"good":                        {answer(as, nil, nil), ""},
		"several audiences":           {answer(as, map[string]any{"aud": []any{"them", "us"}}, nil), ""},
		"the whole media type as typ": {answer(as, nil, map[string]any{"typ": "application/token-introspection+jwt"}), ""},
		"another's signature":         {answer(other, nil, nil), "cannot be used"},
		"an access token":             {answer(as, nil, map[string]any{"typ": "at+jwt"}), "wrong_token_type"},
		"a JWT without a type":        {answer(as, nil, map[string]any{"typ": "JWT"}), "wrong_token_type"},
		"a key in the header":         {answer(as, nil, map[string]any{"jku": "https://evil.example"}), "forbidden_token_header"},
		"another issuer":              {answer(as, map[string]any{"iss": other.URL}, nil), "another issuer"},
		"another audience":            {answer(as, map[string]any{"aud": "them"}, nil), "not for this service"},
		"no audience":                 {answer(as, map[string]any{"aud": nil}, nil), "not for this service"},
		"no time":                     {answer(as, map[string]any{"iat": nil}, nil), "(iat)"},
		"an old one":                  {answer(as, map[string]any{"iat": f.now().Add(-5 * time.Minute).Unix()}, nil), "not made just now"},
		"one from the future":         {answer(as, map[string]any{"iat": f.now().Add(5 * time.Minute).Unix()}, nil), "not made just now"},
		"with an end":                 {answer(as, map[string]any{"exp": f.now().Unix()}, nil), "has exp"},
		"with a subject":              {answer(as, map[string]any{"sub": "7"}, nil), "has sub"},
		"without an answer":           {answer(as, map[string]any{"token_introspection": nil}, nil), "says nothing"},
		"plain JSON":                  {`{"active":true}`, "cannot be used"},
		"nothing":                     {"", "cannot be used"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := f.Answer(t.Context(), as.URL, tt.answer, "us", f.notes)
			switch {
			case tt.want == "" && (err != nil || !strings.Contains(string(got), `"sub":"7"`)):
				t.Errorf("%s, %v", got, err)
			case tt.want != "" && (err == nil || got != nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("%s, %v, want %q", got, err, tt.want)
			}
		})
	}
	t.Run("an issuer that is not configured for them", func(t *testing.T) {
		if got, err := f.Answer(t.Context(), other.URL, answer(other, map[string]any{"iss": other.URL}, nil), "us", f.notes); err == nil {
			t.Errorf("%s", got)
		}
	})
	t.Run("no access token for it", func(t *testing.T) {
		if _, err := f.Verify(answer(as, nil, nil), f.notes); err == nil {
			t.Error("an answer is taken for a token")
		}
	})
}
