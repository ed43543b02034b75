package config

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
)

// compilePatterns compiles regular expressions, anchored at both ends. An entry that
// does not compile is nil in the result.
func compilePatterns(c *conf.Check, at string, patterns []string) []*regexp.Regexp {
	if len(patterns) == 0 {
		return nil
	}
	compiled := make([]*regexp.Regexp, len(patterns))
	for i, pattern := range patterns {
		re, problem := anchored(pattern)
		if problem == "" {
			problem = loose(pattern)
		}
		if problem != "" {
			c.Add(conf.Element(at, i), "%s", problem)
		}
		compiled[i] = re
	}
	return compiled
}

// anchored compiles pattern so that it matches whole strings only. It must
// compile alone too: `a)|(?:.*` would otherwise break out of the group.
func anchored(pattern string) (*regexp.Regexp, string) {
	switch {
	case pattern == "":
		return nil, "is empty, which matches nothing"
	case len(pattern) > conf.MaxPattern:
		return nil, "is longer than 1000 bytes; write several patterns"
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, notRegexp(pattern, err)
	}
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return nil, notRegexp(pattern, err)
	}
	return re, ""
}

func notRegexp(pattern string, err error) string {
	hint := ""
	if rest, glob := strings.CutPrefix(pattern, "*"); glob {
		hint = `; it looks like a pattern for file names, which ` + strconv.Quote(`.*`+regexp.QuoteMeta(rest)) + ` would be`
	}
	return conf.Show(pattern) + " is not a Go regular expression: " + strings.TrimPrefix(err.Error(), "error parsing regexp: ") + hint
}

// loose says why a pattern admits more than it looks like, or "": names that were
// written as if they were no regular expression.
func loose(pattern string) string {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	switch {
	case err != nil:
		return ""
	case anyCharacter(tree):
		return conf.Show(pattern) + ` has a dot that stands for any character; write "\\." for a dot, as in ` + strconv.Quote(escapeDots(pattern))
	case repeatedSlash(tree):
		return conf.Show(pattern) + ` has "/*", which stands for any number of slashes and nothing else; write "/.*" for everything below`
	}
	return ""
}

// anyCharacter reports whether a dot stands for exactly one character, which
// is never meant in a host or a URL.
func anyCharacter(tree *syntax.Regexp) bool {
	switch tree.Op {
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return true
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		if op := tree.Sub[0].Op; op == syntax.OpAnyChar || op == syntax.OpAnyCharNotNL {
			return false
		}
	}
	return slices.ContainsFunc(tree.Sub, anyCharacter)
}

func repeatedSlash(tree *syntax.Regexp) bool {
	if tree.Op == syntax.OpStar && tree.Sub[0].Op == syntax.OpLiteral && string(tree.Sub[0].Rune) == "/" {
		return true
	}
	return slices.ContainsFunc(tree.Sub, repeatedSlash)
}

// escapeDots puts a backslash before each dot that is not escaped, not repeated
// and not in brackets.
func escapeDots(pattern string) string {
	var b strings.Builder
	brackets := false
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\' && i+1 < len(pattern):
			b.WriteByte(c)
			i++
		case c == '[' || c == ']':
			brackets = c == '['
		case c == '.' && !brackets && (i+1 == len(pattern) || !strings.ContainsRune("*+?{", rune(pattern[i+1]))):
			b.WriteByte('\\')
		}
		b.WriteByte(pattern[i])
	}
	return b.String()
}

// suffixOnly returns the name that a domain pattern demands at the end, with
// anything directly before it, so that it admits longer names too; or "".
func suffixOnly(pattern string) string {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil || tree.Op != syntax.OpConcat || len(tree.Sub) < 2 {
		return ""
	}
	first, second := tree.Sub[0], tree.Sub[1]
	if first.Op != syntax.OpStar && first.Op != syntax.OpPlus || second.Op != syntax.OpLiteral || second.Rune[0] == '.' {
		return ""
	}
	if op := first.Sub[0].Op; op != syntax.OpAnyChar && op != syntax.OpAnyCharNotNL {
		return ""
	}
	return string(second.Rune)
}

// requiresLiteral reports whether pattern holds a literal character for which
// found is true. Characters that match in either case do not count.
func requiresLiteral(pattern string, found func(rune) bool) bool {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	return err == nil && treeHolds(tree, found)
}

func treeHolds(tree *syntax.Regexp, found func(rune) bool) bool {
	if tree.Op == syntax.OpLiteral && tree.Flags&syntax.FoldCase == 0 {
		for _, c := range tree.Rune {
			if found(c) {
				return true
			}
		}
	}
	for _, sub := range tree.Sub {
		if treeHolds(sub, found) {
			return true
		}
	}
	return false
}

