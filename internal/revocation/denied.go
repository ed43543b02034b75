package revocation

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"sigs.k8s.io/yaml"
)

// Denied is the operator's deny-list. The zero value denies no one.
type Denied struct {
	subjects, emails, clients, families map[string]bool
}

// document is the file that an operator writes, as YAML or JSON.
type document struct {
	// Subjects as in the sub claim and the audit log: "google:1234".
	Subjects []string `json:"subjects"`
	// Emails, whatever their case.
	Emails []string `json:"emails"`
	// Clients by client id, in full or as the audit log shortens it.
	Clients []string `json:"clients"`
	// Families as in the audit log: one sign-in of one client.
	Families []string `json:"families"`
}

// Bounds on the file, far above what a list written by hand holds.
const (
	MaxFileBytes  = 4 << 20
	maxEntryBytes = 2 << 10
)

// ParseDenied reads a deny-list. Unknown keys and empty entries are mistakes,
// because a slip would let a person in whom the operator wants out.
func ParseDenied(data []byte) (Denied, error) {
	if !utf8.Valid(data) {
		return Denied{}, errors.New("the file is not UTF-8 text")
	}
	var doc *document
	if err := yaml.UnmarshalStrict(data, &doc); err != nil {
		return Denied{}, fmt.Errorf("the file is not a list of subjects, emails, clients and families: %w", err)
	}
	if doc == nil { // also what a reader sees of a file that is just being written
		return Denied{}, errors.New("the file is empty; to deny no one, write \"subjects: []\"")
	}
	var d Denied
	same := func(s string) string { return s }
	for _, list := range []struct {
		key     string
		entries []string
		form    func(string) string
		into    *map[string]bool
	}{
		{"subjects", doc.Subjects, same, &d.subjects},
		{"emails", doc.Emails, strings.ToLower, &d.emails},
		{"clients", doc.Clients, Client, &d.clients},
		{"families", doc.Families, same, &d.families},
	} {
		*list.into = make(map[string]bool, len(list.entries))
		for i, entry := range list.entries {
			if entry == "" || entry != strings.TrimSpace(entry) || len(entry) > maxEntryBytes {
				return Denied{}, fmt.Errorf("%s[%d] is empty, too long, or begins or ends with a space", list.key, i)
			}
			(*list.into)[list.form(entry)] = true
		}
	}
	return d, nil
}

// Load puts a deny-list in force and returns how many entries it has. A list
// with a mistake changes nothing.
func (l *List) Load(data []byte) (entries int, err error) {
	d, err := ParseDenied(data)
	if err != nil {
		return 0, err
	}
	l.Deny(d)
	return d.Len(), nil
}

// Len returns how many entries the list has.
func (d Denied) Len() int { return len(d.subjects) + len(d.emails) + len(d.clients) + len(d.families) }

// matches never finds an empty fact: ParseDenied admits no empty entry.
func (d Denied) matches(f Facts) bool {
	return d.subjects[f.Subject] || d.families[f.Family] || d.clients[f.Client] ||
		len(d.emails) > 0 && (f.EmailUnknown || d.emails[strings.ToLower(f.Email)])
}
