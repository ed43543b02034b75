package oauth

import (
	"strings"
	"testing"
)

// What a redirect URI may not be is refused for that very reason: one fault each, in a
// URI that is good but for it.
func TestRedirectFaults(t *testing.T) {
	long := func(n int) string { return "com.example.app:/" + strings.Repeat("a", n-len("com.example.app:/")) }
	for raw, want := range map[string]string{
		"":                               "is empty or longer than 2048 bytes",
		long(2049):                       "is empty or longer than 2048 bytes",
		"com.example.app:/\x20":          "has a character that a URI cannot hold",
		"com.example.app:/\x1f":          "has a character that a URI cannot hold",
		"com.example.app:/\x7f":          "has a character that a URI cannot hold",
		"com.example.app:/\u00e9":        "has a character that a URI cannot hold",
		"com.example.app:/#":             "has a fragment",
		"com.example.app":                "is not an absolute URI with a lower-case scheme",
		"Com.example.app:/":              "is not an absolute URI with a lower-case scheme",
		":/x":                            "is not an absolute URI with a lower-case scheme",
		"com.example.app:/%zz":           "is not a valid URI",
		"com.example.app://me@x/":        "has user information",
		"com.example.app://me:secret@x/": "has user information",
		"http://localhost.example/":      "uses http on a host other than 127.0.0.1, [::1] or localhost",
		"http://localhostx":              "uses http on a host other than 127.0.0.1, [::1] or localhost",
		"http://localhost:":              "uses http on a host other than 127.0.0.1, [::1] or localhost",
		"http://localhost:65536/":        "uses http on a host other than 127.0.0.1, [::1] or localhost",
		"http://localhost:080/":          "uses http on a host other than 127.0.0.1, [::1] or localhost",
		"javascript:alert(1)":            "has a scheme that is never allowed",
		"chrome-extension://x/y":         "has a scheme that is never allowed",
		"com.example.app:///":            "names nothing but a scheme",
	} {
		if _, err := ClassifyRedirectURI(raw); err == nil || err.Error() != want {
			t.Errorf("%.60q: %v, want: %s", raw, err, want)
		}
	}
	for _, c := range "\"<>\\^`{|}" {
		if _, err := ClassifyRedirectURI("com.example.app:/" + string(c)); err == nil || !strings.Contains(err.Error(), "character") {
			t.Errorf("%q: %v", c, err)
		}
	}
	for _, raw := range []string{long(2048), "com.example.app:/!~", "a.b:/x", "z.y:/x", "http://localhost:65535", "http://localhost:1"} {
		if _, err := ClassifyRedirectURI(raw); err != nil {
			t.Errorf("%.60q: %v", raw, err)
		}
	}
}

// The bytes at the edges of what a scheme is made of.
func TestSchemeCharacters(t *testing.T) {
	const good = "abcdefghijklmnopqrstuvwxyz0123456789+-."
	for c := range 256 {
		want := strings.IndexByte(good, byte(c)) >= 0
		if got := validScheme("x" + string([]byte{byte(c)})); got != want {
			t.Errorf("%q in a scheme: %v", byte(c), got)
		}
		want = 'a' <= c && c <= 'z'
		if got := validScheme(string([]byte{byte(c)}) + "x"); got != want {
			t.Errorf("a scheme that begins with %q: %v", byte(c), got)
		}
	}
}

// RFC 7636, appendix B.
const (
	sampleVerifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	sampleChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
)

// Each refusal has the challenge of its very verifier, so that the form alone refuses it.
func TestPKCEBounds(t *testing.T) {
	if S256(sampleVerifier) != sampleChallenge || !VerifyCodeChallenge(sampleVerifier, sampleChallenge) {
		t.Error("the sample of RFC 7636 does not verify")
	}
	short, long := strings.Repeat("a", 42), strings.Repeat("a", 129)
	for _, tt := range []struct{ verifier, challenge string }{
		{"", ""}, {sampleVerifier, ""}, {"", sampleChallenge}, {"", S256("")},
		{sampleVerifier, sampleVerifier}, // the method "plain"
		{sampleVerifier + "x", sampleChallenge},
		{sampleVerifier, sampleChallenge + "="},
		{sampleVerifier, sampleChallenge[:42]},
		{sampleVerifier, sampleChallenge[:42] + "N"}, // the same hash, spelled otherwise
		{short, S256(short)}, {long, S256(long)},
		{short + "+", S256(short + "+")},
	} {
		if VerifyCodeChallenge(tt.verifier, tt.challenge) {
			t.Errorf("%q verifies %q", tt.verifier, tt.challenge)
		}
	}
	for _, n := range []int{43, 128} {
		if v := strings.Repeat("a", n); !VerifyCodeChallenge(v, S256(v)) {
			t.Errorf("a verifier of %d characters does not verify", n)
		}
	}
}

func TestPKCEForms(t *testing.T) {
	const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
	for c := range 256 {
		v := strings.Repeat("a", 42) + string([]byte{byte(c)})
		if got, want := ValidCodeVerifier(v), strings.IndexByte(unreserved, byte(c)) >= 0; got != want {
			t.Errorf("%q in a verifier: %v", byte(c), got)
		}
	}
	for s, want := range map[string]bool{
		sampleChallenge: true, sampleChallenge[:42]: false, sampleChallenge + "A": false, sampleChallenge[:42] + "N": false,
		"!" + sampleChallenge[1:]: false, "/" + sampleChallenge[1:]: false, "": false, strings.Repeat("A", 44): false,
	} {
		if ValidCodeChallenge(s) != want || ValidThumbprint(s) != want {
			t.Errorf("%q: want %v", s, want)
		}
	}
}
