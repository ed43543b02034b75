package catalog

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

var discard = log.New(io.Discard, "", 0)

// collect reads one page: scopes is the JSON of _meta.scopes.
func collect(t *testing.T, scopes string, tools ...string) (*Catalogue, error) {
	t.Helper()
	c := newCollector()
	for _, name := range tools {
		if err := c.addTools([]*mcp.Tool{{Name: name}}); err != nil {
			return nil, err
		}
	}
	var v any
	if err := json.Unmarshal([]byte(scopes), &v); err != nil {
		t.Fatal(err)
	}
	c.addScopes(v)
	return c.catalogue()
}

func TestScopes(t *testing.T) {
	long := strings.Repeat("s", maxScopeName)
	for _, tc := range []struct {
		name, json, want string
		dropped          int
	}{
		{"plain", `[{"name":"r","description":"Read","tools":["a"]}]`, `[{r Read [a]}]`, 0},
		{"description and tools may be absent", `[{"name":"r"}]`, `[{r  []}]`, 0},
		{"null fields", `[{"name":"r","description":null,"tools":null}]`, `[{r  []}]`, 0},
		{"unknown tools", `[{"name":"r","tools":["a","ghost","",7]}]`, `[{r  [a]}]`, 0},
		{"same tool twice", `[{"name":"r","tools":["b","a","a"]}]`, `[{r  [a b]}]`, 0},
		{"duplicate", `[{"name":"r","description":"1","tools":["b"]},{"name":"r","description":"2","tools":["a"]}]`, `[{r 1 [a b]}]`, 0},
		{"duplicate with bad shape", `[{"name":"r"},{"name":"r","tools":"a"}]`, `[{r  []}]`, 1},
		{"not objects", `[{"name":"r"},7,"x",null,[]]`, `[{r  []}]`, 4},
		{"reserved", `[{"name":"r"},{"name":"offline_access"},{"name":"openid"}]`, `[{r  []}]`, 2},
		{"not scope-tokens", `[{"name":"r"},{"name":"a b"},{"name":"\""},{"name":"a\\"},{"name":"ä"},{"name":""},{"name":"a\n"},{},{"name":7}]`, `[{r  []}]`, 8},
		{"longest name", `[{"name":"` + long + `"},{"name":"` + long + `s"}]`, `[{` + long + `  []}]`, 1},
		{"empty array is no declaration", `[]`, `[{mcp Use this server's tools [a b]}]`, 0},
		{"null is no declaration", `null`, `[{mcp Use this server's tools [a b]}]`, 0},
		{"case counts", `[{"name":"R"},{"name":"r"}]`, `[{R  []} {r  []}]`, 0},
	} {
		t.Run("UP-09 "+tc.name, func(t *testing.T) {
			c, err := collect(t, tc.json, "b", "a")
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(c.Scopes); got != tc.want || c.Dropped != tc.dropped {
				t.Errorf("got %s, dropped %d; want %v, %v", got, c.Dropped, tc.want, tc.dropped)
			}
		})
	}
	for _, bad := range []string{`"notes"`, `{"name":"r"}`, `[{}]`, `7`} {
		t.Run("UP-09 only bad entries: "+bad, func(t *testing.T) {
			if c, err := collect(t, bad, "a"); err == nil {
				t.Errorf("accepted: %+v", c.Scopes)
			}
		})
	}
	t.Run("ATK-61 a thousand scopes", func(t *testing.T) {
		var entries []string
		for i := range 1000 {
			entries = append(entries, fmt.Sprintf(`{"name":"s%d","tools":["a"]}`, i))
		}
		c, err := collect(t, "["+strings.Join(entries, ",")+"]", "a")
		if err != nil || len(c.Scopes) != maxScopes || c.Dropped != 1000-maxScopes || c.Scopes[0].Name != "s0" {
			t.Errorf("%v, %d scopes, %d dropped", err, len(c.Scopes), c.Dropped)
		}
	})
	t.Run("ATK-61 tool names that cannot be shown", func(t *testing.T) {
		c, err := collect(t, `[{"name":"r","tools":["a\u202eb"]}]`, "ok", "", "a\u202eb", "a\nb", "a\u200bb", "\xff", strings.Repeat("x", maxToolName+1))
		if err != nil || len(c.Tools) != 1 || len(c.Scopes[0].Tools) != 0 {
			t.Errorf("%v %+v", err, c)
		}
	})
}

