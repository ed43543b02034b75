package oauth

import "strings"

// Challenge is one Bearer challenge of a WWW-Authenticate header (RFC 6750,
// section 3; resource_metadata: RFC 9728, section 5.1).
type Challenge struct {
	Error            ErrorCode // empty when the request carried no token (RFC 6750, section 3.1)
	ErrorDescription string
	Scope            Scopes
	ResourceMetadata string
}

// String renders the challenge on one line. Bytes that a quoted-string of ours
// must not hold (controls, quote, backslash, non-ASCII) are dropped, so the
// result never splits a header.
func (c Challenge) String() string {
	var b strings.Builder
	b.WriteString("Bearer")
	sep := " "
	param := func(name, value string) {
		if value == "" {
			return
		}
		b.WriteString(sep)
		b.WriteString(name)
		b.WriteString(`="`)
		for i := range len(value) {
			if v := value[i]; v >= 0x20 && v <= 0x7e && v != '"' && v != '\\' {
				b.WriteByte(v)
			}
		}
		b.WriteByte('"')
		sep = ", "
	}
	param("error", string(c.Error))
	param("error_description", c.ErrorDescription)
	param("scope", c.Scope.String())
	param("resource_metadata", c.ResourceMetadata)
	return b.String()
}
