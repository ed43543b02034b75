package config

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/kinds"
)

// wrongText is a form of a text that the program refuses, for the chart to refuse it
// too. The expressions are of the kind that Go and Helm share; they may match less
// than the program refuses, and nothing that it takes.
type wrongText struct {
	// Wrong matches what is refused; Right, if set, matches all that may be taken.
	Wrong string `json:"wrong,omitempty"`
	Right string `json:"right,omitempty"`
	// Except matches what Wrong matches and is taken.
	Except string `json:"except,omitempty"`
	// Cut is what is taken from the value where the message shows it.
	Cut string `json:"cut,omitempty"`
	// Says is the message, a format of the value, of the value in lower case, and of the
	// regular expression that a pattern for file names stands for.
	Says string `json:"says"`

	sample   string // which is refused
	document string // has the sample in the place of %s
}

const (
	anyProvider = "provider: {name: google, clientID: a, clientSecret: s, hostedDomains: [example.com]}\n"
	anyHosts    = "proxy: {hosts: [{host: a.example.com, endpoint: 'http://a'}]}\n"
	anyOIDC     = "provider: {name: oidc, clientID: a, clientSecret: s, issuerURL: %s}\n" + anyHosts
)

// wrongTexts are the forms by path.
func wrongTexts() map[string][]wrongText {
	host := func(key string) string {
		return anyProvider + "proxy: {hosts: [{host: a.example.com, endpoint: 'http://a', " + key + ": %s}]}"
	}
	own := anyProvider + "proxy: {hosts: [{host: %s, endpoint: 'http://a'}]}"
	callback := anyProvider + "proxy: {hosts: [{host: a.example.com, endpoint: 'http://a'}], callbackHost: %s}"
	listen := func(key string) wrongText {
		return wrongText{Right: `:[0-9]+$`, sample: "8080", document: anyProvider + anyHosts + "listen: {" + key + ": %s}"}
	}
	issuer := []wrongText{
		{Right: `^(?i)https?://[^/?#]`, sample: "id.example.com", document: anyOIDC},
		{Wrong: `^(?i)http://`, Except: `^(?i)http://(localhost|127\.|\[::1\])`, sample: "http://id.example.com", document: anyOIDC},
		{Wrong: `^https?://[^?#@]+/\.well-known/openid-configuration$`, Cut: `/\.well-known/openid-configuration$`, sample: "https://id.example.com/.well-known/openid-configuration", document: anyOIDC},
	}
	client := []wrongText{{Right: `^[!-~]+$`, sample: "a b", document: "provider: {name: google, clientID: %s, clientSecret: s, hostedDomains: [example.com]}\n" + anyHosts}}
	domain := []wrongText{{Wrong: `^\*`, sample: "*.example.com", document: "provider: {name: google, clientID: a, clientSecret: s, allowedEmailDomains: [%s]}\n" + anyHosts}}
	return map[string][]wrongText{
		"provider.allowedEmailDomains[]":    domain,
		"providers[].allowedEmailDomains[]": domain,
		"listen.http":                       {listen("http")},
		"listen.management":                 {listen("management")},
		"listen.grpc":                       {listen("grpc")},
		"provider.issuerURL":                issuer,
		"providers[].issuerURL":             issuer,
		"proxy.hosts[].host": {
			{Wrong: `^[A-Za-z0-9.-]*[A-Z][A-Za-z0-9.-]*[A-Za-z0-9]$`, sample: "MCP.example.com", document: own},
			{Wrong: `^[a-z0-9.-]+\.$`, sample: "mcp.example.com.", document: own},
			{Wrong: `^[a-z0-9.-]*[_ ][a-z0-9._ -]*$`, sample: "m_cp.example.com", document: own},
			{Wrong: `^[a-z0-9.-]+:([0-9]{6,}|[7-9][0-9]{4}|[^0-9/]*)$`, sample: "mcp.example.com:999999", document: own},
		},
		"proxy.hosts[].path":      {{Right: `^/`, sample: "mcp", document: host("path")}, {Wrong: `//|/\.{1,2}(/|$)`, sample: "/a/../b", document: host("path")}},
		"proxy.callbackHost":      {{Wrong: `^https?://[^@]+$`, sample: "https://auth.example.com", document: callback}},
		"egress.proxy":            {{Right: `^(?i)https?://`, sample: "proxy:3128", document: anyProvider + anyHosts + "egress: {proxy: %s}"}},
		"branding.accentColor":    {{Right: `^#`, sample: "red", document: anyProvider + anyHosts + "branding: {accentColor: %s}"}},
		"guard.redis.addresses[]": {{Right: `:[0-9]+$`, sample: "redis", document: anyProvider + anyHosts + "guard: {backend: redis, redis: {addresses: [%s]}}"}},
		"proxy.hosts[].endpoint": {
			{Wrong: `^(?i)https?://[^/?#]*@`, sample: "http://u:p@notes/mcp", document: anyProvider + "proxy: {hosts: [{host: a.example.com, endpoint: %s}]}"},
		},
		"proxy.hosts[].defaultScopes[]": {{Right: `^[!#-\[\]-~]+$`, sample: "a b", document: anyProvider + "proxy: {hosts: [{host: a.example.com, endpoint: 'http://a', defaultScopes: [%s]}]}"}},
		"proxy.hostsFiles[].hosts[]":    {{Wrong: `[:/ ]`, sample: "https://x", document: anyProvider + "proxy: {hosts: [{host: a.example.com, endpoint: 'http://a'}], hostsFiles: [{files: '/x/*.yaml', hosts: [%s], endpoints: ['*']}]}"}},
		"provider.clientID":             client,
		"providers[].clientID":          client,
		"listen.trustedProxies[]":       networks("listen: {trustedProxies: [%s]}"),
		"egress.deniedPrefixes[]":       networks("egress: {deniedPrefixes: [%s]}"),
	}
}

