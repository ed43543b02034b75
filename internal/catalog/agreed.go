package catalog

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"slices"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// What a person agreed to is kept as short hashes ("marks") of the tools that their
// scopes opened. If a token has no room for so many, there is one mark for each scope
// instead. Marks are made with a salt that MCP servers do not know: a server that can
// compute marks could search for another tool with the mark of one that was agreed to.
const (
	agreedTools  byte = 't' // the form with a mark for each tool
	agreedScopes byte = 's' // the form with a mark for each scope

	markBytes   = 4
	printBytes  = 16
	maxAgreed   = 128 // marks
	agreedStart = 1 + SecretBytes
)

// SecretBytes is the length of Options.Secret.
const SecretBytes = 8

// printOf returns a hash of all that a server says of a tool to the model: with another
// description, schema or hint it is another tool. Icons and _meta are left out, because
// they are not for the model.
func printOf(t *mcp.Tool) [printBytes]byte {
	said, err := json.Marshal(struct {
		Name, Title, Description string
		In, Out                  any
		Hints                    *mcp.ToolAnnotations
	}{t.Name, t.Title, t.Description, t.InputSchema, t.OutputSchema, t.Annotations})
	if err != nil { // what was read as JSON can be written
		said = []byte(t.Name)
	}
	sum := sha256.Sum256(said)
	return [printBytes]byte(sum[:printBytes])
}

// Agree returns what a person agrees to by granting the scopes now, for Agrees and
// Differ. It is never "". While the server has not been read, it has no tool.
func (c *Catalogue) Agree(scopes []string) string {
	tools := c.opened(c.included(scopes))
	if len(tools) > maxAgreed {
		return c.AgreeScopes(scopes)
	}
	b := append([]byte{agreedTools}, c.salt[:]...)
	for _, t := range tools {
		b = append(b, t.mark(c.salt[:])...)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// AgreeScopes is Agree in fewer bytes: Differ can then tell which scopes have changed,
// but not which of their tools.
func (c *Catalogue) AgreeScopes(scopes []string) string {
	b := append([]byte{agreedScopes}, c.salt[:]...)
	if scopes = c.included(scopes); !c.Unavailable && len(scopes) <= maxAgreed {
		for _, name := range scopes {
			b = append(b, c.markScope(c.salt[:], name)...)
		}
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// AgreedToNothing is for a person who has to agree again, whatever tools there are.
var AgreedToNothing = base64.RawURLEncoding.EncodeToString(append([]byte{agreedTools}, make([]byte, SecretBytes)...))

// Agrees reports whether a tool is as it was when the person agreed to it. It is false
// for a tool that the server does not list.
func (c *Catalogue) Agrees(agreed, tool string) bool {
	a, ok := openAgreed(agreed)
	i, listed := c.place(tool)
	if !ok || !listed {
		return false
	}
	if a.form == agreedTools {
		return a.has(c.Tools[i].mark(a.salt))
	}
	return slices.ContainsFunc(c.Scopes, func(s Scope) bool {
		return slices.Contains(s.Tools, tool) && a.has(c.markScope(a.salt, s.Name))
	})
}

// Differ reports whether a scope has tools that the person did not agree to as they are
// now, and names them. It cannot name them if agreed has the form of AgreeScopes.
func (c *Catalogue) Differ(agreed, scope string) (tools []string, differs bool) {
	a, ok := openAgreed(agreed)
	if !ok || c.Unavailable {
		return nil, false
	}
	if a.form == agreedScopes {
		return nil, !a.has(c.markScope(a.salt, scope))
	}
	for _, t := range c.opened([]string{scope}) {
		if !a.has(t.mark(a.salt)) {
			tools = append(tools, t.Name)
		}
	}
	return tools, len(tools) > 0
}

// Lists reports whether the server lists the tool.
func (c *Catalogue) Lists(tool string) bool {
	_, ok := c.place(tool)
	return ok
}

// included returns the scopes, and those that they include by the configuration.
func (c *Catalogue) included(scopes []string) []string {
	return (&rule.Rules{Scopes: c.operator}).WithIncluded(scopes)
}

// opened returns the tools that the scopes open, in the order of the list.
func (c *Catalogue) opened(scopes []string) []*Tool {
	open := map[string]bool{}
	for _, name := range scopes {
		s, _ := c.Scope(name)
		for _, t := range s.Tools {
			open[t] = true
		}
	}
	var out []*Tool
	for i := range c.Tools {
		if t := &c.Tools[i]; open[t.Name] {
			out = append(out, t)
		}
	}
	return out
}

// mark returns the mark of a tool.
func (t *Tool) mark(salt []byte) []byte {
	h := sha256.New()
	h.Write(salt)
	hashPart(h, agreedTools, t.Name)
	h.Write(t.print[:])
	return h.Sum(nil)[:markBytes]
}

// markScope returns the mark of a scope with all of its tools.
func (c *Catalogue) markScope(salt []byte, name string) []byte {
	h := sha256.New()
	h.Write(salt)
	hashPart(h, agreedScopes, name)
	for _, t := range c.opened([]string{name}) {
		hashPart(h, agreedTools, t.Name)
		h.Write(t.print[:])
	}
	return h.Sum(nil)[:markBytes]
}

// agreement is what Agree or AgreeScopes wrote.
type agreement struct {
	form        byte
	salt, marks []byte
}

func openAgreed(s string) (agreement, bool) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) < agreedStart || (len(b)-agreedStart)%markBytes != 0 {
		return agreement{}, false
	}
	return agreement{b[0], b[1:agreedStart], b[agreedStart:]}, true
}

func (a agreement) has(mark []byte) bool {
	for m := range slices.Chunk(a.marks, markBytes) {
		if bytes.Equal(m, mark) {
			return true
		}
	}
	return false
}
