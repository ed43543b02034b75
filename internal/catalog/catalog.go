// Package catalog knows which scopes and tools an MCP server advertises.
//
// A Fetcher asks the server's tools/list and collects its pages. The collector checks and
// bounds them and makes a Catalogue, to which the operator's own scopes are added. A
// Cache fetches all configured servers in turn, keeps the last good Catalogue of each,
// and answers sign-ins (Get) and decisions (Want, Peek).
//
// Whatever a server answers, a Catalogue is small. Its scope names are scope-tokens of
// RFC 6749, section 3.3, and its texts are one plain line without control characters or
// characters that change the direction of text. No text in it gives a privilege. A server
// that does not answer gets the baseline, never an error in a sign-in.
//
// The list is asked for without a person: without a credential, or with the one that is
// configured for this service (FetchWith). A client's token is never sent. If a server
// shows each caller another list, the Catalogue has the one that this service gets.
package catalog

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// DefaultScope is the one scope of a server that declares none; it opens every tool. It
// is also offered while a server has not been read. It opens nothing then, because the
// server may turn out to declare scopes.
const DefaultScope = "mcp"

const defaultScopeDescription = "Use this server's tools"

// Catalogue is what one MCP server advertises. It does not change after it was made, may
// be shared, and must not be copied.
type Catalogue struct {
	Scopes []Scope // in the order the server first named them
	Tools  []Tool  // in the order of the server's list

	// FetchedAt is when the answer was complete; zero for a baseline.
	FetchedAt time.Time
	// Declared says that the server itself declared Scopes in _meta.scopes. Otherwise it
	// has the DefaultScope.
	Declared bool
	// Unavailable says that this is the baseline: the server has not been read.
	Unavailable bool
	// Dropped counts the entries of _meta.scopes that were not acceptable.
	Dropped int
	// TTL is how long the server says that its answer stays fresh; zero if it does not
	// say.
	TTL time.Duration

	index  sync.Once
	byTool map[string][]string // the scopes that open a tool, by its name
	// otherwise are the scopes that open every tool that byTool lacks, if the server
	// declares no scopes.
	otherwise []string
	// operator are the operator's scopes, which take precedence over the server's.
	operator []rule.Scope
	// places are the indexes of the tools in Tools, by name.
	places map[string]int
	// salt is Options.Secret, see Agree.
	salt [SecretBytes]byte
}

// Scope is one permission that a person can grant, and the tools that it opens.
type Scope struct {
	Name        string // a scope-token of RFC 6749, at most 128 bytes
	Description string // untrusted plain text, one line, at most 300 runes; may be empty
	Tools       []string
}

// IsDefault reports whether the scope is the DefaultScope with this service's own
// description.
func (s Scope) IsDefault() bool {
	return s.Name == DefaultScope && s.Description == defaultScopeDescription
}

// Tool is one tool of the server. ReadOnly and Destructive are hints by the server: they
// are shown, and no decision depends on them.
type Tool struct {
	Name        string
	Title       string // untrusted plain text, one line; empty if the server gives none
	Description string // untrusted plain text, one line, at most 300 runes; may be empty
	ReadOnly    bool
	Destructive bool // only if the server says so itself

	print [printBytes]byte // hash of all that the server says of it, see printOf
}

// Baseline returns the Catalogue of a server of which nothing is known.
func Baseline() *Catalogue {
	return &Catalogue{Scopes: []Scope{defaultScope(nil)}, Unavailable: true}
}

func defaultScope(tools []Tool) Scope {
	s := Scope{Name: DefaultScope, Description: defaultScopeDescription}
	for _, t := range tools {
		s.Tools = append(s.Tools, t.Name)
	}
	slices.Sort(s.Tools)
	return s
}

// ScopesForTool returns the scopes that open the tool; each of them is enough. It returns
// none if no scope does: the server declares scopes and left the tool out, or it has not
// been read. DefaultScope opens every tool of a server that was read and declares no
// scopes, also tools that are not listed. A tool that the operator's scopes name is
// opened by them alone, even while the server has not been read. The result must not be
// changed.
func (c *Catalogue) ScopesForTool(name string) []string {
	c.index.Do(c.buildIndex)
	if names, ok := c.byTool[name]; ok {
		return names
	}
	if names := c.operatorScopes(name); len(names) > 0 { // not listed, but named
		return names
	}
	if !c.Declared && !c.Unavailable {
		return c.otherwise
	}
	return nil
}

func (c *Catalogue) buildIndex() {
	c.byTool, c.places = map[string][]string{}, make(map[string]int, len(c.Tools))
	c.otherwise = []string{DefaultScope}
	for i, t := range c.Tools {
		c.places[t.Name] = i
		if names := c.operatorScopes(t.Name); len(names) > 0 {
			c.byTool[t.Name] = names
		}
	}
	if !c.Declared {
		return
	}
	for _, s := range c.Scopes {
		for _, t := range s.Tools {
			names := c.byTool[t]
			if t == "" || c.governed(t) || len(names) > 0 && names[len(names)-1] == s.Name {
				continue
			}
			c.byTool[t] = append(names, s.Name)
		}
	}
}

