package resource

import (
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// world has two MCP servers and two pages on one host, a server that is a whole host
// with a port, and one in development.
func world(t *testing.T) *Table {
	t.Helper()
	table, err := NewTable([]Entry{
		{Host: "MCP.example.com:443", Scheme: "https", Path: "/mcp", DisplayName: "Notes", APIKeys: true, OwnTokensOff: true, Issuers: []string{"https://idp"},
			ScopeNames: map[string]map[string]string{"https://idp": {"read": "api://read"}}, DeviceGrant: true,
			Pages: []Page{{Path: ""}, {Path: "/docs"}, {Path: "/mcp/ui"}}},
		{Host: "mcp.example.com", Scheme: "https", Path: "/mcp/deep", DeviceGrant: true, DPoP: DPoPRequired, Serving: &Serving{}, Exchange: &Exchange{}},
		{Host: "whole.example:8443", Scheme: "https", Account: true, DeviceGrant: true},
		{Host: "whole.example:8443", Scheme: "https", Path: "/b", DeviceGrant: true},
		{Host: "localhost:80", Scheme: "http", Path: "/a", Serving: &Serving{}, APIKeys: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// Which host a request is for does not depend on how its name is written, and a name
// is not the same over http.
func TestHost(t *testing.T) {
	table := world(t)
	for header, want := range map[string]string{
		"mcp.example.com": "mcp.example.com", "MCP.Example.com": "mcp.example.com", "mcp.example.com:443": "mcp.example.com", "mcp.example.com.": "mcp.example.com",
		"mcp.example.com:80": "", "mcp.example.com:8443": "", "example.com": "", "x.mcp.example.com": "", "mcp.example.com/x": "", "": "", "mcp.example.com:": "", "mcp.example.com,x": "",
		"whole.example:8443": "whole.example:8443", "Whole.example:8443": "whole.example:8443", "whole.example": "", "whole.example:443": "",
		"localhost": "localhost", "localhost:80": "localhost", "LOCALHOST": "localhost", "LOCALHOST:443": "", "localhost:8080": "",
	} {
		got := ""
		if h := table.Host(header); h != nil {
			got = h.Name
		}
		if got != want {
			t.Errorf("%q is for %q, want %q", header, got, want)
		}
		for _, h := range table.hosts {
			if h.Is(header) != (h.Name == want) {
				t.Errorf("%q is for %q: %v", header, h.Name, h.Is(header))
			}
		}
	}
	if h := table.Host("localhost"); h.Secure || h.Issuer != "http://localhost" {
		t.Errorf("%+v", h)
	}
	if h := table.Host("mcp.example.com"); !h.Secure || h.Issuer != "https://mcp.example.com" || len(h.Resources) != 2 || len(h.Pages) != 3 {
		t.Errorf("%+v", h)
	}
}

// A path belongs to the longest path above it, on the border of a segment.
func TestPaths(t *testing.T) {
	table := world(t)
	for _, tt := range []struct{ host, path, server, at string }{
		{"mcp.example.com", "/mcp", "/mcp", "/mcp"},
		{"mcp.example.com", "/mcp/", "/mcp", "/mcp"},
		{"mcp.example.com", "/mcp/x", "/mcp", "/mcp"},
		{"mcp.example.com", "/mcp/deep", "/mcp/deep", "/mcp/deep"},
		{"mcp.example.com", "/mcp/deep/x", "/mcp/deep", "/mcp/deep"},
		{"mcp.example.com", "/mcp/deeper", "/mcp", "/mcp"},
		{"mcp.example.com", "/mcp/ui", "/mcp", "page /mcp/ui"},
		{"mcp.example.com", "/mcp/ui/x", "/mcp", "page /mcp/ui"},
		{"mcp.example.com", "/mcp/uix", "/mcp", "/mcp"},
		{"mcp.example.com", "/mcpx", "", "page "},
		{"mcp.example.com", "/MCP", "", "page "},
		{"mcp.example.com", "/docs/x", "", "page /docs"},
		{"mcp.example.com", "/", "", "page "},
		{"mcp.example.com", "", "", "page "},
		{"mcp.example.com", "/mcp/../mcp/deep", "", ""},
		{"mcp.example.com", "/mcp/ui/%2e%2e/deep", "", ""},
		{"mcp.example.com", "//mcp", "", ""},
		{"mcp.example.com", "/mcp%2Fdeep", "", ""},
		{"mcp.example.com", "mcp", "", ""},
		{"whole.example:8443", "/", "whole", "whole"},
		{"whole.example:8443", "/bc", "whole", "whole"},
		{"whole.example:8443", "/b/c", "/b", "/b"},
		{"localhost", "/", "", ""},
		{"localhost", "/a", "/a", "/a"},
	} {
		name := func(r *Resource) string {
			switch {
			case r == nil:
				return ""
			case r.Page != nil:
				return "page " + r.Path
			case r.Path == "":
				return "whole"
			}
			return r.Path
		}
		h := table.Host(tt.host)
		if got := name(h.Covering(tt.path)); got != tt.server {
			t.Errorf("%s%s: server %q, want %q", tt.host, tt.path, got, tt.server)
		}
		if got := name(h.At(tt.path)); got != tt.at {
			t.Errorf("%s%s: at %q, want %q", tt.host, tt.path, got, tt.at)
		}
	}
}

// A page has the MCP server beside it, and is none itself.
func TestPages(t *testing.T) {
	table := world(t)
	page, server := table.Host("mcp.example.com").At("/mcp/ui"), table.Host("mcp.example.com").At("/mcp")
	if page.Server() != server || server.Server() != server || page.URI != "https://mcp.example.com/mcp/ui" || page.APIKeys || page.Endpoint != server.Endpoint || page.DisplayName != "Notes" {
		t.Errorf("%+v", page)
	}
	if root := table.Host("mcp.example.com").At("/"); root.URI != "https://mcp.example.com/" || root.Index == page.Index || root.Index < len(table.All()) || page.Index < len(table.All()) {
		t.Errorf("%s %d, the other page %d of %d servers", root.URI, root.Index, page.Index, len(table.All()))
	}
	for uri, want := range map[string]bool{"https://mcp.example.com/mcp": true, "https://mcp.example.com/mcp/ui": false, "https://mcp.example.com": false, "": false} {
		if r := table.Named(uri); (r != nil) != want || want && r.URI != uri {
			t.Errorf("%s: %+v", uri, r)
		}
	}
}

// What a client names is found on its own host alone (RFC 8707, section 2).
func TestRequested(t *testing.T) {
	table := world(t)
	for _, tt := range []struct {
		host, uri, want string
		ok, signIn      bool
	}{
		{"mcp.example.com", "https://mcp.example.com/mcp/deep", "https://mcp.example.com/mcp/deep", true, true},
		{"mcp.example.com", "HTTPS://MCP.example.com:443/mcp/deep/?a=b", "https://mcp.example.com/mcp/deep", true, true},
		{"mcp.example.com", "https://mcp.example.com/mcp/tool", "https://mcp.example.com/mcp", true, false}, // takes none of our tokens
		{"mcp.example.com", "https://mcp.example.com/", "", false, false},                                   // which of two?
		{"mcp.example.com", "https://mcp.example.com/mcpx", "", false, false},
		{"mcp.example.com", "https://mcp.example.community/mcp", "", false, false},
		{"mcp.example.com", "https://mcp.example.com:8443/mcp", "", false, false},
		{"mcp.example.com", "http://mcp.example.com/mcp", "", false, false},
		{"mcp.example.com", "https://whole.example:8443/b", "", false, false},
		{"mcp.example.com", "https://mcp.example.com/mcp#x", "", false, false},
		{"mcp.example.com", "", "", false, false},
		{"whole.example:8443", "https://whole.example:8443", "https://whole.example:8443", true, true},
		{"localhost", "http://localhost", "http://localhost/a", true, true}, // the only one
		{"localhost", "http://localhost/x", "", false, false},
	} {
		h := table.Host(tt.host)
		r, ok := h.Requested(tt.uri)
		if ok != tt.ok || ok && r.URI != tt.want {
			t.Errorf("%s at %s: %+v", tt.uri, tt.host, r)
		}
		if _, ok := h.ForSignIn(tt.uri); ok != tt.signIn {
			t.Errorf("%s at %s for a sign-in: %v", tt.uri, tt.host, ok)
		}
	}
}

func TestKindsOfHosts(t *testing.T) {
	table := world(t)
	two, whole, local := table.Host("mcp.example.com"), table.Host("whole.example:8443"), table.Host("localhost")
	keys := &Host{Resources: []*Resource{{OwnTokensOff: true, DPoP: DPoPAccepted, Exchange: &Exchange{}, Serving: &Serving{}, DeviceGrant: true}}}
	for name, tt := range map[string]struct {
		ask  func(*Host) bool
		want [4]bool // of two, whole, local, keys
	}{
		"people sign in":   {(*Host).SignsIn, [4]bool{true, true, false, false}},
		"serves one":       {(*Host).Serves, [4]bool{true, false, true, true}},
		"serves all":       {(*Host).ServesAll, [4]bool{false, false, true, true}},
		"takes own tokens": {(*Host).TakesOwnTokens, [4]bool{true, true, true, false}},
		"binds tokens":     {(*Host).BindsTokens, [4]bool{true, false, false, false}},
		"exchanges":        {(*Host).Exchanges, [4]bool{true, false, false, true}},
		"devices sign in":  {(*Host).SignsInDevices, [4]bool{true, true, false, false}},
		"device default":   {func(h *Host) bool { _, ok := h.DeviceDefault(); return ok }, [4]bool{true, false, false, false}},
		"default":          {func(h *Host) bool { _, ok := h.Default(); return ok }, [4]bool{false, false, true, true}},
		"keys alone, of all": {func(h *Host) bool {
			return !slices.ContainsFunc(h.Resources, func(r *Resource) bool { return !r.KeysOnly() })
		}, [4]bool{}},
	} {
		if got := [4]bool{tt.ask(two), tt.ask(whole), tt.ask(local), tt.ask(keys)}; got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
	if r, _ := two.DeviceDefault(); r.Path != "/mcp/deep" {
		t.Errorf("devices sign in for %s", r.URI)
	}
	if !table.HasPages() || !table.SignsIn() || len(table.All()) != 5 {
		t.Errorf("%+v", table)
	}
	bare, err := NewTable([]Entry{{Host: "a.example", Scheme: "https"}})
	if err != nil || bare.HasPages() || bare.SignsIn() {
		t.Errorf("%+v, %v", bare, err)
	}
}

func TestIssuersOfResource(t *testing.T) {
	table := world(t)
	foreign, own := table.Named("https://mcp.example.com/mcp"), table.Named("https://mcp.example.com/mcp/deep")
	both := &Resource{Host: own.Host, Issuers: foreign.Issuers, ScopeNames: foreign.ScopeNames}
	keys := &Resource{Host: own.Host, APIKeys: true, OwnTokensOff: true}
	for _, tt := range []struct {
		r           *Resource
		servers     string
		keysOnly    bool
		first, read string // what "read" is called by the first of servers, and by the other issuer
	}{
		{own, "https://mcp.example.com", false, "read", "read"},
		{foreign, "https://idp", false, "api://read", "api://read"},
		{both, "https://mcp.example.com https://idp", false, "read", "api://read"},
		{keys, "", true, "read", "read"},
		{&Resource{Host: own.Host, APIKeys: true}, "https://mcp.example.com", false, "read", "read"},
		{&Resource{Host: own.Host, OwnTokensOff: true}, "", false, "read", "read"},
	} {
		if got := strings.Join(tt.r.Servers(), " "); got != tt.servers || tt.r.KeysOnly() != tt.keysOnly {
			t.Errorf("%+v: %q", tt.r, got)
		}
		scopes := oauth.Scopes{"read", "other"}
		if first, read := tt.r.Named("", scopes), tt.r.Named("https://idp", scopes); first.String() != tt.first+" other" || read.String() != tt.read+" other" {
			t.Errorf("%+v: %q first, %q by the issuer", tt.r, first, read)
		}
	}
	if got := foreign.Named("https://other", oauth.Scopes{"read"}); got.String() != "read" {
		t.Errorf("another issuer calls it %s", got)
	}
	for value, want := range map[DPoP][2]bool{"": {}, "other": {}, DPoPAccepted: {true, false}, DPoPRequired: {true, true}} {
		if got := [2]bool{value.Accepts(), value.Requires()}; got != want {
			t.Errorf("DPoP %q: %v", value, got)
		}
	}
	if got := own.MetadataURL("/mcp/deep/x/"); got != "https://mcp.example.com/.well-known/oauth-protected-resource/mcp/deep/x" {
		t.Error(got)
	}
}

// What an entry says of its server is what the server has, and a page has its part of it.
func TestEntryReaches(t *testing.T) {
	entry := Entry{
		Endpoint: &url.URL{Host: "notes"}, Authorities: []byte("PEM"), DisplayName: "Notes", DefaultScopes: []string{"read"}, Rules: rule.Rules{Body: true},
		Serving: &Serving{}, Policy: []rule.Rule{{}}, Issuers: []string{"https://idp"}, ScopeNames: map[string]map[string]string{"https://idp": {}}, OwnTokensOff: true, DPoP: DPoPRequired,
		APIKeys: true, KeyHeader: "X-Key", DeviceGrant: true, PersonalKeys: true, ProviderToken: &ProviderToken{}, Exchange: &Exchange{}, Pages: []Page{{Path: "/ui", Scope: "read", Tokens: true}},
		Host: "a.example", Scheme: "https", Path: "/mcp",
	}
	table, err := NewTable([]Entry{{Host: "b.example", Scheme: "https"}, entry})
	if err != nil {
		t.Fatal(err)
	}
	bare, server := table.All()[0], table.All()[1]
	if bare.APIKeys || bare.PersonalKeys || bare.DeviceGrant || bare.OwnTokensOff {
		t.Errorf("an entry that says nothing lets in more: %+v", bare)
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Entry]()) {
		said := reflect.ValueOf(entry).FieldByIndex(field.Index)
		got := reflect.ValueOf(*server).FieldByName(field.Name)
		if field.Name != "Host" && got.IsValid() && (said.IsZero() || !reflect.DeepEqual(said.Convert(got.Type()).Interface(), got.Interface())) {
			t.Errorf("%s is %v, and the entry says %v", field.Name, got, said)
		}
	}
	if page := server.Host.Pages[0]; server.Index != 1 || page.Host != server.Host || page.Beside != server || page.Endpoint != server.Endpoint || page.Serving != server.Serving || string(page.Authorities) != "PEM" || *page.Page != entry.Pages[0] {
		t.Errorf("%d, %+v", server.Index, page)
	}
}

func TestTakenTwice(t *testing.T) {
	for name, tt := range map[string]struct {
		hosts []Entry
		want  string
	}{
		"a server":           {[]Entry{{Host: "a.example", Scheme: "https", Path: "/x"}, {Host: "A.example:443", Scheme: "https", Path: "/x"}}, "proxy.hosts[1]"},
		"a page of a server": {[]Entry{{Host: "a.example", Scheme: "https", Path: "/x", Pages: []Page{{Path: "/x"}}}}, "proxy.hosts[0].pages[0]"},
		"two pages":          {[]Entry{{Host: "a.example", Scheme: "https", Path: "/x", Pages: []Page{{Path: "/y"}}}, {Host: "a.example", Scheme: "https", Path: "/z", Pages: []Page{{Path: "/y"}}}}, "proxy.hosts[1].pages[0]"},
		"no host":            {[]Entry{{Host: "a/b", Scheme: "https"}}, "proxy.hosts[0].host"},
	} {
		if _, err := NewTable(tt.hosts); err == nil || !strings.HasPrefix(err.Error(), tt.want+":") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProviderToken(t *testing.T) {
	var none *ProviderToken
	one := &ProviderToken{Token: "access", Header: "Authorization", MaxBytes: 3000}
	held := &ProviderToken{Token: "id", Held: true, Provider: "corp", Header: "X-Token", HandleHeader: "X-Handle", MaxBytes: 8000}
	if none.Of("") || none.Names() != nil || none.Summary() != "" {
		t.Error("there is none")
	}
	if !one.Of("corp") || !held.Of("corp") || held.Of("") || held.Of("other") {
		t.Error("people of another provider have a token")
	}
	if one.Line("t") != "Bearer t" || held.Line("t") != "t" || !slices.Equal(one.Names(), []string{"Authorization"}) || !slices.Equal(held.Names(), []string{"X-Token", "X-Handle"}) {
		t.Errorf("%q %q", one.Names(), held.Names())
	}
	if !strings.Contains(one.Summary(), "at most 2200 bytes, renewed") || !strings.Contains(held.Summary(), "more than 7200 bytes as a handle in X-Handle") {
		t.Errorf("%s\n%s", one.Summary(), held.Summary())
	}
}

func TestExchangeSummary(t *testing.T) {
	var none *Exchange
	x := &Exchange{Clients: []string{"agent"}, Workloads: []Workload{{"https://k8s", "job"}}}
	alone := x.Summary()
	x.Targets = []Target{{Resource: "https://b/mcp", Scopes: oauth.Scopes{"read"}}}
	if none.Summary() != "" || alone != ", exchanges tokens as agent, job" || x.Summary() != alone+", also for https://b/mcp (read)" {
		t.Errorf("%q, %q", alone, x.Summary())
	}
}
