//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/mcp-forward-auth/mcp-forward-auth/docs/gateways"
)

// gateway is a real gateway, configured by what its page in docs/gateways says:
// the blocks of the page are taken as they are, but for addresses.
type gateway struct {
	name string
	// path finds the program, and ends the test if there is none.
	path  func(t *testing.T) string
	start func(t *testing.T, path string, site gatewaySite) *process
	// wantsNames: it routes by names, and not by the addresses that stand for them elsewhere.
	wantsNames bool
	// address is where it looks for the service, if not on loopback.
	address string
	// serves: there is none, and the service itself takes the requests.
	serves bool
	// inside: the service is a part of the MCP server's program.
	inside bool
	// sees is the key of a host's entry by which the gateway shows the body, "" if it does not.
	sees string
	// differs is what is known to be otherwise than it should, by case.
	differs map[string]difference
}

// gatewaySite is what stands around a gateway. Addresses are host:port.
type gatewaySite struct {
	Port               string // of 127.0.0.1
	Service, GRPC, MCP string
	// edit adds to a recipe what its page offers beside it.
	edit func(recipe string) string
}

func (s gatewaySite) edited(recipe string) string {
	if s.edit == nil {
		return recipe
	}
	return s.edit(recipe)
}

func (s gatewaySite) public() string { return "127.0.0.1:" + s.Port }

// gatewayKinds lists them in the order of the table.
var gatewayKinds = []gateway{
	{name: "nginx", path: installed("nginx", "/usr/sbin/nginx"), start: recipeNginx, differs: without(nginxDiffers, true)},
	{name: "Caddy", path: installed("caddy", cached("caddy-"+caddyVersion, "caddy")), start: recipeCaddy, differs: without(caddyDiffers, true)},
	{name: "HAProxy", path: installed("haproxy", "/usr/sbin/haproxy"), start: recipeHAProxy, differs: without(haproxyDiffers, true)},
	{name: "Envoy HTTP", path: installed("envoy", envoyBinary()), start: recipeEnvoyHTTP, differs: without(envoyHTTPDiffers, false)},
	{name: "Envoy gRPC", path: installed("envoy", envoyBinary()), start: recipeEnvoyGRPC, differs: without(envoyGRPCDiffers, false)},
	{name: "Traefik", path: installed("traefik", cached("traefik-"+traefikVersion, "bin", "traefik")), start: recipeTraefik, differs: without(traefikDiffers, false)},
	{name: "none: [served](../served-hosts.md)", path: func(*testing.T) string { return "" }, serves: true, differs: servedDiffers},
}

// withLibrary are gatewayKinds and a program that has the service inside, which has to do
// what a served host does.
var withLibrary = append(slices.Clone(gatewayKinds), gateway{name: "none: [a library](../library.md)", path: func(*testing.T) string { return "" }, serves: true, inside: true, differs: servedDiffers})

// Versions that hack/e2e/install.sh installs.
const (
	caddyVersion     = "2.11.9"
	envoyVersion     = "1.40.0"
	traefikVersion   = "3.7.15"
	claudeVersion    = "2.1.332"
	codexVersion     = "0.171.0"
	openCodeVersion  = "1.18.33"
	inspectorVersion = "2.12.0"
)

// cached is a program in the folder of install.sh.
func cached(path ...string) string {
	dir := os.Getenv("E2E_CACHE")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(cache, "mcp-forward-auth-e2e")
	}
	return filepath.Join(append([]string{dir}, path...)...)
}

// envoyBinary is the program in the Python package, which `bin/envoy` only starts.
func envoyBinary() string {
	found, _ := filepath.Glob(cached("envoy-"+envoyVersion, "lib", "python3*", "site-packages", "envoy", "_bin", "envoy"))
	if len(found) == 0 {
		return ""
	}
	return found[0]
}

func installed(name string, candidates ...string) func(t *testing.T) string {
	candidates = slices.DeleteFunc(candidates, func(c string) bool { return c == "" })
	return func(t *testing.T) string { return program(t, name, candidates...) }
}

// block is one block of a page.
func block(t *testing.T, page, heading, language string, n int) string {
	t.Helper()
	for _, b := range gateways.Blocks(page, heading) {
		if b.Language != language {
			continue
		}
		if n == 0 {
			return b.Text
		}
		n--
	}
	t.Fatalf("docs/gateways/%s.md: too few %s blocks under %q", page, language, heading)
	return ""
}

