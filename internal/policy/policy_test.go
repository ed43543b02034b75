package policy_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

const (
	notes = "https://mcp.example.com/mcp"
	hash  = "$2a$10$3gDc9dgFp6qTKij2naAWPu5fJdchCmC55e/XiBOZgD/9lT7I4J25K"
)

// made makes the rules of one MCP server by the way an operator's file takes.
// Its scopes are the server's (read, write, delete) and the operator's admin.
func made(t testing.TB, rules ...string) *policy.Rules {
	t.Helper()
	return madeOf(t, "provider: {name: static, users: [{username: jane, passwordHash: '"+hash+"', groups: [staff]}]}\n", rules...)
}

func madeOf(t testing.TB, providers string, rules ...string) *policy.Rules {
	t.Helper()
	text := providers + "clients: [{id: our-app, redirectURIs: ['https://app.example/cb']}]\n" +
		"proxy: {hosts: [{host: mcp.example.com, endpoint: 'http://mcp/mcp', scopes: [{name: admin, includes: [read, write, delete]}, {name: files, tools: ['file_*'], resources: ['file://*']}]}]}\n"
	if len(rules) > 0 {
		text += "policy: {rules: [" + strings.Join(rules, ", ") + "]}\n"
	}
	cfg, err := config.Parse([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	server := map[string][]string{"read": {"list", "get"}, "write": {"put"}, "delete": {"delete_one", "delete_all"}}
	table, err := resource.NewTable(cfg.Hosts)
	if err != nil {
		t.Fatal(err)
	}
	return policy.New(table.All(), cfg.ProviderIDs(), func(_, scope string) ([]string, bool) { return server[scope], true }).For(notes)
}

var (
	jane  = connector.Identity{Namespace: "static", Subject: "jane", Email: "jane@example.com", Groups: []string{"mcp-users", "staff"}}
	admin = connector.Identity{Namespace: "static", Subject: "root", Email: "root@example.com", Groups: []string{"mcp-users", "mcp-admins"}}
	out   = connector.Identity{Namespace: "static", Subject: "kim", Email: "kim@partner.example", Groups: []string{"mcp-users", "contractors"}}

	ours    = policy.Client{Key: oauth.ClientKey("our-app"), Kind: rule.KindStatic}
	claude  = policy.Client{Key: oauth.ClientKey("https://claude.ai/oauth/c"), Kind: rule.KindDocument, Host: "claude.ai"}
	dynamic = policy.Client{Key: oauth.ClientKey("dcr1.x"), Kind: rule.KindDynamic}
)

// Sample decisions, each with the rule that explains it.
func TestVerdict(t *testing.T) {
	const (
		members   = "{effect: allow, name: members, groups: [mcp-users]}"
		everybody = "{effect: allow, name: everybody, anyone: true}"
	)
	for _, tt := range []struct {
		name   string
		rules  []string
		who    connector.Identity
		client policy.Client
		scope  string
		want   bool
		by     string // what the rule's name has
	}{
		{"no rules, as ever", nil, jane, dynamic, "delete", true, ""},
		{"only group mcp-users: a member", []string{members}, jane, dynamic, "read", true, "policy.rules[0] (members)"},
		{"only group mcp-users: another", []string{members}, connector.Identity{Namespace: "static", Subject: "x", Groups: []string{"staff"}}, dynamic, "read", false, ""},
		{"default deny: no rule speaks of the scope", []string{"{effect: allow, anyone: true, scopes: [read]}"}, jane, dynamic, "write", false, ""},
		{"admins get delete tools: an admin", []string{"{effect: allow, anyone: true, scopes: [read, write]}", "{effect: allow, name: admins, groups: [mcp-admins], tools: ['delete_*']}"}, admin, dynamic, "delete", true, "(admins)"},
		{"admins get delete tools: another", []string{"{effect: allow, anyone: true, scopes: [read, write]}", "{effect: allow, name: admins, groups: [mcp-admins], tools: ['delete_*']}"}, jane, dynamic, "delete", false, ""},
		{"admins get delete tools: other scopes by another rule", []string{"{effect: allow, anyone: true, scopes: [read, write]}", "{effect: allow, name: admins, groups: [mcp-admins], tools: ['delete_*']}"}, admin, dynamic, "write", true, "policy.rules[0]"},
		{"contractors read only: write", []string{members, "{effect: deny, name: no writing, groups: [contractors], scopes: [write, delete]}"}, out, dynamic, "write", false, "(no writing)"},
		{"contractors read only: read", []string{members, "{effect: deny, groups: [contractors], scopes: [write, delete]}"}, out, dynamic, "read", true, "(members)"},
		{"what is denied is not had by what includes it", []string{members, "{effect: deny, name: no writing, groups: [contractors], scopes: [write, delete]}"}, out, dynamic, "admin", false, "(no writing)"},
		{"whoever may have all may have part", []string{"{effect: allow, name: admins, groups: [mcp-admins], scopes: [admin]}"}, admin, dynamic, "write", true, "(admins)"},
		{"but not the other way", []string{"{effect: allow, groups: [mcp-admins], scopes: [write]}"}, admin, dynamic, "admin", false, ""},
		{"only Claude and our own client: Claude", []string{"{effect: allow, name: claude, clientHosts: [claude.ai]}", "{effect: allow, clientKinds: [static]}"}, jane, claude, "read", true, "(claude)"},
		{"only Claude and our own client: ours", []string{"{effect: allow, clientHosts: [claude.ai]}", "{effect: allow, name: own, clientKinds: [static]}"}, jane, ours, "read", true, "(own)"},
		{"only Claude and our own client: a stranger", []string{"{effect: allow, clientHosts: [claude.ai]}", "{effect: allow, clientKinds: [static]}"}, jane, dynamic, "read", false, ""},
		{"block one client: it", []string{everybody, "{effect: deny, name: blocked, clients: ['https://claude.ai/oauth/c']}"}, jane, claude, "read", false, "(blocked)"},
		{"block one client: another", []string{everybody, "{effect: deny, clients: ['https://claude.ai/oauth/c']}"}, jane, ours, "read", true, "(everybody)"},
		{"nobody but one person", []string{"{effect: allow, name: her, users: ['static:jane']}"}, jane, ours, "read", true, "(her)"},
		{"nobody but one person: another", []string{"{effect: allow, users: ['static:jane']}"}, admin, ours, "read", false, ""},
		{"conditions together: one fails", []string{"{effect: allow, groups: [mcp-users], clients: [our-app]}"}, jane, claude, "read", false, ""},
		{"deny wins over a narrower allow", []string{"{effect: allow, emails: [jane@example.com]}", "{effect: deny, name: staff, groups: [staff], scopes: [read]}"}, jane, ours, "read", false, "(staff)"},
		{"a scope none of whose tools is left", []string{everybody, "{effect: deny, name: no deleting, groups: [staff], tools: ['delete_*']}"}, jane, ours, "delete", false, "(no deleting)"},
		{"a scope with other things than tools", []string{everybody, "{effect: deny, groups: [staff], tools: ['file_*']}"}, jane, ours, "files", true, "(everybody)"},
		{"a scope of the operator's by a tool that is in its pattern", []string{"{effect: allow, name: one file, anyone: true, tools: [file_get]}"}, jane, ours, "files", true, "(one file)"},
		{"all tools that were allowed are denied", []string{"{effect: allow, anyone: true, tools: [put]}", "{effect: deny, name: x, groups: [staff], tools: ['pu*']}"}, jane, ours, "write", false, "(x)"},
		{"provider", []string{"{effect: allow, name: p, providers: [static]}"}, jane, ours, "read", true, "(p)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := made(t, tt.rules...).Match(tt.who, tt.client).Verdict(tt.scope)
			if v.Allowed != tt.want || !strings.Contains(v.Rule, tt.by) || tt.by == "" && v.Rule != "" {
				t.Errorf("%+v, want %v by %q", v, tt.want, tt.by)
			}
		})
	}
}

func TestZeroValues(t *testing.T) {
	scopes := oauth.Scopes{"read"}
	var p *policy.Policy
	for name, m := range map[string]policy.Match{
		"match": {}, "no policy": p.For(notes).Match(jane, ours), "policy": new(policy.Policy).For(notes).MatchClient(ours), "rules": new(policy.Rules).Match(jane, ours),
		"another resource": policy.New(nil, nil, nil).For(notes).Match(jane, ours),
	} {
		b := m.Bound(scopes)
		if len(m.Narrow(scopes)) > 0 || !b.Empty() || b.MayCall("list", scopes) || len(b.Obtainable("list", scopes)) > 0 {
			t.Errorf("%s allows something", name)
		}
	}
	var b policy.Bound
	if !b.Empty() || b.MayCall("list", scopes) {
		t.Error("the zero Bound allows something")
	}
	if _, ok := new(policy.Rules).Parse(""); ok {
		t.Error("the zero Rules know who somebody is")
	}
}

// Who is meant by a condition: an allow never takes one person for another, and a
// deny lets no one through for another spelling or for having less to show.
func TestWho(t *testing.T) {
	full := make([]string, connector.MaxGroups)
	for i := range full {
		full[i] = fmt.Sprint("g", i)
	}
	who := func(change func(*connector.Identity)) connector.Identity {
		id := connector.Identity{Namespace: "static", Subject: "jane", Email: "jane@example.com", Groups: []string{"team"}}
		change(&id)
		return id
	}
	for _, tt := range []struct {
		name, condition string
		id              connector.Identity
		allow, deny     bool // whether the condition holds for either effect
	}{
		{"the group", "groups: [team]", who(func(*connector.Identity) {}), true, true},
		{"a group in another case", "groups: [team]", who(func(i *connector.Identity) { i.Groups = []string{"Team"} }), false, true},
		{"a group with a comma", "groups: [team]", who(func(i *connector.Identity) { i.Groups = []string{"x,team"} }), false, false},
		{"a group with a bar", "groups: [team]", who(func(i *connector.Identity) { i.Groups = []string{"team|x", "x|team"} }), false, false},
		{"a longer group", "groups: [team]", who(func(i *connector.Identity) { i.Groups = []string{"teams", "a team"} }), false, false},
		{"a group that is a pattern", "groups: [team]", who(func(i *connector.Identity) { i.Groups = []string{"t*"} }), false, false},
		{"a pattern", "groups: ['te*']", who(func(*connector.Identity) {}), true, true},
		{"a pattern in another case", "groups: ['TE*']", who(func(*connector.Identity) {}), false, true},
		{"a look-alike letter", "groups: [team]", who(func(i *connector.Identity) { i.Groups = []string{"tеam"} }), false, false}, // Cyrillic
		{"a letter that folds", "groups: [desk]", who(func(i *connector.Identity) { i.Groups = []string{"des\u212a", "de\u017fk"} }), false, true},
		{"no groups", "groups: [team]", who(func(i *connector.Identity) { i.Groups = nil }), false, false},
		{"as many groups as an identity carries", "groups: [team]", who(func(i *connector.Identity) { i.Groups = full }), false, true},

		{"the address", "emails: [jane@example.com]", who(func(*connector.Identity) {}), true, true},
		{"the address in capitals", "emails: [Jane@Example.com]", who(func(i *connector.Identity) { i.Email = "JANE@EXAMPLE.COM" }), true, true},
		{"an address that folds", "emails: [kim@example.com]", who(func(i *connector.Identity) { i.Email = "\u212aim@example.com" }), false, true},
		{"another address of the domain", "emails: [jane@example.com]", who(func(i *connector.Identity) { i.Email = "jane+x@example.com" }), false, false},
		{"no verified address", "emails: [jane@example.com]", who(func(i *connector.Identity) { i.Email = "" }), false, true},

		{"the domain", "emailDomains: [example.com]", who(func(i *connector.Identity) { i.Email = "x@EXAMPLE.com" }), true, true},
		{"a domain in the local part", "emailDomains: [example.com]", who(func(i *connector.Identity) { i.Email = "x@example.com@evil.example" }), false, false},
		{"a domain that ends alike", "emailDomains: [example.com]", who(func(i *connector.Identity) { i.Email = "x@badexample.com" }), false, false},
		{"a subdomain", "emailDomains: [example.com]", who(func(i *connector.Identity) { i.Email = "x@a.example.com" }), false, false},
		{"below a domain", "emailDomains: ['*.example.com']", who(func(i *connector.Identity) { i.Email = "x@a.example.com" }), true, true},
		{"a domain that folds", "emailDomains: [kim.example]", who(func(i *connector.Identity) { i.Email = "x@\u212aim.example" }), false, true},
		{"a domain with a dotted capital I", "emailDomains: [microsoft.com]", who(func(i *connector.Identity) { i.Email = "x@m\u0130crosoft.com" }), false, true},
		{"a domain with its root", "emailDomains: [example.com]", who(func(i *connector.Identity) { i.Email = "x@example.com." }), false, true},
		{"no address at all", "emailDomains: [example.com]", who(func(i *connector.Identity) { i.Email = "" }), false, true},

		{"the subject", "users: ['static:jane']", who(func(*connector.Identity) {}), true, true},
		{"the subject alone", "users: [jane]", who(func(*connector.Identity) {}), true, true},
		{"a subject in another case", "users: [jane]", who(func(i *connector.Identity) { i.Subject = "Jane" }), false, false},
		{"a subject that reads like a whole one", "users: ['static:jane']", who(func(i *connector.Identity) { i.Subject = "static:jane" }), false, false},
		{"another subject", "users: [jane]", who(func(i *connector.Identity) { i.Subject = "jane2" }), false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := made(t, "{effect: allow, "+tt.condition+"}").Match(tt.id, ours).Verdict("read").Allowed; got != tt.allow {
				t.Errorf("the rule that allows holds: %v", got)
			}
			if got := !made(t, "{effect: allow, anyone: true}", "{effect: deny, "+tt.condition+"}").Match(tt.id, ours).Verdict("read").Allowed; got != tt.deny {
				t.Errorf("the rule that denies holds: %v", got)
			}
		})
	}
}

