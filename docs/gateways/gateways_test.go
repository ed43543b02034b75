package gateways

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Who copies the parts and who copies the whole must get the same.
func TestBlocksArePartsOfTheWhole(t *testing.T) {
	tested := 0
	for _, name := range Names() {
		wholes := Blocks(name, Whole)
		if len(wholes) == 0 {
			continue
		}
		tested++
		text, _ := Page(name)
		before, _, _ := strings.Cut(text, "\n## "+Whole+"\n")
		whole := lines(wholes[0].Text)
		for _, m := range fence.FindAllStringSubmatch(before, -1) {
			// Envoy's other transport, and Traefik's other source of configuration,
			// are in place of a part of the whole; the body is an addition to it.
			if m[1] != wholes[0].Language || strings.Contains(m[2], "auth-grpc") || strings.Contains(m[2], "nginx.ingress") || slices.Contains(append(Blocks(name, "The body"), slices.Concat(Blocks(name, "The body, read by Envoy"), Blocks(name, "Lists"))...), Block{m[1], m[2]}) {
				continue
			}
			at := 0
			for _, line := range lines(m[2]) {
				i := slices.Index(whole[at:], line)
				if i < 0 {
					t.Errorf("%s: the whole configuration lacks, or has in another order, %q", name, line)
					break
				}
				at += i + 1
			}
		}
	}
	if tested < 4 {
		t.Errorf("%d pages have a whole configuration", tested)
	}
}

var comment = regexp.MustCompile(`(^|\s+)#\s.*$`)

// lines are the lines of a block that mean something.
func lines(block string) []string {
	var out []string
	for line := range strings.Lines(block) {
		if line = strings.TrimSpace(comment.ReplaceAllString(strings.TrimSpace(line), "")); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// What a client needs before it has a token, on every page.
func TestPublicPaths(t *testing.T) {
	for _, name := range Names() {
		section := Section(name, "Public paths")
		for _, path := range []string{
			"oauth-protected-resource", "oauth-authorization-server", "openid-configuration",
			"openid/v1/jwks", "register", "authorize", "consent", "login", "callback", "token", "revoke",
		} {
			if !strings.Contains(section, path) {
				t.Errorf("%s: %q is not among the public paths", name, path)
			}
		}
	}
}

func TestPage(t *testing.T) {
	if _, ok := Page("../gateways/nginx"); ok {
		t.Error("a page outside the folder")
	}
	if _, ok := Page(index); ok {
		t.Error("the index is no recipe")
	}
}

var row = regexp.MustCompile(`(?m)^\| \[[^\]]+\]\(([a-z0-9-]+)\.md\).*$`)

// The table names each page once. A page of a gateway that no test runs says so
// in its first line, and no other does.
func TestNotRun(t *testing.T) {
	text, err := pages.ReadFile(index + ".md")
	if err != nil {
		t.Fatal(err)
	}
	notRun := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		if _, twice := notRun[m[1]]; twice {
			t.Errorf("%s is in the table twice", m[1])
		}
		notRun[m[1]] = strings.Contains(m[0], "**not run**")
	}
	for _, name := range Names() {
		said, ok := notRun[name]
		if !ok {
			t.Errorf("%s is not in the table", name)
		}
		page, _ := Page(name)
		_, rest, _ := strings.Cut(page, "\n\n")
		if first, _, _ := strings.Cut(rest, "\n"); strings.HasPrefix(first, "**Not run:**") != said {
			t.Errorf("%s: the table says not run: %v, and the page begins with %q", name, said, first)
		}
	}
}
