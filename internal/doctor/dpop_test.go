package doctor

import (
	"strings"
	"testing"
)

// A challenge of DPoP stands in the place of one of Bearer, or beside it (RFC 9449,
// section 7.1).
func TestChallengesOfDPoP(t *testing.T) {
	for line, want := range map[string]struct{ other, metadata string }{
		`Bearer resource_metadata="https://a/m"`:                                                       {"", "https://a/m"},
		`Bearer scope="a b", resource_metadata="https://a/m", DPoP algs="ES256 RS256"`:                 {"dpop", "https://a/m"},
		`DPoP scope="a", resource_metadata="https://a/m", algs="ES256"`:                                {boundOnly, "https://a/m"},
		`DPoP error="invalid_dpop_proof", resource_metadata="https://a/m", algs="ES256 PS256", Bearer`: {"dpop", ""},
		`Basic realm="x"`: {"basic", ""},
	} {
		bearer, other, err := bearerChallenges([]string{line})
		if err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		metadata := ""
		if len(bearer) > 0 {
			metadata = bearer[0]["resource_metadata"]
		}
		if other != want.other || metadata != want.metadata || (len(bearer) == 0) != strings.HasPrefix(line, "Basic") {
			t.Errorf("%s: %v, other %q", line, bearer, other)
		}
	}
}
