package oauth

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const maxRedirectURIBytes = 2 << 10

// RedirectURI is a redirect URI that a client registered and that the matcher
// found. Only MatchRedirectURI makes one that is not empty, so a function that
// takes a RedirectURI cannot be talked into an open redirect.
type RedirectURI struct{ raw string }

// MarshalText and UnmarshalText exist so that a matched URI can travel in a
// sealed value, where the seal is the proof that it was matched. Never use them
// on anything that a client or browser could have written.
func (u RedirectURI) MarshalText() ([]byte, error) { return []byte(u.raw), nil }

// UnmarshalText: see MarshalText.
func (u *RedirectURI) UnmarshalText(b []byte) error {
	u.raw = string(b)
	return nil
}

// String returns the URI as the client asked for it.
func (u RedirectURI) String() string { return u.raw }

// IsZero reports whether u was never matched.
func (u RedirectURI) IsZero() bool { return u.raw == "" }

// IsLoopback reports whether the URI leads to a program on the user's own computer.
func (u RedirectURI) IsLoopback() bool {
	_, ok := splitLoopback(u.raw)
	return ok
}

// With appends params to the query that the URI may already have (RFC 6749, section 4.1.2).
func (u RedirectURI) With(params url.Values) string {
	if len(params) == 0 {
		return u.raw
	}
	switch {
	case !strings.Contains(u.raw, "?"):
		return u.raw + "?" + params.Encode()
	case strings.HasSuffix(u.raw, "?"), strings.HasSuffix(u.raw, "&"):
		return u.raw + params.Encode()
	default:
		return u.raw + "&" + params.Encode()
	}
}

// MatchRedirectURI finds requested among registered. "The authorization server
// MUST ensure that the redirect URIs are compared by simple string comparison"
// (RFC 9700, section 2.1) with exceptions for http URIs on loopback alone. Their
// port is free, because native apps take whatever port the system gives them (RFC
// 8252, section 7.3). Clients register "http://localhost" the same way, so
// localhost gets the exception too; the three hosts are not interchangeable. And
// an empty path is "/" (RFC 3986, section 6.2.3): libraries that parse and print a URL add it.
func MatchRedirectURI(registered []string, requested string) (RedirectURI, bool) {
	if _, err := ClassifyRedirectURI(requested); err != nil {
		return RedirectURI{}, false
	}
	if slices.Contains(registered, requested) {
		return RedirectURI{requested}, true
	}
	asked, ok := splitLoopback(requested)
	if !ok {
		return RedirectURI{}, false
	}
	for _, r := range registered {
		if own, ok := splitLoopback(r); ok && own.host == asked.host && own.rest == asked.rest {
			return RedirectURI{requested}, true
		}
	}
	return RedirectURI{}, false
}

