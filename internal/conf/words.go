package conf

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/net/idna"
)

// TextProblem says why value is not a text of at most MaxText bytes that a person
// sees in full, or "".
func TextProblem(value string) string {
	switch {
	case len(value) > MaxText:
		return fmt.Sprintf("is longer than %d bytes", MaxText)
	case strings.TrimSpace(value) != value:
		return "begins or ends with a space"
	case strings.ContainsFunc(value, func(c rune) bool { return !unicode.IsPrint(c) }):
		return "holds a control or invisible character"
	}
	return ""
}

// VisibleASCII are the printable characters of ASCII except the space.
const VisibleASCII = Letters + "0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

// Letters are those of ASCII.
const Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// HasOther reports whether s holds a character that is not in allowed.
func HasOther(s, allowed string) bool {
	return strings.ContainsFunc(s, func(c rune) bool { return !strings.ContainsRune(allowed, c) })
}

// Element returns the path of an entry of the list at a path.
func Element(at string, i int) string { return at + "[" + strconv.Itoa(i) + "]" }

// Show quotes a value for a message, not longer than a line should be.
func Show(value string) string {
	const most = 100
	if len(value) > most {
		return strconv.Quote(strings.ToValidUTF8(value[:most], "")) + "…"
	}
	return strconv.Quote(value)
}

// ShowDuration writes "10m" where time.Duration writes "10m0s".
func ShowDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// Quoted lists names in quotes for a message.
func Quoted(names []string) string {
	var out []string
	for _, n := range names {
		out = append(out, `"`+n+`"`)
	}
	return strings.Join(out, ", ")
}

// DNSNameProblem says why host is not a lower-case DNS name, or "".
func DNSNameProblem(host string) string {
	if lower := strings.ToLower(host); lower != host {
		return "must be in lower case: " + strconv.Quote(lower)
	}
	const invalid = "is not a DNS name or IP address"
	if host == "" || len(host) > 253 {
		return invalid
	}
	labels := strings.Split(host, ".")
	if labels[len(labels)-1] == "" {
		return "must not end with a dot"
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			HasOther(label, "abcdefghijklmnopqrstuvwxyz0123456789-") {
			return invalid
		}
		if strings.HasPrefix(label, "xn--") {
			if _, err := idna.Lookup.ToUnicode(label); err != nil {
				return "holds invalid punycode"
			}
		}
	}
	// Browsers take a name that ends in a number for an IPv4 address (WHATWG
	// URL, "ends in a number"), 0x included.
	last := labels[len(labels)-1]
	if _, err := strconv.ParseUint(last, 0, 64); err == nil || strings.Trim(last, "0123456789") == "" {
		return invalid
	}
	return ""
}

// IsASCII reports whether s holds nothing else.
func IsASCII(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c > 0x7e })
}

// ValidPort reports whether port is a number from 1 to 65535 without leading zeros.
func ValidPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == port
}

// IsLoopback reports whether host, without brackets, is this machine.
func IsLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback() && addr.Zone() == ""
}

// AbsoluteURL parses an http or https URL without user name and fragment.
func AbsoluteURL(value string) (u *url.URL, problem string) {
	const invalid = "is not an http or https URL"
	if len(value) > MaxURL {
		return nil, "is too long"
	}
	u, err := url.Parse(value)
	if err != nil {
		return nil, invalid
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", u.Opaque != "":
		return nil, invalid
	case u.User != nil:
		return nil, "must not hold a user name or password"
	case strings.Contains(value, "#"):
		return nil, "must not have a fragment"
	case strings.HasSuffix(u.Host, ":"), u.Port() != "" && !ValidPort(u.Port()):
		return nil, "has no port number between 1 and 65535 after the colon"
	}
	return u, ""
}

// ShowURL quotes a URL without the parts that may hold a password.
func ShowURL(value string) string {
	if strings.Contains(value, "@") {
		return "the URL"
	}
	if end := strings.IndexAny(value, "?#"); end >= 0 {
		return Show(value[:end] + value[end:end+1] + "…")
	}
	return Show(value)
}

// Names shows the first names of a list.
func Names(names []string) string {
	const most = 5
	if more := len(names) - most; more > 0 {
		names = append(slices.Clone(names[:most]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
