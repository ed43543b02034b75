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

// What a person agreed to is kept as short hashes of the tools that their scopes
// opened, or of the scopes where there are more tools than a token has room for. They
// are made with a salt that MCP servers do not know: a server that could compute them
// might look for another tool with the hash of one that was agreed to.
const (
	agreedTools  byte = 't'
	agreedScopes byte = 's'

	markBytes   = 4
	printBytes  = 16
	maxAgreed   = 128 // marks
	agreedStart = 1 + SecretBytes
)

// SecretBytes is the length of Options.Secret.
const SecretBytes = 8

// printOf is a hash of all that a server says of a tool: another description, schema
// or hint makes another tool of it. Icons and _meta are left out, which are not for
// the model.
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

// Agree returns what a person agrees to who grants the scopes now, for Agrees and
// Differ. It is never empty, and while the server cannot be asked it holds no tool.
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

// AgreeScopes is Agree in fewer bytes: it tells which scopes have changed, and not
// which of their tools.
func (c *Catalogue) AgreeScopes(scopes []string) string {
	b := append([]byte{agreedScopes}, c.salt[:]...)
	if scopes = c.included(scopes); !c.Unavailable && len(scopes) <= maxAgreed {
		for _, name := range scopes {
			b = append(b, c.markScope(c.salt[:], name)...)
		}
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// AgreedToNothing is what a person agreed to who has to agree again, whatever there is.
var AgreedToNothing = base64.RawURLEncoding.EncodeToString(append([]byte{agreedTools}, make([]byte, SecretBytes)...))

// Agrees reports whether a tool of the list is as it was when the person agreed to
// it. One that is not in the list is not known to be.
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

// Differ returns which tools of a scope the person did not agree to as they are now,
// and whether there are any: for many tools it is not known which.
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

// included returns the scopes and what they include by the operator's word.
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

// mark is the short hash of a tool.
func (t *Tool) mark(salt []byte) []byte {
	h := sha256.New()
	h.Write(salt)
	hashPart(h, agreedTools, t.Name)
	h.Write(t.print[:])
	return h.Sum(nil)[:markBytes]
}

// markScope is the short hash of a scope and all of its tools.
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

// agreement is what Agree wrote.
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