// substitute replaces old by new, and wants each old to be there.
func substitute(t *testing.T, text string, oldnew ...string) string {
	t.Helper()
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(text, oldnew[i]) {
			t.Fatalf("the recipe has no %q", oldnew[i])
		}
		text = strings.ReplaceAll(text, oldnew[i], oldnew[i+1])
	}
	return text
}

// write puts a configuration in a folder of its own.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func recipeNginx(t *testing.T, path string, site gatewaySite) *process {
	t.Helper()
	return startRecipe(t, path, site, substitute(t, site.edited(block(t, "nginx", gateways.Whole, "nginx", 0)),
		"listen 443 ssl;", "listen "+site.public()+";", "server_name mcp.example.com;", "server_name 127.0.0.1;",
		"    ssl_certificate     /etc/nginx/tls/mcp.example.com.crt;\n", "", "    ssl_certificate_key /etc/nginx/tls/mcp.example.com.key;\n", "",
		"server auth:8080;", "server "+site.Service+";", "server mcp:3000;", "server "+site.MCP+";"))
}

// startRecipe runs a recipe for the default port, which $host lacks; this one is another.
func startRecipe(t *testing.T, path string, site gatewaySite, recipe string) *process {
	t.Helper()
	recipe = substitute(t, recipe, "X-Original-URL $scheme://$host$request_uri;", "X-Original-URL $scheme://$public_host$request_uri;")
	return startConfD(t, path, "map $host:$http_host $public_host { \"127.0.0.1:"+site.public()+"\" "+site.public()+"; default $host; }\n"+recipe)
}

// startConfD puts a file for conf.d into the smallest nginx.conf.
func startConfD(t *testing.T, path, text string) *process {
	t.Helper()
	dir, user := t.TempDir(), ""
	if os.Getuid() == 0 {
		user = "user root;\n"
	}
	conf := write(t, "nginx.conf", "daemon off;\nworker_processes 1;\n"+user+"pid "+dir+"/nginx.pid;\nerror_log stderr notice;\nevents {}\nhttp {\n"+
		"access_log "+dir+"/access.log;\nclient_body_temp_path "+dir+"/body;\nproxy_temp_path "+dir+"/proxy;\n"+
		"fastcgi_temp_path "+dir+"/fastcgi;\nuwsgi_temp_path "+dir+"/uwsgi;\nscgi_temp_path "+dir+"/scgi;\n"+text+"}\n")
	return start(t, "nginx", nil, path, "-p", dir, "-c", conf, "-e", "stderr")
}

