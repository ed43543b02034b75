package whatif

import (
	"fmt"
	"strings"
)

// String explains the answer in a few lines.
func (d *Decision) String() string {
	var b strings.Builder
	line := func(name, value string) { fmt.Fprintf(&b, "%-10s%s\n", name, value) }
	who := []string{"provider " + d.Person.Provider}
	for _, part := range []struct{ what, value string }{{"user", d.Person.User}, {"e-mail", d.Person.Email}, {"groups", strings.Join(d.Person.Groups, " | ")}, {"roles", strings.Join(d.Person.Roles, " | ")}, {"acted for by", strings.Join(d.Person.Actors, ", for whom acts ")}} {
		if part.value != "" {
			who = append(who, part.what+" "+part.value)
		}
	}
	line("resource", d.Resource)
	line("person", strings.Join(who, ", "))
	line("client", strings.TrimSpace(d.Client.ID+" ("+d.Client.Kind+")"))
	if !d.Admitted {
		line("refused", "before any rule: "+d.Reason)
	}
	b.WriteByte('\n')
	width := 0
	for _, s := range d.Scopes {
		width = max(width, len(s.Scope))
	}
	for _, s := range d.Scopes {
		fmt.Fprintf(&b, "  %-8s %-*s  %s\n", verdict(s.Allowed), width, s.Scope, s.why(d))
	}
	for _, p := range d.Pages {
		width = max(width, len(p.Page))
	}
	for _, p := range d.Pages {
		fmt.Fprintf(&b, "  %-8s %-*s  %s\n", verdict(p.Allowed), width, p.Page, p.why(d))
	}
	for _, n := range d.Notes {
		fmt.Fprintf(&b, "\nnote: %s\n", n)
	}
	return b.String()
}

func verdict(allowed bool) string {
	if allowed {
		return "allowed"
	}
	return "refused"
}

func (p Page) why(d *Decision) string {
	switch {
	case !d.Admitted:
		return "the person may not sign in"
	case p.Scope == "":
		return "everyone who may sign in"
	case p.Rule != "":
		return "scope " + p.Scope + ", by " + p.Rule
	case p.Allowed:
		return "scope " + p.Scope + ", there are no rules"
	}
	return "scope " + p.Scope + ", which no rule allows"
}

func (s Scope) why(d *Decision) string {
	why := "by " + s.Rule
	switch {
	case !d.Admitted:
		return "the person may not sign in"
	case s.Rule == "" && s.Allowed:
		why = "there are no rules"
	case s.Rule == "":
		why = "no rule allows it"
	}
	if len(s.Tools) > 0 {
		why += ", for these tools only: " + strings.Join(s.Tools, " ")
	}
	if len(s.NotTools) > 0 {
		why += ", without these tools: " + strings.Join(s.NotTools, " ")
	}
	if s.Offered && !s.Allowed {
		why += "; the consent page offers it, because it does not know the person"
	}
	return why
}
