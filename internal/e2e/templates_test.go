//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/mcp-forward-auth/mcp-forward-auth/docs/gateways"
)

// The objects of the chart that make a gateway ask, as the golden files have
// them, put into the configuration of a real gateway as the controller would:
// Envoy for Envoy Gateway and Istio, Traefik, and nginx for NGINX Gateway Fabric.
// What leads to the MCP server is wider than anything the chart makes: each path
// and each host.

// golden decodes the objects of one kind in a golden file of the chart into T.
func golden[T any](t *testing.T, file, kind string) []T {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "charts", "mcp-forward-auth", "ci", "golden", file))
	if err != nil {
		t.Fatal(err)
	}
	var out []T
	for _, document := range strings.Split(string(text), "\n---\n") {
		var head struct{ Kind string }
		var object struct{ Spec T }
		if err := yaml.Unmarshal([]byte(document), &head); err != nil {
			t.Fatal(err)
		}
		if head.Kind != kind {
			continue
		}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatal(err)
		}
		out = append(out, object.Spec)
	}
	if len(out) == 0 {
		t.Fatalf("ci/golden/%s has no %s", file, kind)
	}
	return out
}

type httpRoute struct {
	Rules []struct {
		Matches []struct{ Path struct{ Type, Value string } }
		Filters []struct {
			Type         string
			ExternalAuth struct {
				HTTP struct {
					Path                                   string
					AllowedHeaders, AllowedResponseHeaders []string
				}
			}
			RequestHeaderModifier struct{ Remove []string }
		}
	}
}

type securityPolicy struct {
	ExtAuth struct {
		FailOpen         bool
		StatusOnError    int
		Timeout          string
		HeadersToExtAuth []string
		HTTP             struct {
			Path             string
			HeadersToBackend []string
		}
		GRPC *struct{}
	}
}

type authorizationPolicy struct {
	Action   string
	Provider struct{ Name string }
	Rules    []struct {
		To []struct {
			Operation struct{ NotHosts, NotPaths, Hosts, Paths []string }
		}
	}
}

