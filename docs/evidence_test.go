package docs

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/docs/gateways"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// evidenceWords name what a decision rests on, beside the token.
var evidenceWords = map[rule.Evidence]string{
	rule.Token: "the token alone", rule.Headers: "headers", rule.Message: "each message, asked about", rule.Reading: "Envoy's reading of the body", rule.Body: "the body",
}

// basis is one way to set up a gateway, and what a decision rests on there.
type basis struct {
	page, setting string // setting is a key of the host's entry, "" for none
	recent, older rule.Evidence
	served        bool
}

// settingsOfPages are the keys of a host's entry by which a gateway shows more than
// headers. A gateway that can has the key on its page.
var settingsOfPages = []string{"body: true", "envoyMCP: true", "extMCP: true"}

// bases asks the configuration about each gateway and each setting of its page.
func bases(t *testing.T) []basis {
	t.Helper()
	var out []basis
	add := func(page, setting, entry string) {
		c, err := config.Parse([]byte(`{listen: {grpc: ":9001"}, provider: {name: oidc, issuerURL: "https://idp.example.com", clientID: a, clientSecret: b}, proxy: {hosts: [{host: mcp.example.com, endpoint: "http://mcp:3000/mcp"`+entry+`}]}}`), nil)
		if err != nil {
			t.Fatalf("%s, %s: %v", page, setting, err)
		}
		h := c.Hosts[0]
		out = append(out, basis{page, setting, h.Rules.Evidence(true), h.Rules.Evidence(false), h.Serving != nil})
	}
	for _, page := range gateways.Names() {
		text, _ := gateways.Page(page)
		add(page, "", "")
		for _, setting := range settingsOfPages {
			if strings.Contains(text, "`"+setting+"`") {
				add(page, setting, ", "+setting)
			}
		}
	}
	add("", "serve: {enabled: true}", ", serve: {enabled: true}")
	return out
}

// lists says what a client sees of a list there.
func (b basis) lists() string {
	switch {
	case b.served, b.recent == rule.Message:
		return "filtered"
	case b.recent == rule.Reading:
		return "filtered, with the filter of its page"
	case b.page == "kuadrant":
		return "filtered by the gateway itself"
	}
	return "whole"
}

func (b basis) recently() string {
	if b.recent == rule.Message { // the request's own headers are looked at before
		return evidenceWords[rule.Headers] + ", then " + evidenceWords[rule.Message]
	}
	return evidenceWords[b.recent]
}

// evidenceTable has one row for all gateways of which the same is true.
func evidenceTable(t *testing.T) string {
	t.Helper()
	var order []string
	rows := map[string][]string{}
	for _, b := range bases(t) {
		setting := ""
		if b.setting != "" {
			setting = "`" + b.setting + "`"
		}
		row := fmt.Sprintf("| %s | %s | %s | %s |", setting, b.recently(), evidenceWords[b.older], b.lists())
		if rows[row] == nil {
			order = append(order, row)
		}
		rows[row] = append(rows[row], linked(t, b.page))
	}
	slices.SortStableFunc(order, func(a, b string) int { return strings.Index(a, "`") - strings.Index(b, "`") })
	var text strings.Builder
	text.WriteString("| Gateway | With | 2026-07-28 and later | Older, or no `MCP-Protocol-Version` | Lists |\n|---|---|---|---|---|\n")
	for _, row := range order {
		text.WriteString("| " + strings.Join(rows[row], ", ") + " " + row + "\n")
	}
	return text.String()
}

// linked is a page's title with a link.
func linked(t *testing.T, page string) string {
	t.Helper()
	if page == "" {
		return "none: a [served host](served-hosts.md)"
	}
	text, _ := gateways.Page(page)
	title, _, _ := strings.Cut(strings.TrimPrefix(text, "# "), "\n")
	return "[" + title + "](gateways/" + page + ".md)"
}

var evidenceBlock = regexp.MustCompile(`(?s)(<!-- What decisions rest on, by go test ./docs -run Evidence -update -->\n\n).*?(\n<!-- end -->\n)`)

// The table of tool-policy.md is what the configuration makes of each gateway.
func TestEvidence(t *testing.T) {
	const file = "tool-policy.md"
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m := evidenceBlock.FindSubmatchIndex(raw)
	if m == nil {
		t.Fatalf("%s has no place for the table", file)
	}
	want := string(raw[:m[3]]) + evidenceTable(t) + string(raw[m[4]:])
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(raw) {
		t.Errorf("%s does not have the table\n%s\nrun go test ./docs -run Evidence -update", file, evidenceTable(t))
	}
}

// What real gateways did is what the table says: a client of an older revision is
// held to its scopes exactly where more than the token is seen, lists are filtered
// exactly where it says so, and headers that lie count only where no body is seen.
func TestEvidenceOfTheMatrix(t *testing.T) {
	cells := matrix(t)
	said := map[string]basis{}
	for _, b := range bases(t) {
		said[b.page+" "+b.setting] = b
	}
	held := func(e rule.Evidence) string {
		if e == rule.Token {
			return "passes"
		}
		return "403 with a challenge: insufficient_scope"
	}
	served := said[" serve: {enabled: true}"]
	for column, at := range map[string]struct{ plain, seen basis }{
		"nginx": {plain: said["nginx "]}, "Caddy": {plain: said["caddy "]}, "HAProxy": {plain: said["haproxy "]},
		"Traefik": {said["traefik "], said["traefik body: true"]}, "Envoy HTTP": {said["envoy "], said["envoy body: true"]},
		"Envoy gRPC": {said["envoy "], said["envoy envoyMCP: true"]}, "none: [served](../served-hosts.md)": {served, served},
	} {
		row := cells[column]
		if row == nil {
			t.Errorf("the matrix has no column %q", column)
			continue
		}
		check := func(name, want string) {
			if row[name] != want {
				t.Errorf("%s: %s: the gateway did %q, and the table means %q", column, name, row[name], want)
			}
		}
		check("an older client: a tool that is not granted", held(at.plain.older))
		check("the same with headers that lie", held(at.plain.older))
		shown := func(b basis) string {
			if b.lists() == "whole" {
				return "whole"
			}
			return "what the token opens"
		}
		check("a list of tools", shown(at.plain))
		if at.seen.setting == "" {
			check("an older client, where the body is seen", "cannot be had")
			check("a list of tools, where the body is seen", "cannot be had")
			continue
		}
		check("an older client, where the body is seen", held(at.seen.older))
		check("a list of tools, where the body is seen", shown(at.seen))
	}
}

var note = regexp.MustCompile(` \(\d+\)$`)

// matrix reads docs/reference/gateways.md: by column and case, with what was to come
// for a tick.
func matrix(t *testing.T) map[string]map[string]string {
	t.Helper()
	raw, err := os.ReadFile("reference/gateways.md")
	if err != nil {
		t.Fatal(err)
	}
	var columns []string
	cells := map[string]map[string]string{}
	for line := range strings.Lines(string(raw)) {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		row := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		for i := range row {
			row[i] = strings.TrimSpace(row[i])
		}
		if columns == nil {
			columns = row
			continue
		}
		for i := 2; i < len(row) && len(row) == len(columns); i++ {
			if cells[columns[i]] == nil {
				cells[columns[i]] = map[string]string{}
			}
			got := note.ReplaceAllString(row[i], "")
			if got == "✓" {
				got = row[1]
			}
			cells[columns[i]][row[0]] = got
		}
	}
	return cells
}