func TestPlainText(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"as it is", "Lies <b>Notizen</b> & mehr – 日本 é 🎉", "Lies <b>Notizen</b> & mehr – 日本 é 🎉"},
		{"blanks", "  a\r\n\tb\u2028c\u00a0\u3000d\u0085 ", "a b c d"},
		{"controls", "a\x00b\x1b[31mc\x7f", "ab[31mc"},
		{"directions", "a\u202eb\u2066c\u2069\u200f\u061cd", "abcd"},
		{"zero width", "a\u200bb\u200dc\ufeffd\u2060e\u00adf\u3164g\ufe0fh", "abcdefgh"},
		{"tags", "a\U000E0041\U000E0001b", "ab"},
		{"private and broken", "a\ue000b\xffc\ufffdd\ufffee", "abcde"},
		{"just short enough", strings.Repeat("é", 10), strings.Repeat("é", 10)},
		{"too long", strings.Repeat("é", 11), strings.Repeat("é", 9) + "…"},
		{"no blank before the cut", "12345678 0123", "12345678…"},
	} {
		t.Run("ATK-61 "+tc.name, func(t *testing.T) {
			limit := 100
			if utf8.RuneCountInString(tc.in) < 14 && !strings.ContainsFunc(tc.in, hidden) {
				limit = 10
			}
			if got := plainText(tc.in, limit); got != tc.want {
				t.Errorf("got %q, want %v", got, tc.want)
			}
		})
	}
}

func TestHash(t *testing.T) {
	hash := func(c Scope, more ...Scope) string {
		return (&Catalogue{Declared: true, Scopes: append([]Scope{c}, more...)}).Hash()
	}
	base := hash(Scope{"r", "x", []string{"a", "b"}}, Scope{"w", "y", []string{"c"}})
	for name, same := range map[string]string{
		"order":       hash(Scope{"w", "y", []string{"c"}}, Scope{"r", "x", []string{"b", "a"}}),
		"description": hash(Scope{"r", "other", []string{"a", "b"}}, Scope{"w", "", []string{"c"}}),
	} {
		if same != base {
			t.Errorf("AS-CONS-17 hash depends on %s", name)
		}
	}
	for name, other := range map[string]string{
		"tool gained":    hash(Scope{"r", "x", []string{"a", "b", "z"}}, Scope{"w", "y", []string{"c"}}),
		"tool lost":      hash(Scope{"r", "x", []string{"a"}}, Scope{"w", "y", []string{"c"}}),
		"tool moved":     hash(Scope{"r", "x", []string{"a"}}, Scope{"w", "y", []string{"b", "c"}}),
		"scope lost":     hash(Scope{"r", "x", []string{"a", "b"}}),
		"scope renamed":  hash(Scope{"r", "x", []string{"a", "b"}}, Scope{"v", "y", []string{"c"}}),
		"scope or tool":  hash(Scope{"r", "x", []string{"a", "b", "w", "c"}}),
		"names run over": hash(Scope{"r", "x", []string{"ab"}}, Scope{"w", "y", []string{"c"}}),
		"baseline":       Baseline().Hash(),
	} {
		if other == base {
			t.Errorf("AS-CONS-17 hash does not see: %s", name)
		}
	}
	t.Run("AS-CONS-17 only the scopes consented to", func(t *testing.T) {
		before := &Catalogue{Declared: true, Scopes: []Scope{{Name: "r", Tools: []string{"a"}}, {Name: "w", Tools: []string{"b"}}}}
		after := &Catalogue{Declared: true, Scopes: []Scope{{Name: "r", Tools: []string{"a"}}, {Name: "w", Tools: []string{"b", "c"}}}}
		if before.hashScope("r") != after.hashScope("r") || before.hashScope("w") == after.hashScope("w") {
			t.Error("wrong scopes counted")
		}
	})
	t.Run("a server without scopes hashes as its baseline", func(t *testing.T) {
		c, _ := collect(t, "null", "a")
		if c.Hash() != Baseline().Hash() {
			t.Error("differs")
		}
	})
	t.Run("stable between releases", func(t *testing.T) {
		if base != "AvaUP3KsELwCN0UqpzwUQnTjuKxuAfcgVYFM5V8-JaM sQdQYn9hL4iz8ck6xcSqj1_I98C9tf8qwp_9FE17N-E" {
			t.Errorf("the hash changed to %q: every consent would be asked again", base)
		}
	})
}