// jsonText is a value for the YAML of Envoy, of which JSON is a part.
func jsonText(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

type object = map[string]any

// matchers are Envoy's for the names in a list of Istio or Envoy Gateway: NAME, NAME* or *NAME.
func matchers(names []string) []object {
	var out []object
	for _, name := range names {
		switch {
		case strings.HasSuffix(name, "*"):
			out = append(out, object{"prefix": strings.TrimSuffix(name, "*"), "ignore_case": true})
		case strings.HasPrefix(name, "*"):
			out = append(out, object{"suffix": strings.TrimPrefix(name, "*"), "ignore_case": true})
		default:
			out = append(out, object{"exact": name, "ignore_case": true})
		}
	}
	return out
}

const (
	typed    = "@type"
	extAuthz = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
)

// envoyFilter is one HTTP filter.
func envoyFilter(name string, config object) object {
	return object{"name": name, "typed_config": config}
}

// envoyAround is an Envoy with the filters before its router. The paths of the
// service go to it, with perFilter; everything else goes to the MCP server.
func envoyAround(t *testing.T, path string, site gatewaySite, filters []object, perFilter, manager object) *process {
	t.Helper()
	cluster := func(name, address string, h2 bool) object {
		host, port, _ := strings.Cut(address, ":")
		var number int
		fmt.Sscan(port, &number)
		c := object{"name": name, "type": "STATIC", "connect_timeout": "1s", "load_assignment": object{"cluster_name": name,
			"endpoints": []object{{"lb_endpoints": []object{{"endpoint": object{"address": object{"socket_address": object{"address": host, "port_value": number}}}}}}}}}
		if h2 {
			const options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
			c["typed_extension_protocol_options"] = object{options: object{typed: "type.googleapis.com/" + options,
				"explicit_http_config": object{"http2_protocol_options": object{}}}}
		}
		return c
	}
	var routes []object
	for _, route := range golden[httpRoute](t, "istio.yaml", "HTTPRoute") { // the routes of the service
		for _, rule := range route.Rules {
			for _, m := range rule.Matches {
				match := object{"path": m.Path.Value}
				if m.Path.Type == "PathPrefix" {
					match = object{"path_separated_prefix": m.Path.Value}
				}
				routes = append(routes, object{"match": match, "route": object{"cluster": "auth"}, "typed_per_filter_config": perFilter})
			}
		}
	}
	routes = append(routes, object{"match": object{"prefix": "/"}, "route": object{"cluster": "mcp", "timeout": "0s"}, "request_headers_to_remove": []string{"authorization"}})
	config := object{typed: "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
		"stat_prefix": "mcp", "use_remote_address": true,
		"http_filters": append(filters, envoyFilter("envoy.filters.http.router", object{typed: "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"})),
		"route_config": object{"ignore_port_in_host_matching": true, "virtual_hosts": []object{{"name": "all", "domains": []string{"*"}, "routes": routes}}}}
	for key, value := range manager {
		config[key] = value
	}
	host, port, _ := strings.Cut(site.public(), ":")
	var number int
	fmt.Sscan(port, &number)
	return startEnvoy(t, path, jsonText(t, object{"static_resources": object{
		"listeners": []object{{"name": "public", "address": object{"socket_address": object{"address": host, "port_value": number}},
			"filter_chains": []object{{"filters": []object{{"name": "envoy.filters.network.http_connection_manager", "typed_config": config}}}}}},
		"clusters": []object{cluster("auth", site.Service, false), cluster("auth-grpc", site.GRPC, true), cluster("mcp", site.MCP, false)},
	}}))
}

// templateEnvoyGateway is what Envoy Gateway makes of the chart's SecurityPolicy.
func templateEnvoyGateway(file string) func(t *testing.T, path string, site gatewaySite) *process {
	return func(t *testing.T, path string, site gatewaySite) *process {
		p := golden[securityPolicy](t, file, "SecurityPolicy")[0].ExtAuth
		config := object{typed: extAuthz, "transport_api_version": "V3", "failure_mode_allow": p.FailOpen, "status_on_error": object{"code": p.StatusOnError},
			"allowed_headers": object{"patterns": matchers(p.HeadersToExtAuth)}}
		if p.GRPC != nil {
			config["grpc_service"] = object{"envoy_grpc": object{"cluster_name": "auth-grpc"}, "timeout": p.Timeout}
		} else {
			config["http_service"] = object{"server_uri": object{"uri": "http://auth", "cluster": "auth", "timeout": p.Timeout}, "path_prefix": p.HTTP.Path,
				"authorization_response": object{"allowed_upstream_headers": object{"patterns": matchers(p.HTTP.HeadersToBackend)}}}
		}
		const filter = "envoy.filters.http.ext_authz"
		return envoyAround(t, path, site, []object{envoyFilter(filter, config)},
			object{filter: object{typed: extAuthz + "PerRoute", "disabled": true}}, // no SecurityPolicy targets the routes of the service
			object{"normalize_path": true, "merge_slashes": true, "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
				"common_http_protocol_options": object{"headers_with_underscores_action": "REJECT_REQUEST"}})
	}
}

// istioProvider is the extension provider that the chart's notes print.
func istioProvider(t *testing.T) (out struct {
	PathPrefix, Timeout, StatusOnError                     string
	FailOpen                                               bool
	IncludeRequestHeadersInCheck, HeadersToUpstreamOnAllow []string
}) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "charts", "mcp-forward-auth", "ci", "golden", "istio.notes.txt"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(text), "         envoyExtAuthzHttp:\n")
	if !found {
		t.Fatal("the notes show no provider for Istio")
	}
	var lines []string
	for line := range strings.Lines(block) {
		if !strings.HasPrefix(line, "           ") {
			break
		}
		lines = append(lines, line)
	}
	if err := yaml.Unmarshal([]byte(strings.Join(lines, "")), &out); err != nil || out.PathPrefix == "" {
		t.Fatalf("%v in %s", err, block)
	}
	return out
}