func TestSeveralProviders(t *testing.T) {
	const two = "providers: [{id: corp, name: static, users: [{username: jane, passwordHash: '" + hash + "'}]}, {id: partner, displayName: Partner, name: oidc, issuerURL: 'https://idp.example.com', clientID: x, clientSecret: z}]\n"
	corp := connector.Identity{Provider: "corp", Namespace: "corp:static", Subject: "jane"}
	partner := connector.Identity{Provider: "partner", Namespace: "partner:idp.example.com", Subject: "jane"}
	posing := connector.Identity{Provider: "partner", Namespace: "partner:idp.example.com", Subject: "corp:jane"}
	for _, tt := range []struct {
		condition string
		who       connector.Identity
		want      bool
	}{
		{"providers: [corp]", corp, true}, {"providers: [corp]", partner, false}, {"providers: [corp]", connector.Identity{Namespace: "x", Subject: "y"}, false},
		{"users: ['corp:jane']", corp, true}, {"users: ['corp:jane']", partner, false}, {"users: ['corp:jane']", posing, false},
		{"users: ['corp:static:jane']", corp, true}, {"users: ['partner:idp.example.com:jane']", partner, true}, {"users: ['partner:idp.example.com:jane']", corp, false},
	} {
		if got := madeOf(t, two, "{effect: allow, "+tt.condition+"}").Match(tt.who, ours).Verdict("read").Allowed; got != tt.want {
			t.Errorf("%s, %+v: %v", tt.condition, tt.who, got)
		}
	}
	if _, err := config.Parse([]byte(two+"proxy: {hosts: [{host: a.example, endpoint: 'http://a/'}]}\npolicy: {rules: [{effect: allow, users: [jane], providers: [other]}]}"), nil); err == nil ||
		!strings.Contains(err.Error(), "does not say whose subject") || !strings.Contains(err.Error(), `"other" is not the id of a provider`) {
		t.Errorf("a bare subject: %v", err)
	}
}

