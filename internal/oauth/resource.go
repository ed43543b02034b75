package oauth

import (
	"errors"
	"net/url"
	"strings"
)

const maxResourceBytes = 2 << 10

// CanonicalResource returns the canonical form of a resource identifier (RFC
// 8707, section 2; MCP authorization, "Canonical Server URI"): scheme and host
// in lower case, no default port, no trailing slash on a path, no query. Clients
// spell these differently, and some send the query that their user typed (RFC 8707
// says only that they should not); tokens carry one spelling. A fragment, which
// they must not send, is refused, and so are paths that two servers could read
// differently.
func CanonicalResource(raw string) (string, error) {
	if raw == "" || len(raw) > maxResourceBytes {
		return "", errors.New("is empty or longer than 2048 bytes")
	}
	for i := range len(raw) {
		if c := raw[i]; c <= 0x20 || c >= 0x7f || c == '\\' {
			return "", errors.New("has a character that a URI cannot hold")
		}
	}
	if strings.Contains(raw, "#") {
		return "", errors.New("has a fragment")
	}
	address, _, _ := strings.Cut(raw, "?")
	u, err := url.Parse(address)
	if err != nil || u.Opaque != "" || u.Host == "" || u.User != nil {
		return "", errors.New("is not an absolute URI with a host")
	}
	scheme := strings.ToLower(u.Scheme)
	if scheme != "https" && scheme != "http" {
		return "", errors.New("is not an https URI")
	}
	host, err := CanonicalHost(u.Host, scheme)
	if err != nil {
		return "", err
	}
	path := u.EscapedPath()
	if !PlainPath(path) {
		return "", errors.New("has a path that can be read in two ways")
	}
	return scheme + "://" + host + strings.TrimSuffix(path, "/"), nil
}

// CanonicalHost lower-cases a host, drops the scheme's default port and a
// trailing dot of the name, and refuses what is not a host with an optional port.
func CanonicalHost(hostport, scheme string) (string, error) {
	host, port := hostport, ""
	if i := strings.LastIndexByte(hostport, ':'); i >= 0 && !strings.HasSuffix(hostport, "]") {
		host, port = hostport[:i], hostport[i+1:]
		if !validPort(port) {
			return "", errors.New("has an invalid port")
		}
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "" {
		return "", errors.New("has no host")
	}
	if strings.HasPrefix(host, "[") != strings.HasSuffix(host, "]") {
		return "", errors.New("has an invalid host")
	}
	if strings.HasPrefix(host, ".") || strings.HasSuffix(host, ".") || strings.Contains(host, "..") {
		return "", errors.New("has an empty label in its host")
	}
	name := strings.Trim(host, "[]")
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == ':' && host[0] == '[') {
			return "", errors.New("has an invalid host")
		}
	}
	if port == "" || port == "443" && scheme == "https" || port == "80" && scheme == "http" {
		return host, nil
	}
	return host + ":" + port, nil
}

// PlainPath reports whether every gateway and server reads path alike: empty
// or starting with one slash, no empty or dot segments, no path parameters, and
// no percent-encoding of a character that has no need of it.
func PlainPath(path string) bool {
	if path == "" {
		return true
	}
	if path[0] != '/' {
		return false
	}
	start := 1
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			switch c := path[i]; {
			case c <= 0x20 || c >= 0x7f || c == '\\' || c == ';' || c == '#' || c == '?':
				return false
			case c == '%':
				if i+2 >= len(path) {
					return false
				}
				d, ok := unhex(path[i+1], path[i+2])
				if !ok || isUnreserved(d) || d < 0x20 || d == 0x7f || strings.IndexByte("/\\;%#?", d) >= 0 {
					return false
				}
			}
			continue
		}
		switch path[start:i] {
		case ".", "..":
			return false
		case "":
			if i < len(path) { // an empty segment inside, not a trailing slash
				return false
			}
		}
		start = i + 1
	}
	return true
}

func unhex(a, b byte) (byte, bool) {
	x, ok1 := hexDigit(a)
	y, ok2 := hexDigit(b)
	return x<<4 | y, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
