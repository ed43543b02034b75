package oauth

import (
	"errors"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

var errHost = errors.New("has no valid host")

// webHost returns the host of the raw http or https URL, with its port unless
// that is the default, in the one form that browsers make of it. It reads the
// raw text, because URL parsers differ in what they make of a host: Go decodes
// "%E3%80%82", and a browser then takes that character for a dot. A host is
// admitted only in the syntax of the standards: labels of ASCII letters, digits,
// "-" and "_", of which those that begin with "xn--" are valid punycode, or an IP
// address in its usual notation.
func webHost(raw string) (string, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || scheme != "https" && scheme != "http" {
		return "", errHost
	}
	authority := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority = rest[:end]
	}
	host, port := authority, ""
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		host, port = authority[:i], authority[i+1:]
		if !validPort(port) {
			return "", errHost
		}
	}
	host, err := plainHost(strings.ToLower(host))
	if err != nil || port == "" || port == defaultPorts[scheme] {
		return host, err
	}
	return host + ":" + port, nil
}

var defaultPorts = map[string]string{"https": "443", "http": "80"}

// plainHost checks a lower-case host and returns it in its usual notation.
func plainHost(host string) (string, error) {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !strings.HasSuffix(inner, "]") || !addr.Is6() || addr.Is4In6() || addr.Zone() != "" {
			return "", errHost
		}
		return "[" + addr.String() + "]", nil
	}
	if len(host) > 253 {
		return "", errHost
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if !validLabel(label) {
			return "", errHost
		}
		last = label
	}
	// A name whose last label is a number is an address to browsers, in octal and
	// hexadecimal too (WHATWG URL, "ends in a number").
	if number(last) {
		if addr, err := netip.ParseAddr(host); err != nil || addr.String() != host {
			return "", errHost
		}
	}
	return host, nil
}

func number(label string) bool {
	return strings.Trim(label, "0123456789") == "" || strings.HasPrefix(label, "0x")
}

// validLabel admits one label of a DNS name (RFC 1123, section 2.1) and the
// underscore that some private names have.
func validLabel(l string) bool {
	if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
		return false
	}
	for i := range len(l) {
		c := l[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	if !strings.HasPrefix(l, "xn--") {
		return true
	}
	// Punycode that does not decode to what encodes to it is a name to some and an error to others.
	unicode, err := idna.Lookup.ToUnicode(l)
	if err != nil || unicode == l {
		return false
	}
	again, err := idna.Lookup.ToASCII(unicode)
	return err == nil && again == l
}
