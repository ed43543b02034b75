package signed_test

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/signed"
)

func encoded(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// jwt has a signature of the right form, which nothing here looks at.
func jwt(header string) string {
	return encoded(header) + "." + encoded(`{"iss":"https://issuer.example"}`) + "." + encoded(strings.Repeat("s", 64))
}

var (
	types      = []string{"at+jwt", ""}
	algorithms = []jose.SignatureAlgorithm{jose.ES256}
)

func TestHeader(t *testing.T) {
	for header, want := range map[string]reasons.Reason{
		`{"alg":"ES256"}`: "",
		`{"alg":"ES256","typ":"AT+JWT","kid":"1","other":{}}`: "",
		`{"alg":"none"}`:                         reasons.AlgorithmRefused,
		`{"alg":"HS256"}`:                        reasons.AlgorithmRefused,
		`{"alg":"es256"}`:                        reasons.AlgorithmRefused,
		`{"alg":"RS256"}`:                        reasons.AlgorithmRefused,
		`{}`:                                     reasons.AlgorithmRefused,
		`{"alg":"ES256","typ":"jwt"}`:            reasons.WrongTokenType,
		`{"alg":"ES256","typ":7}`:                reasons.ForbiddenTokenHeader,
		`{"alg":"ES256","kid":7}`:                reasons.ForbiddenTokenHeader,
		`{"alg":"ES256","cty":"JWT"}`:            reasons.ForbiddenTokenHeader,
		`{"alg":"ES256","cty":7}`:                reasons.ForbiddenTokenHeader,
		`{"alg":"ES256","jwk":{}}`:               reasons.ForbiddenTokenHeader,
		`{"alg":"ES256","JWK":{}}`:               reasons.ForbiddenTokenHeader,
		`{"alg":"ES256","jku":"https://x"}`:      reasons.ForbiddenTokenHeader,
		`{"alg":"ES256","x5u":"https://x"}`:      reasons.ForbiddenTokenHeader,
		`{"alg":"ES256","x5c":[]}`:               reasons.ForbiddenTokenHeader,
		`{"alg":"ES256","crit":["b64"]}`:         reasons.ForbiddenTokenHeader,
		`{"alg":"ES256","b64":false}`:            reasons.ForbiddenTokenHeader,
		`{"alg":"ES256","enc":"A128GCM"}`:        reasons.ForbiddenTokenHeader,
		`{"alg":"ES256","zip":"DEF"}`:            reasons.ForbiddenTokenHeader,
		`{"alg":"ES256","alg":"none"}`:           reasons.MalformedToken,
		`{"alg":"ES256"}{}`:                      reasons.MalformedToken,
		`["ES256"]`:                              reasons.MalformedToken,
		`{"alg":"ES256","x":` + nested(20) + `}`: reasons.MalformedToken,
	} {
		token, got := signed.Parse(jwt(header), types, algorithms)
		if got != want || (token == nil) != (want != "") {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
}

func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

// Nothing that is no JWT makes the reader panic, and what it takes has a type and an
// algorithm that was asked for.
func FuzzParse(f *testing.F) {
	good := jwt(`{"alg":"ES256","typ":"at+jwt","kid":"1"}`)
	for _, seed := range []string{good, "", "..", "e30.e30.e30", good + ".e30", good + "=", "\n" + good, jwt(`{"alg":"none"}`)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		token, reason := signed.Parse(raw, types, algorithms)
		if (token == nil) != (reason != "") {
			t.Fatalf("%q: %v, %q", raw, token, reason)
		}
		if token != nil && (!slices.Contains(types, token.Typ) || !slices.Contains(algorithms, token.Alg)) {
			t.Errorf("%q: typ %q, alg %q", raw, token.Typ, token.Alg)
		}
		_ = signed.UnverifiedType(raw)
	})
}