func TestScopesForTool(t *testing.T) {
	c, _ := collect(t, `[{"name":"r","tools":["a","b"]},{"name":"all","tools":["a","b","c"]}]`, "a", "b", "c", "d")
	for name, want := range map[string]string{"a": "[r all]", "c": "[all]", "d": "[]", "ghost": "[]", "": "[]"} {
		if got := fmt.Sprint(c.ScopesForTool(name)); got != want {
			t.Errorf("%q: %s", name, got)
		}
	}
	t.Run("AS-CONS-16 baseline is one scope, and it opens nothing", func(t *testing.T) {
		b := Baseline()
		if got := b.ScopesForTool("any"); len(got) > 0 || b.Knows("any") || !slices.Equal(b.ScopeNames(), []string{DefaultScope}) || !b.Unavailable || b.Declared {
			t.Errorf("%v %+v", got, b.Scopes)
		}
	})
}

// FuzzScopes: whatever a server puts into _meta.scopes, what is accepted is
// small, well-formed and shows nothing that is not there.
func FuzzScopes(f *testing.F) {
	f.Add(`[{"name":"r","description":"Read","tools":["a","b"]}]`, "a", "Title")
	f.Add(`[{"name":"r","description":"\u202e\u0000x","tools":["a","a",1,null]},{"name":"r","tools":["b"]}]`, "b", "\u200b")
	f.Add(`[{"name":"offline_access"},{"name":"a b"},{"name":"x\ny"},[],"x",{"name":{}}]`, "", "")
	f.Add(`{"name":"r"}`, "\xff", "x")
	f.Add(`null`, "a", "x")
	f.Fuzz(func(t *testing.T, scopes, toolName, text string) {
		var v any
		if json.Unmarshal([]byte(scopes), &v) != nil {
			t.Skip("no JSON")
		}
		col := newCollector()
		if err := col.addTools([]*mcp.Tool{{Name: "a"}, {Name: toolName, Title: text, Description: text}, {Name: "b"}}); err != nil {
			t.Fatal(err)
		}
		col.addScopes(v)
		col.addScopes(v)
		c, err := col.catalogue()
		if err != nil {
			return
		}
		if len(c.Scopes) == 0 || len(c.Scopes) > maxScopes {
			t.Fatalf("%d scopes", len(c.Scopes))
		}
		seen := map[string]bool{}
		for _, s := range c.Scopes {
			if seen[s.Name] || len(s.Name) == 0 || len(s.Name) > maxScopeName || s.Name == "openid" || s.Name == "offline_access" {
				t.Errorf("scope %q", s.Name)
			}
			seen[s.Name] = true
			for _, b := range []byte(s.Name) {
				// RFC 6749, section 3.3: %x21 / %x23-5B / %x5D-7E
				if !(b == 0x21 || b >= 0x23 && b <= 0x5b || b >= 0x5d && b <= 0x7e) {
					t.Errorf("scope %q is no scope-token", s.Name)
				}
			}
			checkText(t, s.Description, maxDescription)
			if !slices.IsSorted(s.Tools) || len(slices.Compact(slices.Clone(s.Tools))) != len(s.Tools) {
				t.Errorf("tools %q", s.Tools)
			}
			for _, name := range s.Tools {
				if _, ok := c.Tool(name); !ok {
					t.Errorf("scope %q has tool %q, which does not exist", s.Name, name)
				}
				if !slices.Contains(c.ScopesForTool(name), s.Name) {
					t.Errorf("tool %q does not know of scope %q", name, s.Name)
				}
			}
		}
		for _, tool := range c.Tools {
			if tool.Name == "" || len(tool.Name) > maxToolName || !utf8.ValidString(tool.Name) {
				t.Errorf("tool %q", tool.Name)
			}
			checkText(t, tool.Title, maxTitle)
			checkText(t, tool.Description, maxDescription)
		}
		if first := c.Hash(); c.Hash() != first {
			t.Error("hash is not stable")
		}
	})
}