// templateIstio is what Istio's pilot makes of an AuthorizationPolicy with the
// action CUSTOM: a role-based filter that only marks requests, and an ext_authz
// that asks about marked ones.
func templateIstio(manager object, policies func(t *testing.T) []authorizationPolicy) func(t *testing.T, path string, site gatewaySite) *process {
	return func(t *testing.T, path string, site gatewaySite) *process {
		rules := object{}
		for i, policy := range policies(t) {
			mustEqual(t, "action", policy.Action, "CUSTOM")
			for j, rule := range policy.Rules {
				var permissions []object
				for _, to := range rule.To {
					permissions = append(permissions, istioPermission(to.Operation.Hosts, to.Operation.NotHosts, to.Operation.Paths, to.Operation.NotPaths))
				}
				rules[fmt.Sprintf("istio-ext-authz-%d-%d", i, j)] = object{"permissions": permissions, "principals": []object{{"any": true}}}
			}
		}
		provider := istioProvider(t)
		var status int
		fmt.Sscan(provider.StatusOnError, &status)
		marks := envoyFilter("envoy.filters.http.rbac", object{typed: "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
			"shadow_rules": object{"action": "DENY", "policies": rules}, "shadow_rules_stat_prefix": "istio_ext_authz_"})
		asks := envoyFilter("envoy.filters.http.ext_authz", object{typed: extAuthz, "transport_api_version": "V3",
			"failure_mode_allow": provider.FailOpen, "status_on_error": object{"code": status},
			"filter_enabled_metadata": object{"filter": "envoy.filters.http.rbac", "path": []object{{"key": "istio_ext_authz_shadow_effective_policy_id"}},
				"value": object{"string_match": object{"prefix": "istio-ext-authz-"}}},
			"allowed_headers": object{"patterns": matchers(provider.IncludeRequestHeadersInCheck)},
			"http_service": object{"server_uri": object{"uri": "http://auth", "cluster": "auth", "timeout": provider.Timeout}, "path_prefix": provider.PathPrefix,
				"authorization_response": object{"allowed_upstream_headers": object{"patterns": matchers(provider.HeadersToUpstreamOnAllow)}}}})
		settings := object{"common_http_protocol_options": object{"headers_with_underscores_action": "DROP_HEADER"}}
		for key, value := range manager {
			settings[key] = value
		}
		return envoyAround(t, path, site, []object{marks, asks}, object{}, settings)
	}
}

// istioPermission is the generated rule: each list is one of its entries, all lists must hold.
func istioPermission(hosts, notHosts, paths, notPaths []string) object {
	authority := func(names []string) object {
		var any []object
		for _, m := range matchers(names) {
			any = append(any, object{"header": object{"name": ":authority", "string_match": m}})
		}
		return object{"or_rules": object{"rules": any}}
	}
	path := func(names []string) object {
		var any []object
		for _, m := range matchers(names) {
			delete(m, "ignore_case")
			any = append(any, object{"url_path": object{"path": m}})
		}
		return object{"or_rules": object{"rules": any}}
	}
	all := []object{{"any": true}}
	if len(hosts) > 0 {
		all = append(all, authority(hosts))
	}
	if len(notHosts) > 0 {
		all = append(all, object{"not_rule": authority(notHosts)})
	}
	if len(paths) > 0 {
		all = append(all, path(paths))
	}
	if len(notPaths) > 0 {
		all = append(all, object{"not_rule": path(notPaths)})
	}
	return object{"and_rules": object{"rules": all}}
}

