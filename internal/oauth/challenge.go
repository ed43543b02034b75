package oauth

import (
	"cmp"
	"strings"
)

// Challenge is one challenge of a WWW-Authenticate header (RFC 6750, section 3;
// resource_metadata: RFC 9728, section 5.1; algs: RFC 9449, section 7.1).
type Challenge struct {
	Scheme           string    // "" is Bearer
	Error            ErrorCode // empty when the request carried no token (RFC 6750, section 3.1)
	ErrorDescription string
	Scope            Scopes
	ResourceMetadata string
	Algorithms       string // with spaces between
}

// String renders the challenge on one line. Bytes that our quoted-string
// must not hold (controls, quote, backslash, non-ASCII) are dropped, so the
// result never splits a header.
func (c Challenge) String() string {
	params := [...]struct{ name, value string }{
		{"error", string(c.Error)}, {"error_description", c.ErrorDescription}, {"scope", c.Scope.String()}, {"resource_metadata", c.ResourceMetadata}, {"algs", c.Algorithms},
	}
	scheme := cmp.Or(c.Scheme, "Bearer")
	size := len(scheme)
	for _, p := range params {
		size += len(p.name) + len(p.value) + len(`, =""`)
	}
	var b strings.Builder
	b.Grow(size)
	b.WriteString(scheme)
	sep := " "
	for _, p := range params {
		if p.value == "" {
			continue
		}
		b.WriteString(sep)
		b.WriteString(p.name)
		b.WriteString(`="`)
		for i := range len(p.value) {
			if v := p.value[i]; v >= 0x20 && v <= 0x7e && v != '"' && v != '\\' {
				b.WriteByte(v)
			}
		}
		b.WriteByte('"')
		sep = ", "
	}
	return b.String()
}
