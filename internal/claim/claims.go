// Package claim reads what an issuer says of a person: claims of a token or of a
// userinfo response, and what of them an Identity may hold. A claim that cannot be
// read is unknown, never empty.
package claim

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Set are the members of an ID token or a userinfo response. A claim is asked
// for by its name or, with a slash at the beginning, by a JSON pointer (RFC 6901).
// A claim is absent, or it is there: then it can be read, or the problem says
// which shape it has. Null is absent.
type Set map[string]json.RawMessage

// lookup returns the claim, nil if it is absent. The problem says why the way to
// it cannot be followed; then nothing is known about the claim.
func (c Set) lookup(name string) (value json.RawMessage, problem string) {
	if !strings.HasPrefix(name, "/") {
		return present(c[name]), ""
	}
	steps := strings.Split(name[1:], "/")
	value = present(c[unescape(steps[0])])
	for _, step := range steps[1:] {
		if value == nil {
			return nil, ""
		}
		switch value[0] {
		case '{', '[':
			value = present(member(value, unescape(step)))
		default:
			return nil, "what holds it is " + shape(value) + ", not an object"
		}
	}
	return value, ""
}

// present returns raw without the space around it, or nil for null and for nothing.
func present(raw json.RawMessage) json.RawMessage {
	if raw = bytes.TrimSpace(raw); len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	return raw
}

// unescape: RFC 6901, section 4, in this order.
func unescape(step string) string {
	return strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
}

func member(value json.RawMessage, step string) json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(value, &object) == nil {
		return object[step]
	}
	var list []json.RawMessage
	index, err := strconv.Atoi(step)
	if err != nil || strconv.Itoa(index) != step || json.Unmarshal(value, &list) != nil || index < 0 || index >= len(list) {
		return nil
	}
	return list[index]
}

// shape names the JSON type of a value, for a log.
func shape(raw json.RawMessage) string {
	switch raw[0] {
	case '"':
		return "text"
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 't', 'f':
		return "true or false"
	}
	return "a number"
}

// Has reports whether the claim is there at all, readable or not.
func (c Set) Has(name string) bool {
	value, problem := c.lookup(name)
	return value != nil || problem != ""
}

// Elsewhere reports whether the provider has put the claim in another place (OpenID Connect Core, section 5.6.2), as Microsoft does where
// groups are too many for a token.
func (c Set) Elsewhere(name string) bool {
	first := name
	if pointer, ok := strings.CutPrefix(name, "/"); ok {
		first, _, _ = strings.Cut(pointer, "/")
	} else {
		first = strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
	}
	return c.Has("/_claim_names/"+first) || name == "groups" && c.IsTrue("hasgroups")
}

// Identifier returns a text claim, or a whole number as its digits.
func (c Set) Identifier(name string) string {
	var n json.Number
	raw, _ := c.lookup(name)
	if len(raw) > 0 && raw[0] != '"' && json.Unmarshal(raw, &n) == nil && !strings.ContainsAny(n.String(), ".eE") {
		return n.String()
	}
	return c.String(name)
}

// String returns a string claim, or "".
func (c Set) String(name string) string {
	text, _ := c.Text(name)
	return text
}

// Text returns a string claim. Where something else is there, the text is empty
// and the problem says what.
func (c Set) Text(name string) (text, problem string) {
	raw, problem := c.lookup(name)
	switch {
	case problem != "" || raw == nil:
		return "", problem
	case json.Unmarshal(raw, &text) != nil:
		return "", "it is " + shape(raw) + ", not text"
	}
	return text, ""
}

// IsTrue accepts the string "true", which some providers send for a boolean.
func (c Set) IsTrue(name string) bool {
	var b bool
	if raw, _ := c.lookup(name); raw != nil && json.Unmarshal(raw, &b) == nil {
		return b
	}
	return c.String(name) == "true"
}

// Groups returns the names that a claim lists: a list of texts, one text, or the
// keys of an object whose values are objects or true, as Zitadel sends roles. The
// problem says what else is there; then groups are only those that can be read,
// and there may be others.
func (c Set) Groups(name string) (groups []string, problem string) {
	raw, problem := c.lookup(name)
	if problem != "" || raw == nil {
		return nil, problem
	}
	switch raw[0] {
	case '"':
		return oneGroup(raw)
	case '[':
		return listedGroups(raw)
	case '{':
		return keyedGroups(raw)
	}
	return nil, "it is " + shape(raw) + ", not a list of texts"
}

// distinguished begins the name of a directory entry (RFC 4514), which holds
// commas and spaces and is one group.
var distinguished = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9.-]*=`)

// oneGroup reads a text, as AD FS sends for people with one group. A text that
// may be a list in a form of its own ("a,b", "[a, b]") is taken as one name and
// reported, because its parts may be groups that a rule denies.
func oneGroup(raw json.RawMessage) ([]string, string) {
	var text string
	if json.Unmarshal(raw, &text) != nil || text == "" {
		return nil, ""
	}
	if strings.ContainsAny(text, " \t\r\n,;|[]{}\"") && !distinguished.MatchString(text) {
		return []string{text}, "it is one text that may be several names, not a list of texts"
	}
	return []string{text}, ""
}

func listedGroups(raw json.RawMessage) (groups []string, problem string) {
	var list []json.RawMessage
	_ = json.Unmarshal(raw, &list) // it is a list, in a document that was JSON
	for _, entry := range list {
		var text string
		switch entry = present(entry); {
		case entry == nil:
		case json.Unmarshal(entry, &text) != nil:
			problem = "it is a list that holds " + shape(entry) + ", not only texts"
		case text != "":
			groups = append(groups, text)
		}
	}
	return groups, problem
}

func keyedGroups(raw json.RawMessage) (groups []string, problem string) {
	var object map[string]json.RawMessage
	_ = json.Unmarshal(raw, &object)
	for _, key := range slices.Sorted(maps.Keys(object)) {
		switch value := present(object[key]); {
		case value == nil || string(value) == "false":
		case value[0] == '{' || string(value) == "true":
			groups = append(groups, key)
		default:
			problem = "it is an object that holds " + shape(value) + ", not a list of texts"
		}
	}
	return groups, problem
}
