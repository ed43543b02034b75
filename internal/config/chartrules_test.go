package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/kinds"
)

const (
	anyProvider = "provider: {name: google, clientID: a, clientSecret: s, hostedDomains: [example.com]}\n"
	anyHosts    = "proxy: {hosts: [{host: a.example.com, endpoint: 'http://a'}]}\n"
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
	// URL: the message shows the value as conf.ShowURL does.
	URL bool `json:"url,omitempty"`
	// Brief leaves out the end of the message, which the chart cannot compute.
	Brief bool `json:"-"`
	// Says is the message, a format of the quoted value, of the value in lower case, and of
	// the regular expressions that a pattern for file names and a plain text stand for.
	Says string `json:"says"`

	sample string // which is refused
}

// wrongTexts are the forms by name. Those of tags have the names that tags have.
func wrongTexts() map[string][]wrongText {
	forms := map[string][]wrongText{
		"variable": {{Wrong: `\$\{[A-Za-z_][A-Za-z0-9_.:-]*\}|\{\{.*\}\}`, sample: "${CLIENT_ID}"}},
		"text": {
			{Wrong: `(?s)^.{201,}`, sample: strings.Repeat("a", 201)},
			{Wrong: `^\s|\s$`, sample: " a"},
			{Wrong: `[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]`, sample: "a\u202eb"},
		},
		"scopes":     {{Right: `^[!#-\[\]-~]{1,200}$`, sample: "a b"}},
		"patterns":   {{Wrong: `^$|[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]`, sample: "a\tb"}, {Wrong: `\*.`, sample: "a*b"}},
		"groups":     {{Wrong: `^$`, sample: ""}, {Wrong: `,`, sample: "a,b"}},
		"address":    {{Right: `^(\[[0-9A-Za-z:.-]+\]|[a-z0-9.-]+):[1-9][0-9]{0,4}$`, sample: "redis"}},
		"network":    networks,
		"https":      append(urls("id.example.com"), secure...),
		"url":        urls("notes:8080/mcp"),
		"issuer":     slices.Concat(urls("id.example.com"), secure[:1], discovery, secure[1:]),
		"clientID":   {{Right: `^[!-~]{1,200}$`, sample: "a b"}},
		"domain":     {{Wrong: `^\*`, sample: "*.example.com"}, {Wrong: `^[a-z0-9-]+(\.[a-z0-9-]+)+$`, sample: "example.com"}, {Wrong: `^[^[]*@`, sample: `a@example\.com`}},
		"urlPattern": {{Wrong: `^\*`, sample: "*"}, {Wrong: `^https?://[a-z0-9-]+(\.[a-z0-9-]+)+(/[a-z0-9/-]*)?$`, sample: "https://app.example.com/callback"}},
		"listen":     {{Right: `:[0-9]{1,5}$`, sample: "8080"}},
		"host":       hostForms,
		"path":       pathForms(),
		"proxy":      {{Right: `^(?i)https?://`, sample: "proxy:3128", URL: true}, {Wrong: `^(?i)https?://[^/?#@]+(/.|/?\?)`, sample: "http://proxy:3128/a", URL: true}},
		"colour":     {{Right: `^#[0-9a-fA-F]{6}$`, sample: "red"}},
		"teamHosts":  {{Wrong: `[:/ ]`, sample: "https://x"}},
		"rotation":   {{Wrong: `^([0-9]m|[0-5]?[0-9]s)$`, sample: "5m"}, {Wrong: `^(2[5-9]|[3-9][0-9]|[0-9]{3,6})h$`, sample: "48h"}},
		"header":     {{Right: `^[A-Za-z0-9-]{1,64}$`, sample: "a b"}},
		"link":       {{Right: `^(?i)(https|mailto):`, sample: "help.example.com"}},
		"origin":     {{Right: `^(\*|[a-z][a-z0-9+.-]*://[^/?#A-Z@]+)$`, sample: "app.example.com"}},
		"scheme":     {{Right: `^[a-z][a-z0-9+.-]*$`, sample: "myapp://"}},
		"keyName":    {{Right: `^[A-Za-z0-9._-]{1,48}$`, sample: "a b"}},
		"keyHash":    {{Right: `^[^ :]{1,64}:[^ :]{1,256}$`, sample: "secret"}},
		"date":       {{Right: `^[0-9]{4}-[0-9]{2}-[0-9]{2}$`, sample: "tomorrow"}},
		"knownID":    {{Right: `^[!#-\[\]-~]{1,200}$`, sample: "a b"}},
		"redirect":   redirects,
		"query":      append(urls("keys.example.com"), wrongText{Wrong: `\?`, sample: "https://keys.example.com/a?b=c"}),
		"redirectTo": {{Right: `:[0-9]{1,5}$`, sample: "80"}},
		"slash":      {{Right: `^/`, sample: "a"}},
		"collector":  {{Right: `^(?i)https?://[^/?#]`, sample: "collector:4318"}},
		"domains":    {{Right: `^(\*\.)?[A-Za-z0-9.:-]+$`, sample: "claude_ai"}, {Wrong: `^[^:]*[A-Z]`, sample: "Claude.ai"}},
		"port":       {{Right: `^[1-9][0-9]{0,4}$`, sample: "https"}},
		"mail":       {{Wrong: `^[^@]*$`, sample: "admin"}},
		"ownDomain":  {{Right: `^[A-Za-z0-9.-]+$`, sample: "a b"}, {Right: `\.`, sample: "example"}},
		"issuers":    {{Right: `^(kubernetes|workload|id-jag)$`, sample: "k8s"}},
		"stream":     {{Right: `^[a-z0-9-]{1,32}$`, sample: "a b"}},
		"subject":    {{Right: `^(iss_sub|email|opaque)$`, sample: "sub"}},
	}
	forms["addresses"] = forms["address"]
	return forms
}