// A provider that says less at a refresh than at the sign-in undoes no denial.
func TestRematch(t *testing.T) {
	r := made(t, "{effect: allow, anyone: true}", "{effect: deny, groups: [contractors], tools: [put]}")
	silent := out
	silent.Groups = nil
	for _, tt := range []struct {
		id     connector.Identity
		before bool
		want   bool
	}{{out, true, true}, {silent, true, true}, {silent, false, false}, {jane, true, false}, {jane, false, false}} {
		b := r.Rematch(tt.id, tt.before, ours).Bound(oauth.Scopes{"read"})
		if b.LimitsTools != tt.want {
			t.Errorf("%v, before %v: the denial holds: %v", tt.id.Groups, tt.before, b.LimitsTools)
		}
	}
}

// Before the user has signed in, what may come is offered and what cannot is not.
func TestMatchClient(t *testing.T) {
	r := made(t, "{effect: allow, groups: [mcp-users], scopes: [read, write]}", "{effect: allow, clientKinds: [static], scopes: [delete]}",
		"{effect: deny, groups: [contractors], scopes: [write]}", "{effect: deny, clientHosts: [claude.ai], scopes: [write]}")
	for _, tt := range []struct {
		client policy.Client
		want   string
	}{{ours, "read write delete"}, {dynamic, "read write"}, {claude, "read"}, {policy.Client{}, "read write"}} {
		if got := r.MatchClient(tt.client).Narrow(oauth.Scopes{"read", "write", "delete", "files"}); got.String() != tt.want {
			t.Errorf("%+v is offered %q, want %q", tt.client, got, tt.want)
		}
	}
}

