package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
)

// What one catalogue may hold; lengths are in bytes, those of titles and descriptions in
// runes. A list with more than maxTools is refused and not cut, because that would
// silently close tools. Scopes beyond maxScopes are dropped: their tools are closed, and
// Dropped says so.
const (
	maxScopes      = 256
	maxTools       = 2000
	maxScopeName   = 128
	maxToolName    = 256
	maxTitle       = 100
	maxDescription = 300
)

var (
	errTooManyTools   = fmt.Errorf("the server lists more than %d tools", maxTools)
	errNoUsableScopes = errors.New("the server declares _meta.scopes, but no entry of it is acceptable")
)

// collector gathers the pages of one tools/list.
type collector struct {
	tools  []Tool
	known  map[string]bool // the names of tools
	scopes []Scope
	index  map[string]int // scope name → place in scopes
	// offered says that some page had something in _meta.scopes, acceptable or not.
	offered bool
	dropped int
}

func newCollector() *collector {
	return &collector{known: map[string]bool{}, index: map[string]int{}}
}

// addTools adds one page of tools. If two tools have the same name, the first counts: a
// later page cannot replace a tool of an earlier one.
func (c *collector) addTools(tools []*mcp.Tool) error {
	for _, t := range tools {
		if t == nil || !acceptableToolName(t.Name) || c.known[t.Name] {
			continue
		}
		if len(c.tools) == maxTools {
			return errTooManyTools
		}
		c.known[t.Name] = true
		c.tools = append(c.tools, readTool(t))
	}
	return nil
}

func readTool(t *mcp.Tool) Tool {
	a := t.Annotations
	if a == nil {
		a = &mcp.ToolAnnotations{}
	}
	title := t.Title
	if title == "" {
		title = a.Title
	}
	return Tool{
		Name:        t.Name,
		Title:       plainText(title, maxTitle),
		Description: plainText(t.Description, maxDescription),
		ReadOnly:    a.ReadOnlyHint,
		// MCP's default for a tool that says nothing is destructive. Most say
		// nothing, and a page on which everything is marked marks nothing.
		Destructive: !a.ReadOnlyHint && a.DestructiveHint != nil && *a.DestructiveHint,
		print:       printOf(t),
	}
}

// acceptableToolName accepts names that can be shown as they are. Names are never
// rewritten, because they are compared with the Mcp-Name header.
func acceptableToolName(name string) bool {
	return name != "" && len(name) <= maxToolName && utf8.ValidString(name) &&
		strings.IndexFunc(name, func(r rune) bool { return hidden(r) || unicode.IsSpace(r) && r != ' ' }) < 0
}

// addScopes adds _meta.scopes of one page: an array of {name, description, tools}.
// Entries that are not acceptable are dropped. A scope on several pages gets the tools of
// all of them, and the first description.
func (c *collector) addScopes(value any) {
	if value == nil {
		return
	}
	entries, ok := value.([]any)
	if !ok {
		c.offered = true
		c.dropped++
		return
	}
	for _, entry := range entries {
		c.offered = true
		s, ok := readScope(entry)
		if !ok {
			c.dropped++
			continue
		}
		if i, ok := c.index[s.Name]; ok {
			c.scopes[i].Tools = append(c.scopes[i].Tools, s.Tools...)
			continue
		}
		if len(c.scopes) == maxScopes {
			c.dropped++
			continue
		}
		c.index[s.Name] = len(c.scopes)
		c.scopes = append(c.scopes, s)
	}
}

func readScope(entry any) (Scope, bool) {
	m, ok := entry.(map[string]any)
	if !ok {
		return Scope{}, false
	}
	name, _ := m["name"].(string)
	if len(name) > maxScopeName || !oauth.ValidScopeToken(name) || reserved(name) {
		return Scope{}, false
	}
	description, ok := m["description"].(string)
	if !ok && m["description"] != nil {
		return Scope{}, false
	}
	tools, ok := m["tools"].([]any)
	if !ok && m["tools"] != nil {
		return Scope{}, false
	}
	s := Scope{Name: name, Description: plainText(description, maxDescription)}
	for _, t := range tools {
		if t, ok := t.(string); ok {
			s.Tools = append(s.Tools, t)
		}
	}
	return s, true
}

// reserved reports whether the name has a meaning at the authorization server, which an
// MCP server must not change.
func reserved(name string) bool { return name == oauth.OfflineAccess || name == "openid" }

// catalogue returns the result. It takes tools that are not listed out of the scopes;
// before the last page that could not be done, because a scope may name a tool of a later
// page.
//
// If the server declares scopes and none is acceptable, that is an error. To treat it as
// a server without scopes would let DefaultScope open more than the server meant.
func (c *collector) catalogue() (*Catalogue, error) {
	out := &Catalogue{Tools: c.tools, Dropped: c.dropped}
	if !c.offered {
		out.Scopes = []Scope{defaultScope(c.tools)}
		return out, nil
	}
	if len(c.scopes) == 0 {
		return nil, errNoUsableScopes
	}
	for i := range c.scopes {
		tools := slices.DeleteFunc(c.scopes[i].Tools, func(name string) bool { return !c.known[name] })
		slices.Sort(tools)
		c.scopes[i].Tools = slices.Clip(slices.Compact(tools))
	}
	out.Scopes, out.Declared = c.scopes, true
	out.index.Do(out.buildIndex) // here, not in the first forward-auth decision
	return out, nil
}

// plainText makes one line of plain text of what a server wrote, at most limit runes
// long. Control characters, invisible characters and those that change the direction of
// text are removed, because people decide by the page that shows the text. Runs of blanks
// become one space.
func plainText(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case hidden(r), r == utf8.RuneError: // invalid UTF-8 reads as RuneError
			return -1
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	return strings.TrimSpace(string([]rune(s)[:limit-1])) + "…"
}

// hidden reports whether r is a control character, or one that a reader cannot see but
// that may change what they see: direction marks and overrides, zero-width characters,
// tags, fillers, variation selectors, private use, non-characters.
func hidden(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs,
		unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, unicode.Noncharacter_Code_Point)
}