// urls are the forms of a text that is no http or https URL, as sample is none.
func urls(sample string) []wrongText {
	return []wrongText{
		{Wrong: `^.{1000}.{1000}.{49}`, URL: true, sample: "https://" + strings.Repeat("a", 2048)},
		{Right: `^(?i)https?://[^/?#]`, URL: true, sample: sample},
		{Wrong: `^(?i)https?://[^/?#]*@`, URL: true, sample: "https://u:p@notes/mcp"},
		{Wrong: `^(?i)https?://[^/?#]*[ <>"^{}|\\]`, URL: true, sample: "https://no tes/mcp"},
		{Wrong: `#`, URL: true, sample: "https://notes/mcp#a"},
	}
}

// secure are those of a URL to which credentials are sent.
var secure = []wrongText{
	{Wrong: `^(?i)http://`, Except: `^(?i)http://(localhost|127\.|\[::1\])`, URL: true, sample: "http://id.example.com"},
	{Wrong: `\?`, URL: true, sample: "https://id.example.com/a?b=c"},
}

var redirects = []wrongText{
	{Wrong: `[\x00-\x20\x7f-\x{10ffff}"<>\\^` + "`" + `{|}]`, sample: "https://a b"},
	{Wrong: `#`, sample: "https://app.example.com/#a"},
	{Right: `^[a-z][a-z0-9+.-]*:`, sample: "app.example.com/callback"},
	{Wrong: `^(javascript|data|vbscript|file):`, sample: "javascript:alert(1)"},
	{Wrong: `^https?:/?([^/]|$)`, sample: "https:a"},
}

var discovery = []wrongText{
	{Wrong: `^https?://[^?#@]+/\.well-known/openid-configuration$`, Cut: `/\.well-known/openid-configuration$`, sample: "https://id.example.com/.well-known/openid-configuration"},
}

// networks are the forms of a text that is no network, by the lengths of prefixes.
var networks = slices.Concat([]wrongText{
	{Right: `^([0-9a-fA-F:.]+/[0-9]+)?$`, sample: "10.0.0.1"},
	{Wrong: `^[0-9.]+/(3[3-9]|[4-9][0-9]|[0-9]{3,})$`, sample: "10.0.0.0/33"},
	{Wrong: `:.*/(129|1[3-9][0-9]|[2-9][0-9]{2}|[0-9]{4,})$`, sample: "::/129"},
}, networks4(), networks6())

