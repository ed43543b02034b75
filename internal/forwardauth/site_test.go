package forwardauth

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// Which requests of a browser another site may have made.
func TestCrossSite(t *testing.T) {
	const issuer = "https://mcp.example.com"
	for name, tt := range map[string]struct {
		method, site, mode, dest, origin string
		want                             bool
	}{
		"the page's own script":               {"POST", "same-origin", "cors", "empty", issuer, false},
		"a link":                              {"GET", "cross-site", "navigate", "document", "", false},
		"a link of a sister host":             {"GET", "same-site", "navigate", "document", "", false},
		"a link, and no word of where":        {"GET", "cross-site", "navigate", "", "", false},
		"a link in a frame":                   {"GET", "cross-site", "navigate", "iframe", "", true},
		"an image":                            {"GET", "cross-site", "no-cors", "image", "", true},
		"a form of another site":              {"POST", "cross-site", "navigate", "document", "https://evil.example", true},
		"a form without an origin":            {"POST", "cross-site", "navigate", "document", "", true},
		"HEAD of another site":                {"HEAD", "cross-site", "navigate", "document", "", true},
		"another origin":                      {"GET", "none", "navigate", "document", "https://evil.example", true},
		"the origin null":                     {"POST", "none", "navigate", "document", "null", true},
		"a bookmark":                          {"GET", "none", "navigate", "document", "", false},
		"a bookmark, asked for its headers":   {"HEAD", "none", "no-cors", "empty", "", false},
		"a script that says no destination":   {"GET", "cross-site", "cors", "", "", true},
		"a form from nowhere":                 {"POST", "none", "navigate", "document", "", true},
		"an old browser looks":                {"GET", "", "", "", "", false},
		"an old browser asks for the options": {"OPTIONS", "", "", "", "", false},
		"an old browser writes":               {"POST", "", "", "", "", true},
		"an old browser writes, from here":    {"POST", "", "", "", issuer, false},
		"a site that does not exist":          {"GET", "same-planet", "cors", "empty", "", true},
	} {
		q := &Request{Method: tt.method}
		q.Other = http.Header{}
		for header, value := range map[string]string{fetchSite: tt.site, fetchMode: tt.mode, fetchDest: tt.dest} {
			if value != "" {
				q.Other[header] = []string{value}
			}
		}
		if tt.origin != "" {
			q.Origin = []string{tt.origin}
		}
		if got := crossSite(q, issuer); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
		if tt.site != "" && !tt.want { // said twice it says nothing
			q.Other[fetchSite] = []string{tt.site, tt.site}
			if !crossSite(q, issuer) {
				t.Errorf("%s, said twice: let through", name)
			}
		}
		if tt.origin != "" && !tt.want {
			q.Other.Del(fetchSite)
			if q.Origin = []string{issuer, "https://evil.example"}; !crossSite(q, issuer) {
				t.Errorf("%s, with two origins: let through", name)
			}
		}
	}
}

// What a browser says once alone counts, and what comes twice is of no browser.
func TestCrossSiteRepeated(t *testing.T) {
	q := &Request{Method: http.MethodGet}
	q.Other = http.Header{}
	if crossSite(q, "https://mcp.example.com") {
		t.Error("a request that says nothing is refused")
	}
	q.Origin = []string{"https://mcp.example.com", "https://mcp.example.com"}
	if !crossSite(q, "https://mcp.example.com") {
		t.Error("two origins are let through")
	}
	q.Origin = nil
	q.Other = http.Header{fetchSite: {"cross-site"}, fetchMode: {"navigate"}, fetchDest: {"document", "document"}}
	if !crossSite(q, "https://mcp.example.com") {
		t.Error("two destinations are let through")
	}
}

// A request has one credential, wherever it stands.
func TestPresented(t *testing.T) {
	const header = "X-Api-Key"
	longest := strings.Repeat("k", credential.MaxBytes)
	for name, tt := range map[string]struct {
		keyHeader     string
		authorization []string
		keys          []string
		raw           string
		inHeader      bool
		reason        Reason
	}{
		"a token":                     {header, []string{"Bearer abc"}, nil, "abc", false, Allowed},
		"a key":                       {header, nil, []string{" k1 "}, "k1", true, Allowed},
		"a key, where none is read":   {"", nil, []string{"k1"}, "", false, NoToken},
		"a token beside such a key":   {"", []string{"Bearer abc"}, []string{"k1"}, "abc", false, Allowed},
		"both":                        {header, []string{"Bearer abc"}, []string{"k1"}, "", true, TwoCredentials},
		"a key beside another scheme": {header, []string{"Basic abc"}, []string{"k1"}, "", true, TwoCredentials},
		"two keys":                    {header, nil, []string{"k1", "k1"}, "", true, TwoCredentials},
		"an empty key":                {header, nil, []string{"  "}, "", true, APIKeyMalformed},
		"the longest":                 {header, nil, []string{longest}, longest, true, Allowed},
		"a longer one":                {header, nil, []string{longest + "k"}, "", true, APIKeyMalformed},
	} {
		q := &Request{}
		q.Authorization, q.Other = tt.authorization, http.Header{header: tt.keys}
		raw, inHeader, reason := presented(q, &Decision{Resource: &resource.Resource{KeyHeader: tt.keyHeader}})
		if raw != tt.raw || inHeader != tt.inHeader || reason != tt.reason {
			t.Errorf("%s: %.20q, in a header %v, %q", name, raw, inHeader, reason)
		}
	}
}