// templateTraefik has the chart's Middleware before a router for everything.
func templateTraefik(t *testing.T, path string, site gatewaySite) *process {
	middleware := golden[object](t, "traefik.yaml", "Middleware")[0]
	auth := middleware["forwardAuth"].(object)
	u, err := url.Parse(auth["address"].(string))
	if err != nil {
		t.Fatal(err)
	}
	auth["address"] = "http://" + site.Service + u.Path
	var recipe object
	if err := yaml.Unmarshal([]byte(substitute(t, block(t, "traefik", gateways.Whole, "yml", 0), "Host(`mcp.example.com`)", "PathPrefix(`/`)",
		"auth:8080", site.Service, "mcp:3000", site.MCP, "      tls: {}\n", "")), &recipe); err != nil {
		t.Fatal(err)
	}
	recipe["http"].(object)["middlewares"].(object)["mcp-auth"] = middleware
	dynamic := write(t, "mcp.yml", jsonText(t, recipe))
	static := write(t, "traefik.yml", substitute(t, block(t, "traefik", gateways.Whole, "yml", 1),
		`":443"`, `"`+site.public()+`"`, "/etc/traefik/mcp.yml", dynamic))
	traefik := start(t, "traefik", nil, path, "--configFile="+static)
	traefik.waitHTTP(t, "http://"+site.public()+"/token", http.StatusBadGateway)
	return traefik
}

// templateGatewayAPI is what NGINX Gateway Fabric makes of the chart's HTTPRoute
// with its filter ExternalAuth.
func templateGatewayAPI(t *testing.T, path string, site gatewaySite) *process {
	var conf strings.Builder
	fmt.Fprintf(&conf, "server {\n listen %s;\n server_name 127.0.0.1;\n", site.public())
	seen := 0
	for _, route := range golden[httpRoute](t, "gateway-api.yaml", "HTTPRoute") {
		for _, rule := range route.Rules {
			auth, rest := "", ""
			for _, f := range rule.Filters {
				switch f.Type {
				case "ExternalAuth":
					seen++
					auth = fmt.Sprintf("/_auth_%d", seen)
					conf.WriteString(questionLocation(auth, site.Service+f.ExternalAuth.HTTP.Path, f.ExternalAuth.HTTP.AllowedHeaders))
					rest += " auth_request " + auth + ";\n"
					for _, name := range f.ExternalAuth.HTTP.AllowedResponseHeaders {
						rest += fmt.Sprintf(" auth_request_set $from_auth_%[1]s $upstream_http_%[1]s;\n proxy_set_header %[2]s $from_auth_%[1]s;\n", nginxVariable(name), name)
					}
				case "RequestHeaderModifier":
					for _, name := range f.RequestHeaderModifier.Remove {
						rest += fmt.Sprintf(" proxy_set_header %s \"\";\n", name)
					}
				case "ExtensionRef": // to a SnippetsFilter, which is not the chart's
				default:
					t.Fatalf("this test does not know the filter %s", f.Type)
				}
			}
			backend := site.MCP
			if auth == "" {
				backend = site.Service
			}
			for _, m := range rule.Matches {
				locations := []string{"= " + m.Path.Value}
				if m.Path.Type == "PathPrefix" {
					locations = append(locations, m.Path.Value+"/")
				}
				for _, l := range locations {
					fmt.Fprintf(&conf, " location %s {\n%s proxy_set_header Host $http_host;\n proxy_pass http://%s;\n }\n", l, rest, backend)
				}
			}
		}
	}
	mustEqual(t, "rules that ask", seen, 2)
	conf.WriteString(" location / { return 404; }\n}\n")
	return startConfD(t, path, conf.String())
}

func nginxVariable(header string) string {
	return strings.ReplaceAll(strings.ToLower(header), "-", "_")
}

// questionLocation asks with the client's path and method in headers of those
// names, and with no header of the client that is not listed.
func questionLocation(name, target string, headers []string) string {
	var conf strings.Builder
	fmt.Fprintf(&conf, " location = %s {\n internal;\n proxy_pass http://%s;\n proxy_pass_request_headers off;\n proxy_pass_request_body off;\n"+
		" proxy_set_header Content-Length \"\";\n proxy_set_header Host $http_host;\n proxy_set_header Path $request_uri;\n"+
		" proxy_set_header Method $request_method;\n proxy_set_header Authorization $http_authorization;\n", name, target)
	for _, header := range headers {
		fmt.Fprintf(&conf, " proxy_set_header %s $http_%s;\n", header, nginxVariable(header))
	}
	return conf.String() + " }\n"
}