// networks4 are IPv4 networks with bits beyond each length.
func networks4() (forms []wrongText) {
	for bits := range 32 {
		good := slices.Repeat([]string{"[0-9]+"}, bits/8)
		switch bits % 8 {
		case 0:
		case 7: // even
			good = append(good, "[0-9]*[02468]")
		case 6: // what four divides
			good = append(good, "([0-9]*[02468])?[048]|[0-9]*[13579][26]")
		default:
			var starts []string
			for start := 0; start < 256; start += 1 << (8 - bits%8) {
				starts = append(starts, fmt.Sprint(start))
			}
			good = append(good, strings.Join(starts, "|"))
		}
		good = append(good, slices.Repeat([]string{"0"}, 4-len(good))...)
		forms = append(forms, wrongText{Wrong: fmt.Sprintf(`^[0-9.]+/%d$`, bits), Except: fmt.Sprintf(`^(%s)/%d$`, strings.Join(good, `)\.(`), bits), Brief: true, sample: fmt.Sprintf("10.0.0.1/%d", bits)})
	}
	return forms
}

// lengths6 are the lengths of IPv6 networks that people write.
var lengths6 = []int{0, 3, 7, 8, 10, 12, 16, 20, 24, 28, 29, 32, 36, 40, 44, 48, 52, 56, 60, 64, 96, 112, 120, 124, 127}

// networks6 are IPv6 networks with bits beyond the usual lengths.
func networks6() (forms []wrongText) {
	const group, digit, more = `[0-9a-fA-F]{1,4}`, `[0-9a-fA-F]`, `[1-9a-fA-F]`
	for _, bits := range lengths6 {
		whole, rest := bits/16, bits%16
		// That the group at the edge has a digit behind it, in words: one that is not 0, before so many that are anything.
		edge := []string{}
		for behind := range 4 - (rest+3)/4 {
			edge = append(edge, fmt.Sprintf(`%s{0,3}%s%s{%d}`, digit, more, digit, behind))
		}
		if rest%4 > 0 { // the digit that is cut in two
			step := 1 << (4 - rest%4)
			bad := ""
			for d := range 16 {
				if d%step > 0 {
					bad += fmt.Sprintf("%x", d)
				}
			}
			edge = append(edge, fmt.Sprintf(`%s{0,3}[%s%s]%s{%d}`, digit, bad, strings.ToUpper(bad), digit, 3-rest/4))
		}
		set := fmt.Sprintf(`%s{0,3}%s%s{0,3}`, digit, more, digit)
		where := []string{
			// Groups are counted from the front, up to "::", and from the back, down to it.
			fmt.Sprintf(`^(%s:){%d}(%s)(:.*)?`, group, whole, strings.Join(edge, "|")),
			fmt.Sprintf(`^.*:(%s)(:%s){%d}`, strings.Join(edge, "|"), group, 7-whole),
		}
		if whole < 7 {
			where = append(where,
				fmt.Sprintf(`^(%s:){%d,7}(%s)(:.*)?`, group, whole+1, set),
				fmt.Sprintf(`^.*:(%s)(:%s){0,%d}`, set, group, 6-whole))
		}
		forms = append(forms, wrongText{Wrong: fmt.Sprintf(`(%s)/%d$`, strings.Join(where, "|"), bits), Brief: true, sample: fmt.Sprintf("2001:db8::1/%d", bits)})
	}
	return forms
}

var hostForms = []wrongText{
	{Wrong: `://`, Except: `@`, sample: "https://mcp.example.com/mcp"},
	{Wrong: `[/?#\\]`, Except: `@`, sample: "mcp.example.com/mcp"},
	{Wrong: `\*`, Except: `@`, sample: "*.example.com"},
	{Wrong: `@`, sample: "u@mcp.example.com"},
	{Wrong: `^[A-Za-z0-9.-]*[A-Z][A-Za-z0-9.-]*[A-Za-z0-9]$`, sample: "MCP.example.com"},
	{Wrong: `^[a-z0-9.-]+\.$`, sample: "mcp.example.com."},
	{Wrong: `^[a-z0-9.-]*[_ ][a-z0-9._ -]*$`, sample: "m_cp.example.com"},
	{Wrong: `^[a-z0-9.-]+:([0-9]{6,}|[7-9][0-9]{4}|[^0-9/]*)$`, sample: "mcp.example.com:999999"},
	{Wrong: `^[^:]*[^\x00-\x7f][^:]*$`, Brief: true, sample: "bücher.example.com"},
	{Wrong: `^([a-z0-9.-]*\.)?(-[a-z0-9-]*|[a-z0-9-]*-|[a-z0-9-]{64,}|)(\.[a-z0-9.-]*)?$`, sample: "-mcp.example.com"},
	{Wrong: `^[a-z0-9.-]*\.[0-9]+$`, Except: `^[0-9.]+$`, sample: "mcp.example.1"},
}