// place returns the index of the tool in Tools. ok is false if the server does not list
// it.
func (c *Catalogue) place(tool string) (i int, ok bool) {
	c.index.Do(c.buildIndex)
	i, ok = c.places[tool]
	return i, ok
}

// ScopeNames returns the names of all scopes, in order.
func (c *Catalogue) ScopeNames() []string {
	names := make([]string, len(c.Scopes))
	for i, s := range c.Scopes {
		names[i] = s.Name
	}
	return names
}

// ToolNames returns the names of the tools that the server lists.
func (c *Catalogue) ToolNames() []string {
	names := make([]string, len(c.Tools))
	for i, t := range c.Tools {
		names[i] = t.Name
	}
	return names
}

// Advertised returns the scopes that clients may be told to ask for. It returns none
// while the server has not been read: a client that is told to ask for the DefaultScope
// would go on to do so when the server is back.
func (c *Catalogue) Advertised() []string {
	if c.Unavailable {
		return nil
	}
	return c.ScopeNames()
}

// Scope returns the scope of this name.
func (c *Catalogue) Scope(name string) (Scope, bool) {
	i := slices.IndexFunc(c.Scopes, func(s Scope) bool { return s.Name == name })
	if i < 0 {
		return Scope{}, false
	}
	return c.Scopes[i], true
}

// hashScope returns a hash of the names of the tools that a scope opens. A consent is
// bound to it: if the scope gains a tool, the person is asked again. Order, titles and
// descriptions do not matter. A name that the catalogue lacks counts as a scope without
// tools.
//
// The DefaultScope of a server that declares none stands for every tool, whatever the
// list says today. So its tools do not count, and it has the same hash in the baseline.
func (c *Catalogue) hashScope(name string) string {
	h := sha256.New()
	hashPart(h, 's', name)
	patterns := c.operatorPatterns(name)
	switch {
	case len(patterns) > 0:
		// The operator's patterns count, not their tools: a new tool that matches was meant.
		for _, p := range slices.Sorted(slices.Values(patterns)) {
			hashPart(h, 'o', p)
		}
	case !c.Declared:
		hashPart(h, '*', "")
	default:
		s, _ := c.Scope(name)
		for _, t := range slices.Compact(slices.Sorted(slices.Values(s.Tools))) {
			hashPart(h, 't', t)
		}
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// fingerprintBytes is how much of a scope's hash is kept, in base64 characters: 60 bits.
// That is enough, because each try of a server to find another set of tools with the same
// hash is a change that people see.
const fingerprintBytes = 10

// Fingerprints returns short hashes of what each of the scopes opens now, in their order,
// to be kept with a consent. It is "" while the server has not been read: such a consent
// is to whatever the scopes turn out to be.
func (c *Catalogue) Fingerprints(scopes []string) string {
	if c.Unavailable {
		return ""
	}
	var b strings.Builder
	for _, name := range scopes {
		b.WriteString(c.hashScope(name)[:fingerprintBytes])
	}
	return b.String()
}

// Digest returns a short hash of fingerprints, where there is no room for them; "" for
// "".
func Digest(fingerprints string) string {
	if fingerprints == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(fingerprints))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// Recall returns the fingerprints of scopes that digest was made of, if the scopes still
// have these. Otherwise it returns fingerprints that count as changed for every scope,
// because it cannot tell which one changed.
func (c *Catalogue) Recall(scopes []string, digest string) string {
	switch now := c.Fingerprints(scopes); {
	case digest == "":
		return ""
	case Digest(now) == digest:
		return now
	}
	return strings.Repeat("-", fingerprintBytes*len(scopes))
}

// Changed returns those of the scopes that open other tools than when fingerprints was
// made of the same scopes. It returns none if the server has not been read, now or then.
func (c *Catalogue) Changed(scopes []string, fingerprints string) []string {
	if c.Unavailable || len(fingerprints) != fingerprintBytes*len(scopes) {
		return nil
	}
	var changed []string
	for i, name := range scopes {
		if c.hashScope(name)[:fingerprintBytes] != fingerprints[i*fingerprintBytes:(i+1)*fingerprintBytes] {
			changed = append(changed, name)
		}
	}
	return changed
}

// hashPart writes a kind, a length and a value, so that two different catalogues never
// write the same bytes.
func hashPart(h hash.Hash, kind byte, value string) {
	b := append([]byte{kind}, binary.BigEndian.AppendUint32(nil, uint32(len(value)))...)
	h.Write(append(b, value...))
}