// chartPolicy is the chart's AuthorizationPolicy.
func chartPolicy(t *testing.T) []authorizationPolicy {
	return golden[authorizationPolicy](t, "istio.yaml", "AuthorizationPolicy")
}

// pagePolicy is that of docs/gateways/istio.md.
func pagePolicy(t *testing.T) []authorizationPolicy {
	t.Helper()
	_, text, found := strings.Cut(block(t, "istio", "Gate", "yml", 0), "\n---\n")
	var policy struct{ Spec authorizationPolicy }
	if err := yaml.Unmarshal([]byte(text), &policy); err != nil || !found {
		t.Fatalf("docs/gateways/istio.md: %v", err)
	}
	return []authorizationPolicy{policy.Spec}
}

// Settings of the mesh: that of the page, and Istio's default.
var (
	decodeAndMerge = object{"normalize_path": true, "merge_slashes": true, "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD"}
	base           = object{"normalize_path": true}
	none           = object{"normalize_path": false}
)

// TestTemplates: what the chart makes, and the page of Istio, leaves nothing unasked.
func TestTemplates(t *testing.T) {
	envoy, nginx := installed("envoy", envoyBinary()), installed("nginx", "/usr/sbin/nginx")
	for _, kind := range []gateway{
		{name: "Envoy Gateway HTTP", path: envoy, start: templateEnvoyGateway("istio.yaml")},
		{name: "Istio", path: envoy, start: templateIstio(decodeAndMerge, chartPolicy)},
		{name: "Istio, default normalization", path: envoy, start: templateIstio(base, chartPolicy)},
		{name: "Istio, no normalization", path: envoy, start: templateIstio(none, chartPolicy)},
		{name: "Istio, the page", path: envoy, start: templateIstio(decodeAndMerge, pagePolicy)},
		{name: "Traefik", path: installed("traefik", cached("traefik-"+traefikVersion, "bin", "traefik")), start: templateTraefik},
	} {
		t.Run(kind.name, func(t *testing.T) {
			track(t)
			askEverything(t, kind)
		})
	}
	// These name identity headers of their own, so only what is closed is looked at.
	for _, kind := range []gateway{
		{name: "Envoy Gateway gRPC", path: envoy, start: templateEnvoyGateway("gateway-api.yaml")},
		{name: "NGINX Gateway Fabric", path: nginx, start: templateGatewayAPI},
	} {
		t.Run(kind.name, func(t *testing.T) {
			track(t)
			kind.path(t)
			b := &gatewayBench{stack: newStack(t, setup{provider: "static", gateway: &kind}), kind: kind, t: t, parent: t}
			b.grant, _ = signIn(t, b.statelessURL, alice)
			b.stateless.requests()
			mustEqual(t, "no token", b.anonymous(), "401 with a challenge")
			mustEqual(t, "what is not asked", b.unaskedPaths(), "nothing passes")
			mustEqual(t, "the token", b.tokenAtServer(), "does not reach the MCP server")
		})
	}
}

// A policy that names hosts and paths to ask about is a hole, and the test sees it.
func TestTemplatesNoticeAHole(t *testing.T) {
	for name, change := range map[string]func(p *authorizationPolicy){
		"paths": func(p *authorizationPolicy) {
			p.Rules[0].To[0].Operation.NotPaths, p.Rules[0].To[0].Operation.Paths = nil, []string{"/mcp", "/mcp/*"}
		},
		"hosts": func(p *authorizationPolicy) {
			p.Rules[0].To[0].Operation.Hosts = []string{"mcp.example.com:8443", "mcp.example.com:8443:*"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			track(t)
			kind := gateway{name: "Istio", path: installed("envoy", envoyBinary()), start: templateIstio(decodeAndMerge, func(t *testing.T) []authorizationPolicy {
				policies := chartPolicy(t)
				change(&policies[0])
				return policies
			})}
			b := &gatewayBench{stack: newStack(t, setup{provider: "static", gateway: &kind}), kind: kind, t: t, parent: t}
			if got := b.unaskedPaths(); !strings.Contains(got, "reached the MCP server") {
				t.Error(got)
			}
		})
	}
}
