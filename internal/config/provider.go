package config

import (
	"cmp"
	"regexp"
	"slices"
	"unicode"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/kinds"
)

func (r providerSection) provider(f ProviderFile) connector.Config {
	p := connector.Config{
		ID: f.ID, KeepSubjects: f.KeepSubjects, Name: f.Name, DisplayName: f.DisplayName,
		EmailDomains: r.emailDomains(f.AllowedEmailDomains), AllowAnyUser: f.AllowAnyUser, Settings: f.Settings,
	}
	r.admitted(f)
	if f.Settings == nil { // what the other keys should be is unknown
		r.providerName(f.Name)
		return p
	}
	f.Settings.Resolve(r.Section, &p)
	p.DisplayName = cmp.Or(f.DisplayName, f.Settings.DisplayName())
	return p
}

func (r providerSection) providerName(name string) {
	at, names := r.Key("name"), conf.Quoted(kinds.Names())
	if name == "" {
		r.Add(at, "is required: one of %s", names)
		return
	}
	r.Add(at, "%s is not one of %s", conf.Show(name), names)
}

// admitted refuses to leave open by omission who may sign in. Without settings,
// who has an account is unknown.
func (r providerSection) admitted(f ProviderFile) {
	at := r.Key("allowAnyUser")
	var who connector.Audience
	if f.Settings != nil {
		who = f.Settings.Audience()
	}
	narrowed := false
	for _, key := range slices.Compact(append([]string{"allowedEmailDomains"}, who.Keys...)) {
		if !r.IsSet(r.Key(key)) {
			continue
		}
		narrowed = narrowed || slices.Contains(who.Keys, key)
		if f.AllowAnyUser {
			r.Add(at, "contradicts %s; set one of the two", r.Key(key))
		}
	}
	if f.Settings == nil || f.AllowAnyUser || narrowed || who.Chosen || r.IsMalformed(at) {
		return
	}
	otherwise := "; to admit everyone, set " + at + ": true"
	if who.Instead != "" {
		otherwise = "; " + who.Instead + otherwise
	}
	switch len(who.Keys) {
	case 0:
		r.Add(at, "is needed for %s%s%s", who.Of, who.Where, otherwise)
	case 1:
		r.Add(r.Key(who.Keys[0]), "is required for %s%s%s", who.Of, who.Where, otherwise)
	default:
		r.Add(r.Key(who.Keys[0]), "is required for %s%s, or %s is%s", who.Of, who.Where, r.Key(who.Keys[1]), otherwise)
	}
}

// emailDomains compiles patterns over the lower-cased domain of an e-mail address.
func (r providerSection) emailDomains(patterns []string) []*regexp.Regexp {
	at := r.Key("allowedEmailDomains")
	compiled := compilePatterns(r.Check, at, patterns)
	for i, pattern := range patterns {
		switch {
		case i >= len(compiled) || compiled[i] == nil:
		case requiresLiteral(pattern, func(c rune) bool { return c == '@' }):
			r.Add(conf.Element(at, i), `%s holds an "@"; the pattern is compared with the domain alone, such as "example\.com"`, conf.Show(pattern))
		case compiled[i].MatchString("attacker.example") && compiled[i].MatchString("attacker.invalid"):
			r.Add(conf.Element(at, i), "%s admits every domain; to admit everyone, set %s: true", conf.Show(pattern), r.Key("allowAnyUser"))
		case suffixOnly(pattern) != "":
			name := suffixOnly(pattern)
			r.Add(conf.Element(at, i), "%s admits %q too; write %q for a name and those below it", conf.Show(pattern), "attacker-"+name, `(.*\.)?`+regexp.QuoteMeta(name))
		case requiresLiteral(pattern, unicode.IsUpper):
			r.Add(conf.Element(at, i), "%s holds a capital letter, but is compared with the domain in lower case", conf.Show(pattern))
		}
	}
	return compiled
}