// networks are the forms of a text that is a network.
func networks(document string) []wrongText {
	document = anyProvider + anyHosts + document
	return []wrongText{
		{Right: `^[0-9a-fA-F:.]+/[0-9]+$`, sample: "10.0.0.1", document: document},
		{Wrong: `^[0-9.]+/(3[3-9]|[4-9][0-9]|[0-9]{3,})$`, sample: "10.0.0.0/33", document: document},
	}
}

// said returns what the program says of the sample, as a format.
func (w wrongText) said(t *testing.T) string {
	t.Helper()
	_, err := Parse(fmt.Appendf(nil, w.document, "'"+w.sample+"'"), testFiles)
	found, ok := errors.AsType[conf.Errors](err)
	if !ok || len(found) != 1 {
		t.Fatalf("%q is not refused with one mistake: %v", w.sample, err)
	}
	shown := w.sample
	if w.Cut != "" {
		shown = regexp.MustCompile(w.Cut).ReplaceAllString(shown, "")
	}
	if !w.refuses(w.sample) || strings.Contains(found[0].Problem, "%") {
		t.Fatalf("%+v is not about its sample, or its message is no format", w)
	}
	says := found[0].Problem
	if lower := strings.ToLower(shown); lower != shown {
		says = strings.ReplaceAll(says, fmt.Sprintf("%q", lower), "%[2]q")
	}
	says = strings.ReplaceAll(says, fmt.Sprintf("%q", ".*"+regexp.QuoteMeta(strings.TrimPrefix(shown, "*"))), "%[3]q")
	return strings.ReplaceAll(says, fmt.Sprintf("%q", shown), "%[1]q")
}

// refuses is what the template decides.
func (w wrongText) refuses(value string) bool {
	match := func(pattern string) bool { return regexp.MustCompile(pattern).MatchString(value) }
	if w.Right != "" {
		return !match(w.Right)
	}
	return match(w.Wrong) && (w.Except == "" || !match(w.Except))
}