func checkText(t *testing.T, s string, limit int) {
	t.Helper()
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > limit || strings.TrimSpace(s) != s {
		t.Errorf("text %q", s)
	}
	for _, r := range s {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || unicode.Is(unicode.Cf, r) {
			t.Errorf("text %q holds %U", s, r)
		}
	}
}

func TestAdvertised(t *testing.T) {
	if got := Baseline().Advertised(); len(got) != 0 {
		t.Errorf("while the server is down clients are told of %q", got)
	}
	c := &Catalogue{Scopes: []Scope{{Name: "read"}}}
	if got := c.Advertised(); len(got) != 1 || got[0] != "read" {
		t.Errorf("advertised %q", got)
	}
}

func TestChanged(t *testing.T) {
	made := func(tools ...string) *Catalogue {
		return &Catalogue{Declared: true, Scopes: []Scope{{Name: "read", Tools: []string{"list"}}, {Name: "write", Tools: tools}}}
	}
	scopes := []string{"read", "write"}
	before := made("create")
	seen := before.Fingerprints(scopes)
	tests := []struct {
		name         string
		now          *Catalogue
		fingerprints string
		want         []string
	}{
		{"nothing changed", made("create"), seen, nil},
		{"AS-CONS-17 a scope gained a tool", made("create", "delete"), seen, []string{"write"}},
		{"AS-CONS-17 a scope is gone", &Catalogue{Declared: true, Scopes: before.Scopes[:1]}, seen, []string{"write"}},
		{"the server is down now", Baseline(), seen, nil},
		{"the server was down then", made("create"), Baseline().Fingerprints(scopes), nil},
		{"of other scopes", made("delete"), seen[:5], nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.now.Changed(scopes, tt.fingerprints); !slices.Equal(got, tt.want) {
				t.Errorf("changed %q, want %q", got, tt.want)
			}
		})
	}
}

func TestRecall(t *testing.T) {
	one := &Catalogue{Declared: true, Scopes: []Scope{{Name: "a", Tools: []string{"x"}}, {Name: "b", Tools: []string{"y"}}}}
	other := &Catalogue{Declared: true, Scopes: []Scope{{Name: "a", Tools: []string{"x"}}, {Name: "b", Tools: []string{"y", "z"}}}}
	scopes := []string{"a", "b"}
	digest := Digest(one.Fingerprints(scopes))
	if got := one.Recall(scopes, digest); got != one.Fingerprints(scopes) {
		t.Errorf("unchanged: %q", got)
	}
	for name, c := range map[string]*Catalogue{"changed": other, "not known now": Baseline()} {
		if got := one.Changed(scopes, c.Recall(scopes, digest)); len(got) != 2 {
			t.Errorf("%s: %q count as changed", name, got)
		}
	}
	if got := one.Recall(scopes, Digest(Baseline().Fingerprints(scopes))); got != "" {
		t.Errorf("not known then: %q, want %q", got, "")
	}
}
