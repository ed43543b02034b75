package upstream

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Claims are the members of an ID token or a userinfo response. A claim is asked
// for by its name or, with a slash at the beginning, by a JSON pointer (RFC 6901).
// One of an unexpected type counts as absent.
type Claims map[string]json.RawMessage

// at returns what is there, nil for nothing.
func (c Claims) at(name string) json.RawMessage {
	if !strings.HasPrefix(name, "/") {
		return c[name]
	}
	steps := strings.Split(name[1:], "/")
	value := c[unescape(steps[0])]
	for _, step := range steps[1:] {
		value = member(value, unescape(step))
	}
	return value
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

// Has reports whether the claim is there at all.
func (c Claims) Has(name string) bool { return c.at(name) != nil }

// Identifier returns a text claim, or a whole number as its digits.
func (c Claims) Identifier(name string) string {
	var n json.Number
	raw := c.at(name)
	if len(raw) > 0 && raw[0] != '"' && json.Unmarshal(raw, &n) == nil && !strings.ContainsAny(n.String(), ".eE") {
		return n.String()
	}
	return c.String(name)
}

// String returns a string claim, or "".
func (c Claims) String(name string) string {
	var s string
	if json.Unmarshal(c.at(name), &s) != nil {
		return ""
	}
	return s
}

// IsTrue accepts the string "true", which some providers send for a boolean.
func (c Claims) IsTrue(name string) bool {
	var b bool
	if json.Unmarshal(c.at(name), &b) == nil {
		return b
	}
	return c.String(name) == "true"
}

// Strings returns an array of strings, or a single string as an array.
func (c Claims) Strings(name string) []string {
	if s := c.String(name); s != "" {
		return []string{s}
	}
	var values []any
	if json.Unmarshal(c.at(name), &values) != nil {
		return nil
	}
	var texts []string
	for _, v := range values {
		if s, ok := v.(string); ok {
			texts = append(texts, s)
		}
	}
	return texts
}