// addWrongTexts adds the forms to rules.
func addWrongTexts(t *testing.T, rules []chartRule) []chartRule {
	t.Helper()
	forms := wrongTexts()
	for _, path := range slices.Sorted(maps.Keys(forms)) {
		rule := chartRule{Path: path}
		if slices.ContainsFunc(rules, func(r chartRule) bool { return r.Path == path }) {
			t.Fatalf("two rules for %s", path)
		}
		for _, w := range forms[path] {
			w.Says = w.said(t)
			rule.Wrong = append(rule.Wrong, w)
		}
		rules = append(rules, rule)
	}
	return rules
}

// variables are what no text may hold.
func variables(t *testing.T) []wrongText {
	t.Helper()
	w := wrongText{Wrong: `\$\{[A-Za-z_][A-Za-z0-9_.:-]*\}|\{\{.*\}\}`, sample: "${CLIENT_ID}", document: "provider: {name: google, clientID: %s, clientSecret: s, hostedDomains: [example.com]}\n" + anyHosts}
	w.Says = w.said(t)
	return []wrongText{w}
}

// needsOfGuards are what each store needs, as needsOfProviders has it.
func needsOfGuards(t *testing.T) (needs []need) {
	t.Helper()
	for backend, unless := range map[string][]string{"postgres": {"address", "urlFile"}, "redis": {"addresses"}} {
		_, err := Parse([]byte(anyProvider+anyHosts+"guard: {backend: "+backend+"}"), testFiles)
		found, ok := errors.AsType[conf.Errors](err)
		if !ok || len(found) != 1 {
			t.Fatalf("%s: %v", backend, err)
		}
		needs = append(needs, need{backend, found[0].Path, found[0].Problem, unless})
	}
	slices.SortFunc(needs, func(a, b need) int { return strings.Compare(a.Kind, b.Kind) })
	return needs
}

// keysOfKinds are the keys of each kind of provider.
func keysOfKinds() map[string][]string {
	keysOf := func(section any) (keys []string) {
		for _, field := range conf.Fields(reflect.TypeOf(section).Elem()) {
			keys = append(keys, field.Tag.Get("json"))
		}
		return keys
	}
	_, all := new(ProviderFile).Further()
	var further []string
	for _, settings := range all {
		further = append(further, keysOf(settings)...)
	}
	shared := slices.DeleteFunc(keysOf(new(ProviderFile)), func(key string) bool { return slices.Contains(further, key) })
	keys := map[string][]string{}
	for _, kind := range kinds.Names() {
		own, _ := (&ProviderFile{Name: kind}).Further()
		keys[kind] = slices.Concat(shared, keysOf(own))
	}
	return keys
}

// What the chart refuses the program refuses: changed in one place, values that are
// good for some key are tried at every key that has forms.
func TestChartRefusesNothingGood(t *testing.T) {
	var values []string
	for _, good := range []string{
		"mcp.example.com", "mcp.example.com:8443", "[::1]:8443", "10.0.0.0/8", "2001:db8::/32", ":8080", "127.0.0.1:0",
		"https://id.example.com/realms/main", "http://localhost:8080/mcp", "http://notes.default.svc/mcp", "/mcp", "read:notes", "#0a7d55", "*.{1}.example.com", `example\.com`, "client-1.apps",
	} {
		values = append(values, good, strings.ToUpper(good))
		for _, at := range []int{0, len(good) / 2, len(good)} {
			for _, put := range []string{" ", ".", "_", "/", ":", "@", "?", "#", "*", "A", "9", "99999", "%", "ü", "{{x}}", "${X}", "/.well-known/openid-configuration"} {
				values = append(values, good[:at]+put+good[at:])
			}
		}
	}
	forms := wrongTexts()
	forms["any text"] = variables(t)
	for path, list := range forms {
		refused := 0
		for _, value := range values {
			if !slices.ContainsFunc(list, func(w wrongText) bool { return w.refuses(value) }) {
				continue
			}
			refused++
			if _, err := Parse(fmt.Appendf(nil, list[0].document, "'"+value+"'"), testFiles); err == nil {
				t.Errorf("%s: the chart refuses %q, and the program takes it", path, value)
			}
		}
		if refused == 0 {
			t.Errorf("%s: the chart refuses none of the values", path)
		}
	}
}