func TestHosts(t *testing.T) {
	r := made(t, "{effect: allow, clientHosts: [claude.ai, '*.example.com']}")
	for host, want := range map[string]bool{
		"claude.ai": true, "CLAUDE.AI": true, "claude.ai:8443": true, "evil-claude.ai": false, "claude.ai.evil.example": false, "a.example.com": true, "example.com": false, "": false,
	} {
		if got := r.MatchClient(policy.Client{Kind: rule.KindDocument, Host: host}).Verdict("read").Allowed; got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

// What is carried in a token says the same as what it was made of, and nothing
// to rules about other people.
func TestMatchTravels(t *testing.T) {
	rules := []string{"{effect: allow, groups: [mcp-users], scopes: [read]}", "{effect: allow, groups: [mcp-admins]}", "{effect: deny, groups: [contractors], tools: [put]}"}
	r := made(t, rules...)
	for _, id := range []connector.Identity{jane, admin, out, {}} {
		m := r.Match(id, ours)
		got, ok := r.Parse(m.String())
		if !ok || !reflect.DeepEqual(got, m) {
			t.Errorf("%+v became %+v", m, got)
		}
		if len(m.String()) > 60 {
			t.Errorf("%d bytes", len(m.String()))
		}
	}
	text := r.Match(jane, ours).String()
	for name, other := range map[string]*policy.Rules{
		"another group": made(t, append([]string{"{effect: allow, groups: [mcp-user], scopes: [read]}"}, rules[1:]...)...),
		"one more":      made(t, append(slices.Clone(rules), "{effect: allow, users: [x]}")...),
		"another order": made(t, rules[1], rules[0], rules[2]),
		"the effect":    made(t, rules[0], "{effect: deny, groups: [mcp-admins]}", "{effect: deny, groups: [contractors], tools: [put]}"),
	} {
		if _, ok := other.Parse(text); ok {
			t.Errorf("%s: rules about others know who is meant", name)
		}
	}
	for _, bad := range []string{"", text[:len(text)-1], text + "A", text[:10], "x" + text} {
		if _, ok := r.Parse(bad); ok {
			t.Errorf("%q was taken", bad)
		}
	}
	if m, ok := made(t, "{effect: allow, groups: [mcp-users], scopes: [write]}", rules[1], rules[2]).Parse(text); !ok || m.Verdict("read").Allowed || !m.Verdict("write").Allowed {
		t.Error("what a rule is about may change for a token that lives")
	}
	if m, ok := made(t).Parse(text); !ok || !m.Verdict("read").Allowed || made(t).Match(jane, ours).String() != "" {
		t.Error("without rules everything is allowed and nothing is carried")
	}
}

func TestBound(t *testing.T) {
	openers := map[string][]string{"list": {"read", "write"}, "put": {"write"}, "delete_one": {"delete"}, "delete_all": {"delete"}}
	for _, tt := range []struct {
		name    string
		rules   []string
		granted string
		limits  bool
		left    string
		may     string // tools
		get     string // "tool scope" that another sign-in could open
	}{
		{"no rules", nil, "read", false, "read", "list", "put write"},
		{"all allowed", []string{"{effect: allow, anyone: true}"}, "read write", false, "read write", "list put", "delete_one delete"},
		{"a scope is not for them", []string{"{effect: allow, anyone: true, scopes: [read]}"}, "read write", false, "read", "list", ""},
		{"some tools of a scope", []string{"{effect: allow, anyone: true, scopes: [read]}", "{effect: allow, groups: [staff], tools: [delete_one]}"}, "read delete", true, "read delete", "list delete_one", ""},
		{"a tool is not for them", []string{"{effect: allow, anyone: true}", "{effect: deny, groups: [staff], tools: [delete_all]}"}, "read delete", true, "read delete", "list delete_one", "put write"},
		{"a tool by a scope of another rule", []string{"{effect: allow, anyone: true, tools: [list]}", "{effect: allow, groups: [staff], scopes: [write]}"}, "read", true, "read", "list", "put write"},
		{"nothing", []string{"{effect: allow, groups: [nobody]}"}, "read", false, "", "", ""},
		{"by a scope that includes it", []string{"{effect: allow, anyone: true, scopes: [admin]}", "{effect: deny, groups: [staff], tools: [put]}"}, "admin", true, "admin", "list delete_one delete_all", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := made(t, tt.rules...).Match(jane, ours).Bound(strings.Fields(tt.granted))
			if b.LimitsTools != tt.limits || b.Scopes.String() != tt.left {
				t.Errorf("limits %v, scopes %q", b.LimitsTools, b.Scopes)
			}
			tool, scope, _ := strings.Cut(tt.get, " ")
			for name, by := range openers {
				// Without rules the caller has looked whether a granted scope opens the tool.
				if got := b.MayCall(name, by); got != slices.Contains(strings.Fields(tt.may), name) && tt.rules != nil {
					t.Errorf("may call %s: %v", name, got)
				}
				if name == tool && !slices.Contains(b.Obtainable(name, by), scope) || tt.get == "" && !slices.Contains(strings.Fields(tt.may), name) && len(b.Obtainable(name, by)) > 0 {
					t.Errorf("%s can be had by %q", name, b.Obtainable(name, by))
				}
			}
		})
	}
}

// A gate does not take a letter beyond ASCII for the one it is the capital of:
// the domain with it belongs to another owner.
func TestGateFolding(t *testing.T) {
	cfg, err := config.Parse([]byte(`provider: {name: oidc, issuerURL: 'https://idp.example.com', clientID: x, clientSecret: z, allowedEmailDomains: ['kim\.example', 'microsoft\.com']}
proxy: {hosts: [{host: a.example, endpoint: 'http://a/'}]}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	g := policy.NewGate(cfg.Providers[0])
	for email, want := range map[string]error{
		"x@KIM.example": nil, "x@\u212aim.example": policy.ErrEmailDomain, "x@m\u0130crosoft.com": policy.ErrEmailDomain, "": policy.ErrNoEmail, "@kim.example": policy.ErrNoEmail, "x@": policy.ErrNoEmail,
	} {
		if got := g.Admit(connector.Identity{Email: email}); got != want {
			t.Errorf("%q: %v, want %v", email, got, want)
		}
	}
}

// A claim that is read says the same when it is written again, and no claim gives
// more than the rules that are there.
func FuzzClaim(f *testing.F) {
	rules := made(f, "{effect: allow, name: members, groups: [mcp-users]}", "{effect: deny, name: contractors, groups: [contractors], scopes: [write]}", "{effect: allow, name: admins, groups: [mcp-admins]}")
	for _, who := range []connector.Identity{jane, admin, out} {
		f.Add(rules.Match(who, claude).String())
	}
	good := rules.Match(jane, claude).String()
	for _, s := range []string{"", good[:len(good)-1], good + "A", good + "=", good + "\n", strings.ToLower(good), "AAAA"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, ok := rules.Parse(s)
		if !ok {
			if b := m.Bound(oauth.Scopes{"read", "write", "admin"}); len(b.Scopes) > 0 {
				t.Fatalf("%q is not read and gives %v", s, b.Scopes)
			}
			return
		}
		if again, ok := rules.Parse(m.String()); !ok || again.String() != m.String() {
			t.Fatalf("%q, written again as %q, is another", s, m.String())
		}
		if s != m.String() {
			t.Fatalf("%q has a second spelling, %q", m.String(), s)
		}
	})
}