// pathForms are the forms of a public path, with each that the service has for itself.
func pathForms() []wrongText {
	forms := []wrongText{
		{Right: `^/`, sample: "mcp"},
		{Right: "^[A-Za-z0-9._~!$&'()*+,=:@/-]*$", Cut: `/$`, sample: "/m%20p"},
		{Wrong: `//|/\.{1,2}(/|$)`, Cut: `/$`, sample: "/a/../b"},
	}
	for _, own := range ownPaths {
		forms = append(forms, wrongText{Wrong: `^/` + regexp.QuoteMeta(own) + `(/|$)`, Cut: `/$`, sample: "/" + own + "/a"})
	}
	return append(forms, wrongText{Wrong: `/\.well-known(/|$)`, Cut: `/$`, sample: "/a/.well-known"})
}

// A formed place is a path with names of forms that its value may not have.
type formed struct {
	path  string
	forms []string
	// beside is what else the document has, for the program to look at the value.
	beside string
}

// formedPlaces are those that no tag tells of.
func formedPlaces() []formed {
	const none = "{}"
	places := []formed{
		{"listen.http", []string{"listen"}, none},
		{"listen.management", []string{"listen"}, none},
		{"listen.grpc", []string{"listen"}, none},
		{"proxy.hosts[].host", []string{"host"}, none},
		{"proxy.hosts[].path", []string{"path"}, none},
		{"proxy.hosts[].endpoint", []string{"url"}, none},
		{"proxy.callbackHost", []string{"host"}, none},
		{"proxy.allowedRedirectURLs[]", []string{"urlPattern"}, none},
		{"proxy.allowedRedirectSchemes[]", []string{"scheme"}, none},
		{"proxy.hosts[].cors.allowedOrigins[]", []string{"origin"}, none},
		{"proxy.hosts[].apiKeys.header", []string{"header"}, "proxy: {hosts: [{apiKeys: {enabled: true}}]}"},
		{"proxy.hosts[].authorizationServers[].issuer", []string{"https"}, none},
		{"proxy.hosts[].authorizationServers[].jwksURL", []string{"url"}, "proxy: {hosts: [{authorizationServers: [{issuer: 'https://a'}]}]}"},
		{"proxy.hosts[].pages[].path", []string{"slash"}, none},
		{"apiKeys.keys[].name", []string{"keyName"}, none},
		{"apiKeys.keys[].hashes[]", []string{"keyHash"}, "apiKeys: {keys: [{name: a}]}"},
		{"apiKeys.keys[].expires", []string{"date"}, "apiKeys: {keys: [{name: a}]}"},
		{"apiKeys.webhook.url", []string{"query"}, none},
		{"clients[].id", []string{"knownID"}, none},
		{"clients[].redirectURIs[]", []string{"redirect"}, "clients: [{id: a}]"},
		{"trustedIssuers[].kind", []string{"issuers"}, none},
		{"trustedIssuers[].issuer", []string{"https"}, "trustedIssuers: [{kind: workload}]"},
		{"trustedIssuers[].jwksURL", []string{"url"}, "trustedIssuers: [{kind: workload, issuer: 'https://a'}]"},
		{"securityEvents.streams[].id", []string{"stream"}, none},
		{"securityEvents.streams[].subjects[]", []string{"subject"}, none},
		{"keys.rotation", []string{"rotation"}, none},
		{"branding.supportURL", []string{"link"}, none},
		{"branding.privacyURL", []string{"link"}, none},
		{"branding.termsURL", []string{"link"}, none},
		{"tls.redirect", []string{"redirectTo"}, none},
		{"tracing.otlp.endpoint", []string{"collector"}, none},
		{"registration.metadataDocuments.allowedDomains[]", []string{"domains"}, none},
		{"registration.metadataDocuments.deniedDomains[]", []string{"domains"}, none},
		{"registration.metadataDocuments.allowedPorts[]", []string{"port"}, none},
		{"proxy.hostsFiles[].hosts[]", []string{"teamHosts"}, "proxy: {hostsFiles: [{files: '/x/*.yaml', endpoints: ['*']}]}"},
		{"egress.proxy", []string{"proxy"}, none},
		{"branding.accentColor", []string{"colour"}, none},
	}
	for _, key := range []string{"user", "email", "groups", "name", "client", "scope", "actor", "context", "roles", "jwt.header"} {
		places = append(places, formed{"identityHeaders." + key, []string{"header"}, none})
	}
	for _, provider := range []formed{
		{"allowedEmailDomains[]", []string{"domain"}, "{name: google}"},
		{"clientID", []string{"clientID"}, "{name: google}"},
		{"hostedDomains[]", []string{"ownDomain"}, "{name: google}"},
		{"workspace.admin", []string{"mail"}, "{name: google}"},
		{"issuerURL", []string{"issuer"}, "{name: oidc}"},
	} {
		places = append(places,
			formed{"provider." + provider.path, provider.forms, "provider: " + provider.beside},
			formed{"providers[]." + provider.path, provider.forms, "providers: [" + provider.beside + "]"})
	}
	return places
}