// redirectURLs compiles the allowed redirect URIs. Without a consent page they
// are all that stands between a code and any client that asks for it, so then each must
// pin the host.
func (r *resolver) redirectURLs(f ProxyFile) []*regexp.Regexp {
	const at = "proxy.allowedRedirectURLs"
	compiled := compilePatterns(r.Check, at, f.AllowedRedirectURLs)
	if !f.DisableConsentScreen {
		return compiled
	}
	if len(f.AllowedRedirectURLs) == 0 && !r.IsMalformed(at) {
		r.Add("proxy.disableConsentScreen", "needs proxy.allowedRedirectURLs; without it every client would get tokens unasked")
	}
	for i, h := range f.Hosts {
		if h.HoldChangedTools {
			r.Add(conf.Element("proxy.hosts", i)+".holdChangedTools", "needs the consent screen, where people agree again; remove one of the two")
		}
	}
	for i, re := range compiled {
		if re == nil {
			continue
		}
		if prefix := attackerPrefix(re); prefix != "" {
			r.Add(conf.Element(at, i), "%s also matches a URL that begins with %q, which needs the consent screen; "+
				"spell out the host and the slash after it", conf.Show(f.AllowedRedirectURLs[i]), prefix)
		}
	}
	return compiled
}

// redirectSchemes checks the private-use schemes that the operator admits.
// Without a consent page any client could have a code sent to them.
func (r *resolver) redirectSchemes(f ProxyFile) []string {
	const at = "proxy.allowedRedirectSchemes"
	if len(f.AllowedRedirectSchemes) == 0 {
		return nil
	}
	if f.DisableConsentScreen {
		r.Add(at, "needs the consent screen; without it, name each URL in proxy.allowedRedirectURLs")
	}
	for i, scheme := range f.AllowedRedirectSchemes {
		if err := oauth.CheckScheme(scheme); err != nil {
			r.Add(conf.Element(at, i), "%s %v", conf.Show(scheme), err)
		}
	}
	return f.AllowedRedirectSchemes
}

// attackerPrefixes begin URLs that lead to a stranger's host. A pattern
// that can match any continuation of one does not pin the host.
var attackerPrefixes = []string{
	"https://attacker.example/",
	"https://attacker.example:8443/",
	"https://attacker.example?",
	"https://attacker.example#",
	`https://attacker.example\`,
	"http://attacker.example/",
	"http://localhost.attacker.example/",
	"http://localhost:80@attacker.example/",
	"http://127.0.0.1.attacker.example/",
	"http://127.0.0.1:80@attacker.example/",
	"http://[::1].attacker.example/",
	"http://[::1]:80@attacker.example/",
	"attacker.example:/",
	"javascript:",
	"data:",
}

// attackerPrefix returns one of attackerPrefixes that begins a string which re,
// an anchored pattern, matches; or "".
func attackerPrefix(re *regexp.Regexp) string {
	tree, err := syntax.Parse(re.String(), syntax.Perl)
	if err != nil {
		return attackerPrefixes[0]
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return attackerPrefixes[0]
	}
	for _, prefix := range attackerPrefixes {
		if survives(prog, prefix) {
			return prefix
		}
	}
	return ""
}

// survives runs prog over prefix and reports whether any state is left. Every
// state of a compiled program leads to a match, save for assertions such as
// \b, which it takes to hold.
func survives(prog *syntax.Prog, prefix string) bool {
	states := follow(prog, []uint32{uint32(prog.Start)}, true)
	for _, c := range prefix {
		var next []uint32
		for _, pc := range states {
			if inst := &prog.Inst[pc]; isRuneInst(inst.Op) && inst.MatchRune(c) {
				next = append(next, inst.Out)
			}
		}
		states = follow(prog, next, false)
	}
	return len(states) > 0
}

func isRuneInst(op syntax.InstOp) bool {
	return op == syntax.InstRune || op == syntax.InstRune1 || op == syntax.InstRuneAny || op == syntax.InstRuneAnyNotNL
}

// follow returns the states that consume a character or match, reached from
// start without consuming one.
func follow(prog *syntax.Prog, start []uint32, atBegin bool) []uint32 {
	seen := make(map[uint32]bool)
	var states []uint32
	for pending := start; len(pending) > 0; {
		pc := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		if seen[pc] {
			continue
		}
		seen[pc] = true
		switch inst := &prog.Inst[pc]; inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			pending = append(pending, inst.Out, inst.Arg)
		case syntax.InstCapture, syntax.InstNop:
			pending = append(pending, inst.Out)
		case syntax.InstEmptyWidth:
			if begins := syntax.EmptyOp(inst.Arg)&syntax.EmptyBeginText != 0; atBegin || !begins {
				pending = append(pending, inst.Out)
			}
		case syntax.InstMatch, syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			states = append(states, pc)
		}
	}
	return states
}
