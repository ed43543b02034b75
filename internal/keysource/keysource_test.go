package keysource

import (
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// section is one that has these keys and the algorithms.
type section struct {
	Keys
	Algorithms []string `json:"algorithms"`
}

func resolve(t *testing.T, text string) (Keys, []string, *conf.Check) {
	t.Helper()
	c := &conf.Check{
		ReadFile: func(name string) ([]byte, error) {
			if name == "there" {
				return []byte("x"), nil
			}
			return nil, fs.ErrNotExist
		},
		Below: func(name string) string { return "/etc/" + name },
	}
	var s section
	c.Decode([]byte(text), &s)
	k := s.Keys.Resolve(conf.Section{Check: c}, "do harm")
	var accepted []string
	for _, a := range Algorithms(conf.Section{Check: c}, s.Algorithms) {
		accepted = append(accepted, string(a))
	}
	return k, accepted, c
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"{}": "",
		"{jwksURL: https://x.example/keys, tokenFile: there}":  "",
		"{jwksURL: http://localhost:1/keys, tokenFile: there}": "",
		"{jwksFile: there}":                                       "",
		"{algorithms: [ES256]}":                                   "",
		"{jwksFile: there, jwksURL: https://x.example}":           "jwksURL: excludes jwksFile",
		"{jwksFile: there, tokenFile: there}":                     "tokenFile: has no meaning beside jwksFile",
		"{jwksFile: missing}":                                     "jwksFile: there is no such file",
		"{tokenFile: missing}":                                    "tokenFile: there is no such file",
		"{jwksURL: x.example/keys}":                               "jwksURL: ",
		"{jwksURL: http://x.example/keys, tokenFile: there}":      "jwksURL: uses http, which would show the token",
		"{algorithms: []}":                                        "algorithms: is empty",
		"{algorithms: [HS256]}":                                   "algorithms[0]: \"HS256\" is refused",
		"{algorithms: [ES256, None]}":                             "algorithms[1]: \"None\" is refused",
		"{algorithms: [ES128]}":                                   "algorithms[0]: \"ES128\" is not one of",
		"{jwksFile: there, caFile: missing, algorithms: [HS512]}": "caFile: there is no such file",
	} {
		_, _, c := resolve(t, text)
		got := ""
		if c.Len() > 0 {
			got = c.Err().Error()
		}
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
		if len(c.Warnings) > 0 {
			t.Errorf("%s: %v", text, c.Warnings)
		}
	}
	_, _, c := resolve(t, "{jwksURL: http://x.example/keys}")
	if c.Len() > 0 || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Problem, "can do harm") {
		t.Errorf("keys over http: %v, warnings %v", c.Err(), c.Warnings)
	}
}

func TestPlaces(t *testing.T) {
	k, accepted, _ := resolve(t, "{jwksFile: there}")
	if k.JWKSFile != "/etc/there" || k.Of("https://x.example").File() != "/etc/there" {
		t.Errorf("the file is at %q", k.JWKSFile)
	}
	if want := []string{"RS256", "PS256", "ES256", "EdDSA"}; !slices.Equal(accepted, want) {
		t.Errorf("without algorithms %v count, want %v", accepted, want)
	}
	k, _, _ = resolve(t, "{jwksURL: https://x.example/keys, tokenFile: there}")
	if s := k.Source("https://x.example"); s.Issuer != "https://x.example" || s.URL != "https://x.example/keys" || s.Token == nil {
		t.Errorf("%+v", s)
	}
	if k.TokenFile != "/etc/there" {
		t.Errorf("the token is at %q", k.TokenFile)
	}
	same, other := k, k
	other.Authorities = []byte("-----BEGIN")
	if k.Of("a") != same.Of("a") || k.Of("a") == k.Of("b") || k.Of("a") == other.Of("a") {
		t.Error("places are equal that differ, or the other way round")
	}
}