// taggedPlace is the place of a rule whose forms tags tell.
func taggedPlace(rule chartRule) formed {
	place := formed{rule.Path, rule.Forms, "{}"}
	section, key, _ := strings.Cut(rule.Path, ".")
	key, _, _ = strings.Cut(key, ".")
	keys := keysOfKinds()
	for _, kind := range kinds.Names() {
		switch {
		case !slices.Contains(keys[kind], strings.TrimSuffix(key, "[]")):
		case section == "provider":
			place.beside = "provider: {name: " + kind + "}"
		case section == "providers[]":
			place.beside = "providers: [{name: " + kind + "}]"
		}
	}
	return place
}

// document returns a configuration that has "VALUE" at the path of a place.
func (f formed) document(t *testing.T) string {
	t.Helper()
	var tree any
	if err := yaml.Unmarshal([]byte(anyHosts), &tree); err != nil {
		t.Fatal(err)
	}
	var beside any
	if err := yaml.Unmarshal([]byte(f.beside), &beside); err != nil {
		t.Fatal(err)
	}
	for path, v := range flatten(beside) {
		tree = put(tree, strings.Split(strings.TrimPrefix(path, "."), "."), v)
	}
	text, err := json.Marshal(put(tree, strings.Split(strings.ReplaceAll(f.path, "[]", ".[]"), "."), "VALUE"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// flatten returns the values of a tree by their paths, such as ".hosts.[].path".
func flatten(tree any) map[string]any {
	all := map[string]any{}
	switch tree := tree.(type) {
	case map[string]any:
		for key, value := range tree {
			for path, v := range flatten(value) {
				all["."+key+path] = v
			}
		}
	case []any:
		for _, value := range tree {
			for path, v := range flatten(value) {
				all[".[]"+path] = v
			}
		}
	case nil:
	default:
		all[""] = tree
	}
	return all
}

// put stores a value in a tree, at the first entry of lists.
func put(tree any, path []string, value any) any {
	if len(path) == 0 {
		return value
	}
	if path[0] == "[]" {
		list, _ := tree.([]any)
		if len(list) == 0 {
			list = []any{nil}
		}
		list[0] = put(list[0], path[1:], value)
		return list
	}
	mapping, _ := tree.(map[string]any)
	if mapping == nil {
		mapping = map[string]any{}
	}
	mapping[path[0]] = put(mapping[path[0]], path[1:], value)
	return mapping
}

// said returns what the program says of a value at the place, in a document.
func (f formed) said(document, value string) (problem string, refused bool) {
	quoted, _ := json.Marshal(value)
	_, err := Parse([]byte(strings.ReplaceAll(document, `"VALUE"`, string(quoted))), testFiles)
	found, _ := errors.AsType[conf.Errors](err)
	for _, m := range found {
		if m.Path == strings.ReplaceAll(f.path, "[]", "[0]") {
			return m.Problem, true
		}
	}
	return "", false
}

// format returns the message of the program about the sample, as a format.
func (w wrongText) format(t *testing.T, place formed) string {
	t.Helper()
	says, refused := place.said(place.document(t), w.sample)
	if !refused || !w.refuses(w.sample) {
		t.Fatalf("%s: %q is not refused, or %+v is not about it", place.path, w.sample, w)
	}
	shown := w.sample
	if w.Cut != "" {
		shown = regexp.MustCompile(w.Cut).ReplaceAllString(shown, "")
	}
	says = strings.ReplaceAll(says, "%", "%%")
	escaped := func(quoted string) string { return strings.ReplaceAll(quoted, "%", "%%") }
	if lower := strings.ToLower(shown); lower != shown {
		says = strings.ReplaceAll(says, escaped(fmt.Sprintf("%q", lower)), "%[2]q")
	}
	says = strings.ReplaceAll(says, escaped(fmt.Sprintf("%q", ".*"+regexp.QuoteMeta(strings.TrimPrefix(shown, "*")))), "%[3]q")
	if quoted := regexp.QuoteMeta(shown); quoted != shown {
		says = strings.ReplaceAll(says, escaped(fmt.Sprintf("%q", quoted)), "%[4]q")
	}
	if w.URL {
		says = strings.Replace(says, escaped(conf.ShowURL(shown)), "%[1]s", 1)
	} else if shown != "" {
		says = strings.ReplaceAll(says, escaped(conf.Show(shown)), "%[1]s")
	}
	if w.Brief {
		says = regexp.MustCompile(`; did you mean [^;]*$|: [^;:]*$`).ReplaceAllString(says, "")
	}
	return says
}

var expressions sync.Map // pattern → *regexp.Regexp

// refuses is what the template decides.
func (w wrongText) refuses(value string) bool {
	match := func(pattern string) bool {
		compiled, known := expressions.Load(pattern)
		if !known {
			compiled, _ = expressions.LoadOrStore(pattern, regexp.MustCompile(pattern))
		}
		return compiled.(*regexp.Regexp).MatchString(value)
	}
	if w.Right != "" {
		return !match(w.Right)
	}
	return match(w.Wrong) && (w.Except == "" || !match(w.Except))
}

// addForms adds the names of forms to rules, and returns the forms with what the program
// says of each.
func addForms(t *testing.T, rules []chartRule) ([]chartRule, map[string][]wrongText) {
	t.Helper()
	forms := wrongTexts()
	places := formedPlaces()
	for _, rule := range rules {
		if len(rule.Forms) > 0 {
			places = append(places, taggedPlace(rule))
		}
	}
	for _, place := range places {
		names := make([]string, len(place.forms))
		for i, name := range place.forms {
			names[i] = name
			list := wrongTexts()[name]
			for j, w := range list {
				list[j].Says = w.format(t, place)
			}
			if forms[name][0].Says != "" && !slices.Equal(forms[name], list) {
				names[i] = name + " of " + place.path // another message
			}
			forms[names[i]] = list
		}
		i := slices.IndexFunc(rules, func(r chartRule) bool { return r.Path == place.path })
		if i < 0 {
			rules, i = append(rules, chartRule{Path: place.path}), len(rules)
		}
		rules[i].Forms = names
	}
	for i := range forms["variable"] {
		forms["variable"][i].Says = forms["variable"][i].format(t, formed{"provider.clientID", nil, "provider: {name: google}"})
	}
	return rules, forms
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

// Networks are refused as the program does: what has bits beyond its length, however it is
// written, and nothing else.
func TestChartKnowsNetworks(t *testing.T) {
	refused := func(text string) bool {
		return slices.ContainsFunc(networks, func(w wrongText) bool { return w.refuses(text) })
	}
	groups := []string{"0", "0", "0", "2001", "db8", "fd00", "f", "fff0", "ABC", "8000", "c0", "0001", "1000"}
	r := rand.New(rand.NewPCG(1, 2))
	for range 4_000 {
		var text string
		bits := r.IntN(34)
		if r.IntN(4) > 0 {
			parts := make([]string, r.IntN(9))
			for i := range parts {
				parts[i] = groups[r.IntN(len(groups))]
			}
			text = strings.Join(parts, ":")
			if at := r.IntN(len(parts) + 1); len(parts) < 8 {
				text = strings.Join(parts[:at], ":") + "::" + strings.Join(parts[at:], ":")
			}
			bits = lengths6[r.IntN(len(lengths6))]
		} else {
			text = fmt.Sprintf("%d.%d.%d.%d", r.IntN(256), 16*r.IntN(16), 64*r.IntN(4)*r.IntN(2), 128*r.IntN(2)*r.IntN(2))
		}
		text = fmt.Sprintf("%s/%d", text, bits)
		p, err := netip.ParsePrefix(text)
		if wrong := err != nil || p != p.Masked(); wrong != refused(text) && (err == nil || !wrong) {
			t.Fatalf("%q: the program refuses it: %v, and the chart: %v", text, wrong, refused(text))
		}
	}
	for _, good := range []string{"fe80::/10", "fc00::/7", "2a00::/29", "::/0", "::ffff:10.0.0.0/104", "64:ff9b::/96", "0:0:0:0:0:0:0:1/128", "::/3", "2000::/3"} {
		if refused(good) {
			t.Errorf("%s is refused", good)
		}
	}
	for _, bad := range []string{"fe81::/7", "fe90::/10", "fe80:1::/10", "fe80::1/10", "2a04:1::/29", "::1/96", "1::/0"} {
		if !refused(bad) {
			t.Errorf("%s is taken", bad)
		}
	}
}

// What the chart refuses the program refuses: changed in one place, values that are
// good for some key are tried at every key that has forms.
func TestChartRefusesNothingGood(t *testing.T) {
	values := []string{"", strings.Repeat("a", 3000), "a\tb", "a\u202eb", "https://bücher.example.com/", "xn--bcher-kva.example.com", "10.0.0.1/8", "192.168.0.0/16"}
	for _, good := range []string{
		"mcp.example.com", "mcp.example.com:8443", "[::1]:8443", "10.0.0.0/8", "2001:db8::/32", ":8080", "127.0.0.1:0",
		"https://id.example.com/realms/main", "http://localhost:8080/mcp", "http://notes.default.svc/mcp", "/mcp", "read:notes", "#0a7d55", "*.{1}.example.com", `example\.com`, "client-1.apps", "tools_*", "Sales Team", "redis.default.svc:6379", "[2001:db8::1]:6379",
		"X-Auth-User", "mailto:help@example.com", "com.example.app", "com.example.app:/callback", "http://127.0.0.1/callback", "2027-01-31", "30m", "48h", "9m", "30s", "443", "iss_sub", "workload", "k1:abcdef",
	} {
		values = append(values, good, strings.ToUpper(good))
		for _, at := range []int{0, len(good) / 2, len(good)} {
			for _, put := range []string{" ", ".", "_", "/", ":", "@", "?", "#", "*", "A", "9", "99999", "%", "ü", "{{x}}", "${X}", "/.well-known/openid-configuration"} {
				values = append(values, good[:at]+put+good[at:])
			}
		}
	}
	places := append(formedPlaces(), formed{"provider.clientID", []string{"variable"}, "provider: {name: google}"})
	for _, rule := range chartRules(nil, reflect.TypeFor[File](), "") {
		places = append(places, taggedPlace(rule))
	}
	tried := map[string]bool{}
	all := wrongTexts()
	for _, place := range places {
		for _, name := range place.forms {
			refused, document := 0, place.document(t)
			for _, value := range values {
				if value == "" && !strings.HasSuffix(place.path, "[]") { // an absent key
					continue
				}
				if !slices.ContainsFunc(all[name], func(w wrongText) bool { return w.refuses(value) }) {
					continue
				}
				refused++
				if refused > 50 && refused%10 != 0 {
					continue
				}
				if tried[name] && refused > 5 { // the values are many, and a form is the same everywhere
					break
				}
				if _, is := place.said(document, value); !is {
					t.Errorf("%s: the chart refuses %q for its form %q, and the program takes it", place.path, value, name)
				}
			}
			if refused == 0 {
				t.Errorf("%s: the chart refuses none of the values for the form %q", place.path, name)
			}
			tried[name] = true
		}
	}
}
