package oauth

import (
	"net/url"
	"slices"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

// Params are request parameters after the rules of RFC 6749, section 3.1 and
// 3.2: no parameter occurs twice, except those that may, and an empty value
// means the parameter was not sent.
type Params struct {
	single     map[string]string
	repeated   map[string][]string
	duplicates []string // names sent more than once though they must not be
}

// NewParams reads values. Names in mayRepeat keep all their values.
func NewParams(values url.Values, mayRepeat ...string) Params {
	p := Params{single: make(map[string]string, len(values)), repeated: map[string][]string{}}
	for name, vs := range values {
		if slices.Contains(mayRepeat, name) {
			p.repeated[name] = slices.DeleteFunc(slices.Clone(vs), func(v string) bool { return v == "" })
			continue
		}
		if len(vs) > 1 {
			p.duplicates = append(p.duplicates, name)
			continue
		}
		if vs[0] != "" {
			p.single[name] = vs[0]
		}
	}
	slices.Sort(p.duplicates)
	return p
}

// Get returns the value of name, "" if it was not sent or sent more than once.
func (p Params) Get(name string) string { return p.single[name] }

// All returns the values of a parameter that may repeat.
func (p Params) All(name string) []string { return p.repeated[name] }

// Duplicated reports whether name was sent more than once though it must not be.
func (p Params) Duplicated(name string) bool { return slices.Contains(p.duplicates, name) }

// CheckDuplicates refuses parameters sent more than once (RFC 6749, sections 3.1, 3.2).
func (p Params) CheckDuplicates() error {
	if len(p.duplicates) == 0 {
		return nil
	}
	return &Error{Code: InvalidRequest, Description: "a request parameter is included more than once", Reason: reasons.DuplicateParameter}
}
