package token

import (
	"encoding/json"
	"strconv"
	"strings"
)

// parse reads the claims out of the payload of a token whose signature holds. It
// is the text that marshal wrote, nearly always without an escape, so it is read
// as such; whatever else it holds is encoding/json's, which takes five times as long.
func parse(payload []byte) (*Claims, error) {
	c := new(Claims)
	if c.read(string(payload)) {
		return c, nil
	}
	c = new(Claims)
	return c, json.Unmarshal(payload, c)
}

// read reads an object of strings and whole numbers without spaces, escapes,
// or members that Claims does not have. It reports whether it was one.
func (c *Claims) read(s string) bool {
	s, ok := strings.CutPrefix(s, "{")
	for ok {
		var name string
		if name, s, ok = quoted(s); !ok {
			return false
		}
		if s, ok = strings.CutPrefix(s, ":"); !ok {
			return false
		}
		if text, number := c.member(name); text != nil {
			*text, s, ok = quoted(s)
		} else if name == "cnf" {
			c.Confirmation.Thumbprint, s, ok = thumbprint(s)
		} else if number != nil {
			*number, s, ok = digits(s)
		} else {
			return false
		}
		if !ok || s == "}" {
			return ok
		}
		s, ok = strings.CutPrefix(s, ",")
	}
	return false
}

// member returns where the value of a member goes.
func (c *Claims) member(name string) (text *string, number *int64) {
	switch name {
	case "iss":
		return &c.Issuer, nil
	case "sub":
		return &c.Subject, nil
	case "aud":
		return &c.Audience, nil
	case "client_id":
		return &c.ClientID, nil
	case "scope":
		return &c.Scope, nil
	case "jti":
		return &c.ID, nil
	case "iat":
		return nil, &c.IssuedAt
	case "exp":
		return nil, &c.Expires
	case "family":
		return &c.Family, nil
	case "person":
		return &c.Sealed, nil
	}
	return nil, nil
}

// quoted takes a string of printable ASCII without escapes off the front of s.
func quoted(s string) (text, rest string, ok bool) {
	if s, ok = strings.CutPrefix(s, `"`); !ok {
		return "", "", false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"':
			return s[:i], s[i+1:], true
		case c < ' ' || c > '~' || c == '\\':
			return "", "", false
		}
	}
	return "", "", false
}

// thumbprint takes a confirmation off the front of s.
func thumbprint(s string) (jkt, rest string, ok bool) {
	if s, ok = strings.CutPrefix(s, `{"jkt":`); !ok {
		return "", "", false
	}
	if jkt, s, ok = quoted(s); !ok {
		return "", "", false
	}
	rest, ok = strings.CutPrefix(s, "}")
	return jkt, rest, ok
}

// digits takes a whole number off the front of s.
func digits(s string) (n int64, rest string, ok bool) {
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	if end == 0 || end > 1 && s[0] == '0' {
		return 0, "", false
	}
	n, err := strconv.ParseInt(s[:end], 10, 64)
	return n, s[end:], err == nil
}