// RedirectKey returns a short name for a redirect URI. Two have the same one if
// they are the same text or, for http on loopback, the same but for an empty path and "/".
func RedirectKey(uri string) string {
	if l, ok := splitLoopback(uri); ok {
		uri = "http://" + l.host + ":" + l.port + l.rest
	}
	sum := sha256.Sum256([]byte(uri))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// RedirectKind says how much a redirect URI proves about who receives the code.
type RedirectKind int

// Kinds of redirect URI (RFC 8252, section 7).
const (
	RedirectHTTPS      RedirectKind = iota + 1 // a web server that holds the name's certificate
	RedirectLoopback                           // some program on the user's computer
	RedirectPrivateUse                         // some app that registered the scheme
)

// knownSchemes are schemes without a dot that well-known MCP clients use. They
// are admitted like reversed domain names (RFC 8252, section 7.1); any other
// scheme needs an operator who allows it by name.
var knownSchemes = []string{"claude", "code-oss", "cursor", "goose", "kiro", "lmstudio", "raycast", "vscode", "vscode-insiders", "warp", "windsurf", "zed"}

// dangerousSchemes run code, read files or start programs when a browser is
// sent to them. No configuration admits them (RFC 9700, section 4.1).
var dangerousSchemes = []string{
	"about", "blob", "content", "data", "file", "filesystem", "ftp", "ftps", "intent", "jar", "javascript", "livescript",
	"mailto", "mhtml", "ms-settings", "resource", "search-ms", "sftp", "sms", "ssh", "tel", "telnet", "urn", "vbscript",
	"view-source", "wais", "ws", "wss",
}

// CheckScheme says why an operator may not admit the scheme of private-use
// redirect URIs, nil if it may be.
func CheckScheme(scheme string) error {
	switch {
	case !validScheme(scheme):
		return errors.New("is not the name of a scheme in lower case, without \":\"")
	case scheme == "https" || scheme == "http":
		return errors.New("is not a private-use scheme; such redirect URIs are admitted without it")
	case dangerousScheme(scheme):
		return errors.New("is a scheme that browsers act on themselves, which is never allowed")
	}
	return nil
}

func dangerousScheme(scheme string) bool {
	return slices.Contains(dangerousSchemes, scheme) || strings.HasPrefix(scheme, "chrome")
}

// WellKnownScheme reports whether a private-use redirect URI needs no
// operator's word: its scheme is a reversed domain name or that of a known client.
func WellKnownScheme(raw string) bool {
	scheme, _, _ := strings.Cut(raw, ":")
	return strings.Contains(scheme, ".") || slices.Contains(knownSchemes, scheme)
}

// ClassifyRedirectURI checks that raw may be registered as a redirect URI at
// all and says of which kind it is. It looks at the raw bytes first: what two
// URL parsers read differently (backslash, userinfo, control characters) is
// refused, not interpreted.
func ClassifyRedirectURI(raw string) (RedirectKind, error) {
	if raw == "" || len(raw) > maxRedirectURIBytes {
		return 0, errors.New("is empty or longer than 2048 bytes")
	}
	for i := range len(raw) {
		if c := raw[i]; c <= 0x20 || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			return 0, errors.New("has a character that a URI cannot hold")
		}
	}
	if strings.Contains(raw, "#") {
		return 0, errors.New("has a fragment") // RFC 6749, section 3.1.2
	}
	scheme, rest, ok := strings.Cut(raw, ":")
	if !ok || !validScheme(scheme) {
		return 0, errors.New("is not an absolute URI with a lower-case scheme")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return 0, errors.New("is not a valid URI")
	}
	if u.User != nil || strings.Contains(u.Host, "@") {
		return 0, errors.New("has user information")
	}
	switch scheme {
	case "https":
		if _, err := webHost(raw); err != nil {
			return 0, err
		}
		return RedirectHTTPS, nil
	case "http":
		if _, ok := splitLoopback(raw); !ok {
			return 0, errors.New("uses http on a host other than 127.0.0.1, [::1] or localhost")
		}
		return RedirectLoopback, nil
	}
	if dangerousScheme(scheme) {
		return 0, errors.New("has a scheme that is never allowed")
	}
	if strings.Trim(rest, "/") == "" {
		return 0, errors.New("names nothing but a scheme")
	}
	return RedirectPrivateUse, nil
}

// DisplayHost is the part of a redirect URI to show prominently to a person: the
// host that a browser goes to, with its port unless that is the default, or the
// scheme of a private-use URI.
func (u RedirectURI) DisplayHost() string {
	if host, err := webHost(u.raw); err == nil {
		return host
	}
	scheme, _, _ := strings.Cut(u.raw, ":")
	return scheme + ":"
}

func validScheme(s string) bool {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '-' || c == '.') {
			return false
		}
	}
	return true
}

func validPort(p string) bool {
	n, err := strconv.ParseUint(p, 10, 16)
	return err == nil && n > 0 && (p[0] != '0')
}

// loopback is an http URI on the user's own computer.
type loopback struct {
	host, port string
	rest       string // path and query; the path is never empty
}

// splitLoopback splits "http://HOST[:PORT]REST" when HOST is one of the three
// loopback hosts, spelled exactly so.
func splitLoopback(raw string) (loopback, bool) {
	after, ok := strings.CutPrefix(raw, "http://")
	if !ok {
		return loopback{}, false
	}
	for _, h := range []string{"127.0.0.1", "[::1]", "localhost"} {
		tail, ok := strings.CutPrefix(after, h)
		if !ok {
			continue
		}
		port := ""
		if p, ok := strings.CutPrefix(tail, ":"); ok {
			end := strings.IndexAny(p, "/?")
			if end < 0 {
				end = len(p)
			}
			if !validPort(p[:end]) {
				return loopback{}, false
			}
			port, tail = p[:end], p[end:]
		}
		switch {
		case tail == "", tail[0] == '?':
			return loopback{h, port, "/" + tail}, true
		case tail[0] == '/':
			return loopback{h, port, tail}, true
		}
		return loopback{}, false
	}
	return loopback{}, false
}
