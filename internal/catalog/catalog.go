// Package catalog knows what scopes and tools a protected MCP server
// advertises: it asks the server's tools/list (Fetcher), checks and bounds the
// answer, and keeps the last good one (Cache).
//
// Its invariant: whatever a server answers, or fails to answer, a Catalogue is
// small, its scope names are scope-tokens of RFC 6749, section 3.3, its text is
// one plain line without control or direction-changing characters, and no text in it
// ever gives a privilege. A dead server yields a baseline, never an error on
// the way of a sign-in and never more than the baseline.
//
// The point of view is that of a caller without a credential: the service
// sends none, neither its own nor a client's. A server that varies its list by
// caller therefore shows its public list here.
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

// DefaultScope is the one scope of a server that declares none, where it stands
// for every tool. It is also what is offered while a server has not been read;
// it opens nothing until then, because the server may turn out to declare scopes.
const DefaultScope = "mcp"

const defaultScopeDescription = "Use this server's tools"

// Catalogue is what one MCP server advertises. It is not changed once made,
// may be shared, and must not be copied.
type Catalogue struct {
	Scopes []Scope // in the order the server first named them
	Tools  []Tool  // in the order of the server's list

	// FetchedAt is when the answer was complete; zero for a baseline.
	FetchedAt time.Time
	// Declared says that the server itself declared Scopes in _meta.scopes.
	// Otherwise Scopes is the one DefaultScope, covering every tool.
	Declared bool
	// Unavailable says that this is the baseline: the server could not be asked.
	Unavailable bool
	// Dropped counts the _meta.scopes entries that were not acceptable.
	Dropped int
	// TTL is how long the server says its answer stays fresh; zero if it does
	// not say.
	TTL time.Duration

	index  sync.Once
	byTool map[string][]string
	// otherwise opens the tools of a server that declares no scopes.
	otherwise []string
	// operator holds the operator's scopes; they come before the server's word.
	operator []rule.Scope
	// places of the tools in Tools, by name.
	places map[string]int
	// salt is for what people agree to; see Agree.
	salt [SecretBytes]byte
}

// Scope is one permission a user can grant, and the tools it opens.
type Scope struct {
	Name        string // a scope-token of RFC 6749, at most 128 bytes
	Description string // untrusted plain text, one line, at most 300 runes; may be empty
	Tools       []string
}

// IsDefault reports whether the scope is the one of a server that declares none,
// described by this service only.
func (s Scope) IsDefault() bool {
	return s.Name == DefaultScope && s.Description == defaultScopeDescription
}

// Tool is one tool of the server. ReadOnly and Destructive are what the server
// says of itself (MCP calls them hints): for display, never for a decision.
type Tool struct {
	Name        string
	Title       string // untrusted plain text, one line; empty if the server gives none
	Description string // untrusted plain text, one line, at most 300 runes; may be empty
	ReadOnly    bool
	Destructive bool // only if the server says so itself

	print [printBytes]byte // of all that the server says of it
}

// Baseline is what is offered while nothing is known about a server.
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

// ScopesForTool returns the scopes any one of which opens the tool. An empty
// answer means that no scope does: the server declares scopes and left this
// tool out, or the server has not been read (Unavailable). When a server that
// was read declares none, every name, listed or not, is opened by DefaultScope.
// What the operator names is opened by the operator's scopes alone, also while
// the server cannot be read. The result must not be changed.
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

// place is where the tool stands in Tools, if it does.
func (c *Catalogue) place(tool string) (int, bool) {
	c.index.Do(c.buildIndex)
	i, ok := c.places[tool]
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

// Advertised returns the scopes that clients may be told to ask for: none while
// the server cannot be asked, because a client told of the stand-in would go on
// asking for it when the server is back.
func (c *Catalogue) Advertised() []string {
	if c.Unavailable {
		return nil
	}
	return c.ScopeNames()
}

// Scope returns the scope of that name.
func (c *Catalogue) Scope(name string) (Scope, bool) {
	i := slices.IndexFunc(c.Scopes, func(s Scope) bool { return s.Name == name })
	if i < 0 {
		return Scope{}, false
	}
	return c.Scopes[i], true
}

// hashScope identifies which tools a scope opens, for binding a consent to it: a
// scope that gains a tool asks again. Order, descriptions and titles do not count. A
// name the catalogue lacks counts as a scope without tools.
//
// The DefaultScope of a server that declares none means "every tool" whatever
// the list says today, so its tools do not count, and the baseline of a dead
// server hashes as that server does.
func (c *Catalogue) hashScope(name string) string {
	h := sha256.New()
	hashPart(h, 's', name)
	patterns := c.operatorPatterns(name)
	switch {
	case len(patterns) > 0:
		// The operator's own words: a tool that comes to match was meant.
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

// fingerprintBytes of a scope's hash are enough to keep a server from finding another set of
// tools with the same: 60 bits, and each try is a change that people would see.
const fingerprintBytes = 10

// Fingerprints is a hash of what each of the scopes opens now, in their order, to
// be kept with a consent. It is empty while the server cannot be asked: a
// consent given then is to whatever the scopes turn out to be.
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

// Digest is a short hash of fingerprints, for where there is no room for them; "" for none.
func Digest(fingerprints string) string {
	if fingerprints == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(fingerprints))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// Recall returns the fingerprints of scopes that digest was made of, if they are
// those of today. If not, it returns some that count as changed for every scope,
// because which of them changed is not known any more.
func (c *Catalogue) Recall(scopes []string, digest string) string {
	switch now := c.Fingerprints(scopes); {
	case digest == "":
		return ""
	case Digest(now) == digest:
		return now
	}
	return strings.Repeat("-", fingerprintBytes*len(scopes))
}

// Changed returns those of the scopes that do not open what they opened when
// fingerprints was made of the same scopes. While the server cannot be asked,
// now or then, nothing is known to have changed.
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

// hashPart writes a kind, a length and a value, so that no two catalogues
// write the same bytes.
func hashPart(h hash.Hash, kind byte, value string) {
	b := append([]byte{kind}, binary.BigEndian.AppendUint32(nil, uint32(len(value)))...)
	h.Write(append(b, value...))
}
