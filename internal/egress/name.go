package egress

import (
	"errors"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// privateSuffixes end names that never lead to the public internet (RFC 6761,
// RFC 6762, RFC 8375, RFC 9476 and habit).
var privateSuffixes = []string{
	"localhost", "local", "internal", "intranet", "private", "corp", "home", "lan", "localdomain",
	"home.arpa", "test", "invalid", "onion", "alt", "arpa", "svc", "cluster.local",
}

// neverNames lead to what a machine or a pod must ask only for itself, even where
// the operator named them. Where a proxy resolves names, only this keeps them out.
var neverNames = []string{
	"metadata", "metadata.google.internal", "metadata.goog", "metadata.azure.internal", "metadata.tencentyun.com",
	"instance-data", "instance-data.ec2.internal",
	"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
}

// loopbackHosts may be named with http where the Client's Loopback is set.
var loopbackHosts = []string{"localhost", "127.0.0.1", "::1"}

// CheckURL says why raw may not be fetched, before any packet is sent. It reads
// the raw string first: what two URL parsers could read differently is refused.
func (c *Client) CheckURL(raw string) error {
	_, _, err := c.parse(raw)
	return err
}

// parse also reports whether the operator named the URL's host.
func (c *Client) parse(raw string) (u *url.URL, named bool, err error) {
	if u, err = readURL(raw); err != nil {
		return nil, false, err
	}
	if c.isLoopback(u) {
		return u, false, nil
	}
	if !strings.HasPrefix(raw, "https://") {
		return nil, false, errors.New("is not an https URL")
	}
	named = slices.Contains(c.NamedURLs, raw) || slices.ContainsFunc(c.Named, func(host string) bool { return isNamed(host, u) })
	if err := checkName(u.Hostname(), named); err != nil {
		return nil, false, err
	}
	return u, named, checkPort(u, append(c.namedPorts(raw, u), c.Ports...))
}

// isNamed reports whether entry, a host or a host with a port, is that of u.
func isNamed(entry string, u *url.URL) bool {
	host, port, err := net.SplitHostPort(entry)
	if err != nil {
		return entry == u.Hostname()
	}
	return host == u.Hostname() && port == u.Port()
}

// namedPorts is the port that the operator named with the host.
func (c *Client) namedPorts(raw string, u *url.URL) []uint16 {
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	if err == nil && (slices.Contains(c.NamedURLs, raw) || slices.Contains(c.Named, u.Host)) {
		return []uint16{uint16(n)}
	}
	return nil
}

// readURL refuses what two parsers could read differently.
func readURL(raw string) (*url.URL, error) {
	if raw == "" || len(raw) > maxURLBytes {
		return nil, errors.New("is empty or longer than 2048 bytes")
	}
	for i := range len(raw) {
		if b := raw[i]; b <= 0x20 || b >= 0x7f || strings.IndexByte("\"<>\\^`{|}#", b) >= 0 {
			return nil, errors.New("has a fragment or a character that a URL cannot hold")
		}
	}
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" {
		return nil, errors.New("is not a URL")
	}
	authority, _, _ := strings.Cut(strings.TrimPrefix(raw, u.Scheme+"://"), "/")
	if u.User != nil || strings.Contains(authority, "@") {
		return nil, errors.New("has user information")
	}
	return u, nil
}

// isLoopback: development only; the name itself says loopback, so that no name
// of a stranger ever leads there.
func (c *Client) isLoopback(u *url.URL) bool {
	return c.Loopback && u.Scheme == "http" && slices.Contains(loopbackHosts, u.Hostname())
}

func checkPort(u *url.URL, ports []uint16) error {
	if strings.HasSuffix(u.Host, ":") {
		return errors.New("has an empty port")
	}
	if u.Port() == "" {
		return nil
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != u.Port() || n != 443 && !slices.Contains(ports, uint16(n)) {
		return errors.New("has a port that is not allowed")
	}
	return nil
}

// checkName admits fully qualified DNS names in lower case. No address literals
// in any notation: decimal, octal and hexadecimal ones end in a number (WHATWG
// URL, "ends in a number"). A host that the operator named may have a name
// that is not public.
func checkName(host string, named bool) error {
	labels := strings.Split(host, ".")
	if len(host) > 253 || len(labels) < 2 && !named {
		return errors.New("has no fully qualified host name")
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
			return errors.New("has no valid host name")
		}
		for i := range len(l) {
			if b := l[i]; !('a' <= b && b <= 'z' || '0' <= b && b <= '9' || b == '-') {
				return errors.New("has no valid host name in lower case")
			}
		}
	}
	last := labels[len(labels)-1]
	if _, err := strconv.ParseUint(last, 0, 64); err == nil || strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return errors.New("has an address in place of a host name")
	}
	if slices.Contains(neverNames, host) {
		return errors.New("has a host name of the machine's own metadata or of the cluster's API")
	}
	for _, s := range privateSuffixes {
		if named {
			break
		}
		if host == s || strings.HasSuffix(host, "."+s) {
			return errors.New("has a host name that is not public")
		}
	}
	return nil
}