func recipeCaddy(t *testing.T, path string, site gatewaySite) *process {
	t.Helper()
	recipe := substitute(t, site.edited(block(t, "caddy", gateways.Whole, "caddyfile", 0)),
		"mcp.example.com {", "http://"+site.public()+" {", "auth:8080", site.Service, "mcp:3000", site.MCP)
	conf := write(t, "Caddyfile", "{\n\tadmin off\n\tauto_https off\n\tdefault_bind 127.0.0.1\n\tpersist_config off\n}\n"+recipe)
	dir := t.TempDir()
	return start(t, "caddy", []string{"HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir}, path,
		"run", "--adapter", "caddyfile", "--config", conf)
}

func recipeHAProxy(t *testing.T, path string, site gatewaySite) *process {
	t.Helper()
	return startHAProxy(t, path, site, block(t, "haproxy", "Gate", "lua", 0))
}

func startHAProxy(t *testing.T, path string, site gatewaySite, lua string) *process {
	t.Helper()
	script := write(t, "mcp-auth.lua", lua)
	conf := write(t, "haproxy.cfg", substitute(t, site.edited(block(t, "haproxy", gateways.Whole, "haproxy", 0)),
		"/etc/haproxy/mcp-auth.lua", script, "bind :443 ssl crt /etc/haproxy/mcp.example.com.pem", "bind "+site.public(),
		"auth:8080", site.Service, "mcp:3000", site.MCP))
	return start(t, "haproxy", nil, path, "-db", "-f", conf)
}

// When the script breaks, HAProxy goes on with the next rule.
func TestHAProxyScriptFails(t *testing.T) {
	const begins = "  local given = txn.http:req_get_headers()\n"
	for name, broken := range map[string]string{
		"at once":         "  error('broken')\n" + begins,
		"waits too long":  "  while true do core.msleep(100) end\n" + begins,
		"computes long":   "  while true do end\n" + begins,
		"says nothing":    "  if true then return end\n" + begins,
		"calls a nothing": "  txn.nothing.at_all()\n" + begins,
	} {
		t.Run(name, func(t *testing.T) {
			track(t)
			kind := gateway{path: installed("haproxy", "/usr/sbin/haproxy"), start: func(t *testing.T, path string, site gatewaySite) *process {
				return startHAProxy(t, path, site, substitute(t, block(t, "haproxy", "Gate", "lua", 0), begins, broken))
			}}
			st := newStack(t, setup{provider: "static", gateway: &kind})
			ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, "POST", st.statelessURL, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := browser.Do(req)
			if err == nil {
				resp.Body.Close()
				mustEqual(t, "status", resp.StatusCode, http.StatusServiceUnavailable)
			}
			mustEqual(t, "requests that reached the MCP server", len(st.stateless.requests()), 0)
		})
	}
}

// envoyConfiguration puts addresses into the recipe, whose clusters look names up.
func envoyConfiguration(t *testing.T, text string, site gatewaySite) string {
	t.Helper()
	address := func(hostport string) string {
		host, port, _ := strings.Cut(hostport, ":")
		return "address: " + host + ", port_value: " + port + "}"
	}
	return substitute(t, text, "address: 0.0.0.0, port_value: 8443}", address(site.public()),
		"address: auth, port_value: 8080}", address(site.Service), "address: mcp, port_value: 3000}", address(site.MCP),
		"domains: [mcp.example.com]", `domains: ["`+site.public()+`"]`)
}

func recipeEnvoyHTTP(t *testing.T, path string, site gatewaySite) *process {
	t.Helper()
	return startEnvoy(t, path, site.edited(envoyConfiguration(t, block(t, "envoy", gateways.Whole, "yml", 0), site)))
}

func recipeEnvoyGRPC(t *testing.T, path string, site gatewaySite) *process {
	t.Helper()
	return startEnvoy(t, path, site.edited(envoyGRPC(t, site)))
}

// envoyGRPC replaces the first filter by the other, and its cluster with the others, as
// the page says.
func envoyGRPC(t *testing.T, site gatewaySite) string {
	t.Helper()
	indent := func(text string, n int) string {
		var b strings.Builder
		for line := range strings.Lines(text) {
			b.WriteString(strings.Repeat(" ", n) + line)
		}
		return b.String()
	}
	text := envoyConfiguration(t, block(t, "envoy", gateways.Whole, "yml", 0), site)
	const filter = "                  - name: envoy.filters.http."
	before, rest, ok := strings.Cut(text, filter+"ext_authz\n")
	_, after, ok2 := strings.Cut(rest, filter+"router\n")
	if !ok || !ok2 {
		t.Fatal("docs/gateways/envoy.md: the filters ext_authz and router are not where they were")
	}
	cluster := substitute(t, block(t, "envoy", "Gate", "yml", 2), "address: auth, port_value: 9001}",
		"address: 127.0.0.1, port_value: "+strings.TrimPrefix(site.GRPC, "127.0.0.1:")+"}")
	return before + indent(block(t, "envoy", "Gate", "yml", 1), 18) + filter + "router\n" + after + indent(cluster, 4)
}

func startEnvoy(t *testing.T, path, configuration string) *process {
	t.Helper()
	if _, err := yaml.YAMLToJSON([]byte(configuration)); err != nil {
		t.Fatalf("docs/gateways/envoy.md: %v\n%s", err, configuration)
	}
	conf := write(t, "envoy.yaml", configuration)
	return start(t, "envoy", nil, path, "-c", conf, "--use-dynamic-base-id", "--log-level", "warning", "--concurrency", "1", "--file-flush-interval-msec", "100")
}

// Over gRPC the verified claims are there for later filters and access logs.
func TestEnvoyMetadata(t *testing.T) {
	track(t)
	var envoy *process
	kind := gatewayKinds[slices.IndexFunc(gatewayKinds, func(g gateway) bool { return g.name == "Envoy gRPC" })]
	kind.start = func(t *testing.T, path string, site gatewaySite) *process {
		const logged = `
                access_log:
                  - name: envoy.access_loggers.stdout
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
                      log_format: {text_format_source: {inline_string: "claims %DYNAMIC_METADATA(envoy.filters.http.ext_authz)%\n"}}`
		envoy = startEnvoy(t, path, substitute(t, envoyGRPC(t, site), "stat_prefix: mcp", "stat_prefix: mcp"+logged))
		return envoy
	}
	st := newStack(t, setup{provider: "static", gateway: &kind})
	g, _ := signIn(t, st.statelessURL, alice)
	resp, _ := callTool(t, st.statelessURL, "whoami", g)
	mustEqual(t, "status", resp.StatusCode, http.StatusOK)
	var claims struct {
		Sub, Scope, JTI string
		ClientID        string `json:"client_id"`
		Exp             float64
	}
	for range 50 {
		for line := range strings.Lines(envoy.out.String()) {
			if text, ok := strings.CutPrefix(line, "claims {"); ok {
				if err := json.Unmarshal([]byte("{"+text), &claims); err != nil {
					t.Fatal(err)
				}
			}
		}
		if claims.Sub != "" {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if claims.Sub == "" || claims.ClientID == "" || claims.JTI == "" || claims.Exp < float64(time.Now().Unix()) || !strings.Contains(claims.Scope, scopeRead) {
		t.Errorf("the access log has the claims %+v", claims)
	}
}

func recipeTraefik(t *testing.T, path string, site gatewaySite) *process {
	t.Helper()
	dynamic := write(t, "mcp.yml", site.edited(substitute(t, block(t, "traefik", gateways.Whole, "yml", 0),
		"Host(`mcp.example.com`)", "Host(`127.0.0.1`)", "auth:8080", site.Service, "mcp:3000", site.MCP, "      tls: {}\n", "")))
	static := write(t, "traefik.yml", substitute(t, block(t, "traefik", gateways.Whole, "yml", 1),
		`":443"`, `"`+site.public()+`"`, "/etc/traefik/mcp.yml", dynamic))
	traefik := start(t, "traefik", nil, path, "--configFile="+static)
	// It listens before it has read its routes, and answers 404 until then.
	traefik.waitHTTP(t, "http://"+site.public()+"/token", http.StatusBadGateway)
	return traefik
}

// What is known to be otherwise, and why that may be so.
var (
	nginxDiffers = map[string]difference{
		"a scope that is not granted":               {"401 with a challenge: insufficient_scope", "In the dialect of nginx the service asks for more scopes with a 401 unless `stepUp` says otherwise, because nginx without the lines under \"Step-up\" drops the challenge of a 403."},
		"two Authorization headers":                 {"400", "nginx refuses the request itself, before it asks the service."},
		"the body of a denial":                      {"that of the gateway", "`auth_request` passes on the status and the challenge, and nothing else."},
		"a forged X-Auth-Request-* of another name": unlisted,
	}
	caddyDiffers = map[string]difference{
		"the service is down": {"502", "Caddy tells the client what went wrong with the sub-request as it does for every other."},
		"the service hangs":   {"504 in time", "Caddy tells the client what went wrong with the sub-request as it does for every other."},
	}
	haproxyDiffers   = map[string]difference{}
	envoyHTTPDiffers = map[string]difference{"a forged X-Auth-Request-* of another name": unlisted, listedSeen: whole}
	envoyGRPCDiffers = map[string]difference{"a forged X-Auth-Request-* of another name": unlisted}
	traefikDiffers   = map[string]difference{
		listedSeen:            whole,
		"the service is down": {"500", "Traefik has no other answer to a sub-request that fails."},
		"the service hangs":   {"500 after 30s", "Traefik waits 30 s for the sub-request and has no option for that."},
	}
	servedDiffers = map[string]difference{
		headersLie:                          {"400", "The body is seen, and this service refuses headers that say something else."},
		olderStrict:                         {insufficient, "The body decides, so a client of an older revision gets what it may have, and a challenge for the rest."},
		"`Connection: X-Auth-Request-User`": {"400", "The service refuses a request whose Connection names a header that is for the MCP server."},
		"the service is down":               ownGateway,
		"the service hangs":                 ownGateway,
		"the service answers 302, 404, 500 or nonsense": ownGateway,
	}
	ownGateway = difference{notAsked, "Nothing asks the service: it takes the requests itself."}
	older      = difference{"passes", "By itself this gateway does not show the body. Clients of revisions before 2026-07-28 are held to their scopes only where the body is seen: see [tool policy](../tool-policy.md)."}
	whole      = difference{"whole", "This gateway does not hand lists over: a client sees every tool, and is refused those that its token does not open."}
	unseen     = difference{cannotBeHad, "This gateway never shows the body of a request."}
	unlisted   = difference{"passes", "This gateway can remove headers only by their whole name. The service sets three headers and no other, whatever an MCP server may believe: see `identityHeaders`."}
)

// without adds what is so at every gateway that shows headers alone, and at those that
// cannot show more.
func without(differs map[string]difference, never bool) map[string]difference {
	differs[olderClient], differs[lyingClient], differs[listed] = older, older, whole
	if never {
		differs[olderSeen], differs[lieSeen], differs[listedSeen] = unseen, unseen, unseen
	}
	return differs
}
