package config

import (
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// A dependency is a key that is a mistake, or makes the lack of another one, while none
// of others is set. Keys of entries of a list are named from the entry on; a key that
// begins with "/" is one of the whole document, and "=" says which value counts. A list on
// the way of a key stands for any of its entries.
type dependency struct {
	// Each is the list whose entries are looked at; "" is the document.
	Each string `json:"each,omitempty"`
	// When is the key; "" stands for every entry.
	When string `json:"when,omitempty"`
	// With are keys that have to be set as well.
	With []string `json:"with,omitempty"`
	// At is where the mistake is, from the entry on.
	At     string   `json:"at,omitempty"`
	Unless []string `json:"unless,omitempty"`
	// Says is the message, where "@" stands for the path of the entry.
	Says string `json:"says"`

	sample string            // a value of When, in YAML
	beside map[string]string // values of each of With
	mends  map[string]string // values of each of Unless
}

// dependencies are those that the chart knows.
func dependencies() []dependency {
	const host, on = "proxy.hosts", "true"
	list := []dependency{
		{When: "pushedRequests.required", sample: on, mends: map[string]string{"pushedRequests.enabled": on}},
		{When: "limits.addressRequests", sample: "10", mends: map[string]string{"listen.trustedProxies": "[10.0.0.0/8]"}},
		{When: "proxy.disableConsentScreen", sample: on, mends: map[string]string{"proxy.allowedRedirectURLs": "['https://a/']"}},
		{When: "provider.id", sample: "a", mends: map[string]string{"providers": "[{id: a}]"}},
		{When: "provider.keepSubjects", sample: on, mends: map[string]string{"providers": "[{id: a}]"}},
		{When: "guard.redis", sample: "{username: a}", mends: map[string]string{"guard.backend=redis": "redis"}},
		{When: "guard.postgres", sample: "{username: a}", mends: map[string]string{"guard.backend=postgres": "postgres"}},
		{When: "dpop.nonces", sample: on, mends: map[string]string{"proxy.hosts.dpop": "accepted"}},
		{When: "dpop.nonceLifetime", sample: "1m", mends: map[string]string{"dpop.nonces": on}},
		{When: "tls.redirect", sample: "':80'", mends: map[string]string{"tls.certificates": "[{certFile: a, keyFile: b}]", "tls.acme.enabled": on}},
		{When: "tls.acme.enabled", At: "tls.acme.agreeToTerms", sample: on, mends: map[string]string{"tls.acme.agreeToTerms": on}},
		{When: "tls.acme.enabled", At: "tls.acme.cacheDir", sample: on, mends: map[string]string{"tls.acme.cacheDir": "/a"}},
		{When: "apiKeys.webhook.prefixes", At: "apiKeys.webhook.url", sample: "[a-]", mends: map[string]string{"apiKeys.webhook.url": "https://a"}},
		{When: "apiKeys.webhook.url", At: "apiKeys.webhook.prefixes", sample: "https://a", mends: map[string]string{"apiKeys.webhook.prefixes": "[a-]"}},
		{When: "egress.proxyCredentialsFile", At: "egress.proxy", sample: "a", mends: map[string]string{"egress.proxy": "http://a:1"}},
		{When: "egress.proxyMCPServers", At: "egress.proxy", sample: on, mends: map[string]string{"egress.proxy": "http://a:1"}},
		{Each: host, When: "extMCP", sample: on, mends: map[string]string{"/listen.grpc": "':9001'"}},
		{Each: host, When: "envoyMCP", sample: on, mends: map[string]string{"/listen.grpc": "':9001'"}},
		{Each: host, When: "personalKeys.enabled", sample: on, mends: map[string]string{"/proxy.hosts.account": on}},
		{Each: host, When: "apiKeys.header", sample: "X-Key", mends: map[string]string{"apiKeys.enabled": on, "personalKeys.enabled": on}},
		{Each: host, When: "kuadrant.servers", sample: "[{name: a}]", mends: map[string]string{"kuadrant.signingKeyFile": "a"}},
		{Each: host, When: "tokenExchange.targets", At: "tokenExchange.clients", sample: "[{resource: 'https://a'}]", mends: map[string]string{"tokenExchange.clients": "[a]", "tokenExchange.workloads": "[{issuer: a, subject: b}]"}},
		{Each: "apiKeys.keys", At: "hashes", mends: map[string]string{"hashes": "[a]"}},
		{Each: "apiKeys.keys", At: "scopes", mends: map[string]string{"scopes": "[a]"}},
		{Each: "apiKeys.keys", At: "expires", mends: map[string]string{"expires": "'2099-01-01'", "neverExpires": on}},
		{Each: "trustedIssuers", At: "kind", mends: map[string]string{"kind": "workload"}},
		{Each: "trustedIssuers", At: "rules", mends: map[string]string{"rules": "[{anyone: true}]", "/proxy.hosts.tokenExchange.workloads": ""}},
		{Each: "securityEvents.streams", mends: map[string]string{"push.tokenFile": "secret", "poll.endpoint": "https://a"}},
		{Each: "securityEvents.streams", When: "poll.endpoint", At: "poll.tokenFile", sample: "https://a", mends: map[string]string{"poll.tokenFile": "secret"}},
		{Each: "clients", At: "redirectURIs", mends: map[string]string{"redirectURIs": "['https://a/']", "grantTypes": "[client_credentials]", "/introspection.enabled": ""}},
	}
	for key, sample := range map[string]string{"agreeToTerms": on, "cacheDir": "/a", "email": "a@example.com", "directoryURL": "https://a"} {
		list = append(list, dependency{When: "tls.acme." + key, sample: sample, mends: map[string]string{"tls.acme.enabled": on}})
	}
	for key, sample := range map[string]string{"idleTimeout": "10m", "requestHeaders": "[X-A]", "cookies": on} {
		list = append(list, dependency{Each: host, When: "serve." + key, sample: sample, mends: map[string]string{"serve.enabled": on}})
	}
	for key, sample := range map[string]string{"header": "X-A", "scheme": "Bearer", "toGateway": on} {
		list = append(list, dependency{Each: host, When: "serverCredential." + key, sample: sample, mends: map[string]string{"serverCredential.file": "secret"}})
	}
	for key, sample := range map[string]string{"provider": "google", "form": "client", "header": "X-A", "scopes": "[a]", "minLifetime": "1m", "accessTokenLifetime": "1h", "gatewayHeaderBytes": "4000"} {
		list = append(list, dependency{Each: host, When: "providerToken." + key, At: "providerToken.token", sample: sample, mends: map[string]string{"providerToken.token": "access"}})
	}
	list = append(list, exclusions()...)
	list = append(list, rulesThatSayTooLittle()...)
	slices.SortFunc(list, func(a, b dependency) int {
		return slices.Compare(a.order(), b.order())
	})
	return list
}

// exclusions are keys that may not be set at the same time.
func exclusions() (list []dependency) {
	const on = "true"
	for section, key := range map[string]string{"": "provider.", "providers": ""} {
		for other, sample := range map[string]string{"hostedDomains": "[example.com]", "allowedEmailDomains": "['example\\.com']"} {
			list = append(list, dependency{Each: section, When: key + "allowAnyUser", sample: on, beside: map[string]string{key + "name=google": "google", key + other: sample}})
		}
	}
	return append(list,
		dependency{Each: "apiKeys.keys", When: "neverExpires", sample: on, beside: map[string]string{"expires": "'2099-01-01'"}},
		dependency{Each: "clients", When: "jwksURI", sample: "https://a.example.com", beside: map[string]string{"jwksFile": "secret"}},
		dependency{Each: "trustedIssuers", When: "jwksURL", sample: "https://a", beside: map[string]string{"jwksFile": "secret", "kind": "workload"}},
		dependency{When: "guard.redis.cluster", sample: on, beside: map[string]string{"guard.backend=redis": "redis", "guard.redis.sentinelMaster": "a"}},
		dependency{When: "guard.postgres.urlFile", sample: "secret", beside: map[string]string{"guard.backend=postgres": "postgres", "guard.postgres.address": "'a:1'"}},
	)
}

// rulesThatSayTooLittle, or too much: about whom they are, and what for.
func rulesThatSayTooLittle() (list []dependency) {
	const on, names = "true", "[a]"
	about := func(each string, beside map[string]string, conditions ...string) {
		whom := map[string]string{"anyone": on}
		for _, key := range conditions {
			whom[key] = names
			list = append(list, dependency{Each: each, When: "anyone", sample: on, beside: map[string]string{key: names}})
		}
		list = append(list, dependency{Each: each, beside: beside, mends: whom})
	}
	var conditions []string
	for _, condition := range rule.Conditions {
		if !condition.What {
			conditions = append(conditions, condition.Name)
		}
	}
	for _, each := range []string{"policy.rules", "proxy.hosts[].policy.rules"} {
		about(each, map[string]string{"effect": "allow"}, conditions...) // without it, that comes first
		list = append(list, dependency{Each: each, When: "tools", sample: names, beside: map[string]string{"scopes": names}})
	}
	const each = "trustedIssuers[].rules"
	about(each, nil, "subjects", "namespaces", "serviceAccounts", "groups", "roles", "contexts", "clients")
	for i := range list {
		if d := &list[i]; d.Each == each && d.When == "" {
			d.mends["claims"] = "{a: b}"
		}
	}
	return append(list,
		dependency{Each: each, When: "serviceAccounts", At: "namespaces", sample: names, mends: map[string]string{"namespaces": names}})
}

// order is by what a dependency is written down: no two have the same.
func (d dependency) order() []string {
	return slices.Concat([]string{d.Each, d.When, d.At}, slices.Sorted(maps.Keys(d.beside)), slices.Sorted(maps.Keys(d.mends)))
}

// keysOf returns the way to a key, for put.
func (d dependency) keysOf(key string) []string {
	key, _, _ = strings.Cut(key, "=")
	if rest, ok := strings.CutPrefix(key, "/"); ok {
		key = rest
	} else if d.Each != "" {
		key = strings.ReplaceAll(d.Each, "[].", ".[].") + ".[]." + key
	}
	key = strings.TrimSuffix(key, ".")
	if rest, ok := strings.CutPrefix(key, "proxy.hosts."); ok && !strings.HasPrefix(rest, "[]") {
		key = "proxy.hosts.[]." + rest
	}
	return strings.Split(key, ".")
}

// first is the path of the first entry.
func (d dependency) first() string {
	if d.Each == "" {
		return ""
	}
	return strings.ReplaceAll(d.Each, "[]", "[0]") + "[0]"
}

// said returns what the program says at the path of the mistake where keys have values.
func (d dependency) said(t *testing.T, keys map[string]string) []string {
	t.Helper()
	var tree any
	if err := yaml.Unmarshal([]byte(anyHosts), &tree); err != nil {
		t.Fatal(err)
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) { // the entry itself comes first
		var value any
		if err := yaml.Unmarshal([]byte(keys[key]), &value); err != nil {
			t.Fatal(err)
		}
		if key == "" && value == nil {
			value = map[string]any{}
		}
		tree = put(tree, d.keysOf(key), value)
	}
	document, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Parse(document, testFiles)
	found, _ := errors.AsType[conf.Errors](err)
	at := strings.Trim(conf.Join(d.first(), d.At), ".")
	var said []string
	for _, m := range found {
		if m.Path == at {
			said = append(said, m.Problem)
		}
	}
	return said
}

// chartDependencies asks the program for the messages, which end with each of the keys that
// mend them.
func chartDependencies(t *testing.T) []dependency {
	t.Helper()
	list := dependencies()
	for i := range list {
		d := &list[i]
		if d.At == "" {
			d.At = d.When
		}
		alone := map[string]string{d.When: d.sample}
		all := maps.Clone(alone)
		maps.Copy(all, d.beside)
		said := d.said(t, all)
		without := func(keys map[string]string) {
			left := d.said(t, keys)
			said = slices.DeleteFunc(said, func(text string) bool { return slices.Contains(left, text) })
		}
		d.With, d.Unless = slices.Sorted(maps.Keys(d.beside)), slices.Sorted(maps.Keys(d.mends))
		if len(d.With) > 0 {
			without(alone)
		}
		for _, key := range d.Unless {
			if d.mends[key] != "" { // else more is needed, which is not for here
				mended := maps.Clone(all)
				mended[key] = d.mends[key]
				without(mended)
			}
		}
		if len(said) != 1 {
			t.Errorf("%s[] %s with %v: mended by %v: %q", d.Each, d.When, d.With, d.Unless, said)
			continue
		}
		d.Says = said[0]
		if d.Each != "" {
			d.Says = strings.ReplaceAll(d.Says, d.first(), "@")
		}
	}
	return list
}

// emptyLists are the messages about lists that are there and empty, by path.
func emptyLists(t *testing.T, rules []chartRule) []chartRule {
	t.Helper()
	for i, rule := range rules {
		if rule.Most == 0 && !rule.Unique {
			continue
		}
		place := taggedPlace(rule)
		problem, _ := place.said(strings.ReplaceAll(place.document(t), `"VALUE"`, "[]"), "")
		if strings.HasPrefix(problem, "is empty") {
			rules[i].Empty = problem
		}
	}
	return rules
}

// endpointPath is the mistake about a path that is the endpoint's, as a format of the path
// of the entry, the path and what is wrong with it.
func endpointPath(t *testing.T) string {
	t.Helper()
	place := formed{"proxy.hosts[].path", nil, "{}"}
	of := func(path, endpoint string) string {
		problem, _ := place.said(`{"proxy": {"hosts": [{"host": "a.example.com", "path": "`+path+`", "endpoint": "http://a`+endpoint+`"}]}}`, "")
		return problem
	}
	own, derived := strings.TrimPrefix(of("/token", ""), `"/token" `), of("", "/token")
	if own == "" || strings.Count(derived, own) != 1 || strings.Count(derived, `"/token"`) != 1 {
		t.Fatalf("%q and %q", own, derived)
	}
	return "%[1]s.path: " + strings.NewReplacer(`"/token"`, "%[2]q", own, "%[3]s").Replace(derived)
}

// samePort is the mistake about two listeners at one address, as a format of the later
// one, its address, the earlier one and its address.
func samePort(t *testing.T) string {
	t.Helper()
	problem, _ := formed{"listen.management", nil, ""}.said(`{"listen": {"http": ":1111", "management": "localhost:1111"}}`, "")
	says := strings.NewReplacer(`"localhost:1111"`, "%[2]q", "listen.http", "listen.%[3]s", `":1111"`, "%[4]q").Replace(problem)
	if strings.Count(says, "%") != 3 {
		t.Fatalf("%q", problem)
	}
	return "listen.%[1]s: " + says
}

// A lifetime may not be less than another one.
type lifetime struct {
	// At is its key, and Least that of the other one, with what Default is where it is not set.
	At      string `json:"at"`
	Least   string `json:"least"`
	Default string `json:"default,omitempty"`
	// Says is the message, a format of the two.
	Says string `json:"says"`
}

// lifetimes asks the program for the messages, and what the other one is where it is not set.
func lifetimes(t *testing.T) []lifetime {
	t.Helper()
	list := []lifetime{{At: "tokens.refreshTokenLifetime", Least: "tokens.refreshTokenIdleLifetime"}, {At: "browserSessions.lifetime", Least: "browserSessions.idleLifetime"}}
	said := func(r lifetime, values map[string]string) string {
		t.Helper()
		for key, value := range values {
			values[key] = "'" + value + "'"
		}
		got := dependency{At: r.At}.said(t, values)
		if len(got) > 1 {
			t.Fatalf("%s: %q", r.At, got)
		}
		return strings.Join(got, "")
	}
	rules := chartRules(nil, reflect.TypeFor[File](), "")
	for i, r := range list {
		least := rules[slices.IndexFunc(rules, func(rule chartRule) bool { return rule.Path == r.At })].Min
		const other = "23h"
		list[i].Says = strings.NewReplacer(`"`+least+`"`, "%[1]q", `"`+other+`"`, "%[2]q").Replace(said(r, map[string]string{r.At: least, r.Least: other}))
		if !strings.Contains(list[i].Says, "%[1]q") {
			t.Errorf("%s: the program says %q", r.At, list[i].Says)
		}
		if alone := said(r, map[string]string{r.At: least}); alone != "" {
			list[i].Default = regexp.MustCompile(`, "(.*)"$`).FindStringSubmatch(alone)[1]
		}
	}
	return list
}

// A referral is a text that names another entry.
type referral struct {
	// Name is what is looked for, the first group of an expression that matches what the chart
	// can decide about; it decides about nothing else.
	Name string `json:"name"`
	// Of is what it must be the name of: "clients" by their ids, or "hosts" by theirs.
	Of string `json:"of"`
	// Says is the message, a format of the quoted text.
	Says string `json:"says"`

	beside string // what else the document has, for the program to look at it
}

// referrals are those that the chart knows, by path.
func referrals() map[string]referral {
	// Ids with a colon are of other kinds.
	ids := referral{Name: `^([A-Za-z0-9_-]{1,100})$`, Of: "clients"}
	urls := referral{Name: `^https?://([a-z0-9-]+(?:\.[a-z0-9-]+)+)(?::[0-9]+)?(?:/[A-Za-z0-9/_-]*)?$`, Of: "hosts"}
	with := func(r referral, beside string) referral {
		r.beside = beside
		return r
	}
	return map[string]referral{
		"policy.rules[].clients[]":               with(ids, "policy: {rules: [{effect: allow}]}"),
		"proxy.hosts[].policy.rules[].clients[]": with(ids, "proxy: {hosts: [{policy: {rules: [{effect: allow}]}}]}"),
		"proxy.hosts[].tokenExchange.clients[]":  with(ids, "{}"),
		"clients[].resources[]":                  with(urls, "clients: [{id: a}]"),
		"trustedIssuers[].rules[].resources[]":   with(urls, "trustedIssuers: [{kind: workload, issuer: 'https://a', rules: [{anyone: true}]}]"),
		"apiKeys.keys[].resources[]":             with(urls, "apiKeys: {keys: [{name: a}]}"),
	}
}

// addReferrals adds them to the rules, with what the program says of each.
func addReferrals(t *testing.T, rules []chartRule) []chartRule {
	t.Helper()
	all := referrals()
	for _, path := range slices.Sorted(maps.Keys(all)) {
		r, sample := all[path], map[string]string{"clients": "nightly", "hosts": "https://nowhere.example.com/mcp"}[all[path].Of]
		place := formed{path, nil, r.beside}
		says, refused := place.said(place.document(t), sample)
		if r.Says = strings.Replace(says, conf.Show(sample), "%[1]s", 1); !refused || r.Says == says || !regexp.MustCompile(r.Name).MatchString(sample) {
			t.Errorf("%s: of %q the program says %q", path, sample, says)
		}
		i := slices.IndexFunc(rules, func(rule chartRule) bool { return rule.Path == path })
		if i < 0 {
			rules, i = append(rules, chartRule{Path: path}), len(rules)
		}
		rules[i].Refers = &r
	}
	return rules
}

// What the chart would decide about, and finds nowhere, the program refuses.
func TestChartKnowsReferrals(t *testing.T) {
	for path, r := range referrals() {
		place := formed{path, nil, r.beside}
		document := place.document(t)
		for _, value := range []string{"a-b", "_", "chatgpt", "dcr1", "apikey", "https://a.example.co/", "http://example.com:8443/a/b", "https://x.a.example.com"} {
			if found := regexp.MustCompile(r.Name).FindStringSubmatch(value); found != nil && !slices.Contains([]string{"a", "a.example.com"}, found[1]) {
				if _, refused := place.said(document, value); !refused {
					t.Errorf("%s: the chart refuses %q, and the program takes it", path, value)
				}
			}
		}
	}
}
