package config

import (
	"cmp"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/gatewatch"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/outbound"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// Bounds on what one file may hold. They are far above any need and
// keep a slip of a template from becoming a slow start.
const (
	maxHosts     = 10_000
	maxSeeds     = 16
	minSeedBytes = 32
)

// resolver turns a File into a Config: it fills in defaults, compiles patterns,
// reads secrets and collects every value that breaks a rule.
type resolver struct {
	*conf.Check
	// inline: the configuration itself holds a secret.
	inline bool
	// auditFile reports why the audit log cannot be written to a file; nil does
	// not look.
	auditFile func(name string) error
}

func (r *resolver) resolve(f File) *Config {
	c := &Config{
		LogLevel:            r.logLevel(f.Logging),
		Providers:           r.providers(f),
		Hosts:               r.hosts(f.Proxy.Hosts),
		ConsentScreen:       !f.Proxy.DisableConsentScreen,
		RedirectURLs:        r.redirectURLs(f.Proxy),
		RedirectSchemes:     r.redirectSchemes(f.Proxy),
		DynamicRegistration: f.Registration.Dynamic.Enabled == nil || *f.Registration.Dynamic.Enabled,
		MetadataDocuments:   r.metadataDocuments(f.Registration.MetadataDocuments, f.Proxy.Hosts),
		Egress:              r.egress(f.Egress),
		Keys:                r.keys(f.Keys),
		Tokens:              r.tokens(f.Tokens),
		Guard:               r.guard(f.Guard),
		Introspection:       f.Introspection.Enabled,
		DenyList:            r.denyList(f.DenyList),
		AuditFile:           f.Audit.File,
		Tracing:             f.Tracing.Resolve(conf.Section{Check: r.Check, At: "tracing"}),
		DebugFlows:          f.Debug.Flows.Enabled == nil || *f.Debug.Flows.Enabled,
		Branding:            r.branding(f.Branding),
		IdentityHeaders:     r.identityHeaders(f.IdentityHeaders),
	}
	c.GateWatch = r.gateWatch(f.GateWatch, c.Hosts)
	r.listen(f.Listen, c)
	r.envoyMCP(f)
	c.CallbackHost = r.callbackHost(f.Proxy.CallbackHost, c.Hosts)
	c.Limits = r.limits(f.Limits, len(f.Listen.TrustedProxies) > 0)
	c.Clients = r.clients(f.Clients, c.Hosts, f.Introspection.Enabled)
	r.policies(f, c)
	r.inline = holdsSecret(f)
	c.unused(f)
	c.Warnings = r.Warnings
	return c
}

// gateWatch resolves the section, which names some of the hosts.
func (r *resolver) gateWatch(f gatewatch.File, hosts []resource.Entry) gatewatch.Config {
	names := make([]string, 0, len(hosts))
	for _, h := range hosts {
		names = append(names, h.Host)
	}
	return f.Resolve(conf.Section{Check: r.Check, At: "gateWatch"}, names)
}

// unused notes for each provider what of a person nothing makes use of.
func (c *Config) unused(f File) {
	named := c.IdentityHeaders.Name != "" || c.IdentityHeaders.JWT != ""
	grouped := false
	for _, h := range c.Hosts {
		grouped = grouped || slices.ContainsFunc(h.Policy, func(r rule.Rule) bool { return len(r.Groups) > 0 })
	}
	files := f.Providers
	if len(files) == 0 {
		files = []ProviderFile{f.Provider}
	}
	for i := range c.Providers {
		file := files[i]
		c.Providers[i].Unused = connector.Properties{
			Name:   !named && file.NameClaim == "",
			Groups: !grouped && file.GroupsClaim == "" && len(file.GroupsFilter) == 0 && !slices.Contains(file.Scopes, "groups"),
		}
	}
}

// envoyMCP refuses to rely on what cannot arrive: Envoy tells what its filters know over gRPC alone.
func (r *resolver) envoyMCP(f File) {
	for i, h := range f.Proxy.Hosts {
		if h.EnvoyMCP && f.Listen.GRPC == "" {
			r.Add(conf.Element("proxy.hosts", i)+".envoyMCP", "needs listen.grpc, because Envoy says over gRPC alone what its MCP filter read")
		}
	}
}

// listen checks the addresses. They differ because each listener is for other
// callers: the management and gRPC listeners must never be reachable where the
// protocol listener is.
func (r *resolver) listen(f ListenFile, c *Config) {
	c.HTTPAddress = r.address("listen.http", cmp.Or(f.HTTP, ":8080"))
	c.ManagementAddress = r.address("listen.management", cmp.Or(f.Management, ":9090"))
	if f.GRPC != "" {
		c.GRPCAddress = r.address("listen.grpc", f.GRPC)
	}
	c.TrustedProxies = r.networks("listen.trustedProxies", f.TrustedProxies)
	r.apart("listen.management", c.ManagementAddress, "listen.http", c.HTTPAddress)
	r.apart("listen.grpc", c.GRPCAddress, "listen.http", c.HTTPAddress)
	r.apart("listen.grpc", c.GRPCAddress, "listen.management", c.ManagementAddress)
}

func (r *resolver) apart(at, address, otherAt, other string) {
	if address != "" && other != "" && overlap(address, other) {
		r.Add(at, "%q is taken by %s (%q); choose another port", address, otherAt, other)
	}
}

// address returns value if one can listen there, else "".
func (r *resolver) address(at, value string) string {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		r.Add(at, "%s is not an address such as \":8080\" or \"127.0.0.1:8080\"", conf.Show(value))
		return ""
	}
	// Port 0 lets the system choose, which tests and demonstrations want.
	if port != "0" && !conf.ValidPort(port) {
		r.Add(at, "%s has no port number between 1 and 65535", conf.Show(value))
		return ""
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && conf.DNSNameProblem(host) != "" {
		r.Add(at, "%s has neither an IP address nor a host name before the port", conf.Show(value))
		return ""
	}
	return value
}

// overlap reports whether one cannot listen on both addresses.
func overlap(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	if portA != portB || portA == "0" {
		return false
	}
	everywhere := func(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
	return hostA == hostB || everywhere(hostA) || everywhere(hostB)
}

func (r *resolver) logLevel(f LoggingFile) slog.Level {
	levels := map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	}
	level, ok := levels[cmp.Or(f.Level, "info")]
	if !ok {
		r.Add("logging.level", `%s is not one of "debug", "info", "warn", "error"`, conf.Show(f.Level))
	}
	return level
}

func (r *resolver) keys(f KeysFile) Keys {
	k := Keys{
		Source:   cmp.Or(f.Source, "ephemeral"),
		Rotation: r.Duration("keys.rotation", f.Rotation, time.Hour, minRotation, 24*time.Hour),
	}
	const at = "keys.seedFiles"
	switch k.Source {
	case "ephemeral":
		if len(f.SeedFiles) > 0 {
			r.Add(at, `is used only where keys.source is "seed"`)
		}
	case "seed":
		if len(f.SeedFiles) == 0 {
			r.Add(at, `is required where keys.source is "seed": name at least one file`)
		}
		k.Seeds = r.seeds(at, f.SeedFiles)
	default:
		r.Add("keys.source", `%s is not one of "ephemeral", "seed"`, conf.Show(k.Source))
	}
	return k
}

// How many access tokens may be remembered.
const (
	minRemembered     = 1 << 10
	defaultRemembered = 1 << 16
	maxRemembered     = 1 << 24
)

func (r *resolver) tokens(f TokensFile) Tokens {
	const day = 24 * time.Hour
	t := Tokens{
		AccessTokenLifetime: r.Duration("tokens.accessTokenLifetime", f.AccessTokenLifetime, time.Hour, time.Minute, time.Hour),
		Refresh:             f.RefreshTokens.Enabled == nil || *f.RefreshTokens.Enabled,
		RefreshIdle:         r.Duration("tokens.refreshTokenIdleLifetime", f.RefreshTokenIdleLifetime, 30*day, time.Hour, 365*day),
		Remembered:          defaultRemembered,
	}
	if n := f.Remembered; n != nil {
		t.Remembered = *n
		if *n < minRemembered || *n > maxRemembered {
			r.Add("tokens.remembered", "%d is not between %d and %d", *n, minRemembered, maxRemembered)
		}
	}
	// A long idle lifetime alone means as long a lifetime.
	t.RefreshAbsolute = r.Duration("tokens.refreshTokenLifetime", f.RefreshTokenLifetime, max(90*day, t.RefreshIdle), time.Hour, 365*day)
	if f.RefreshTokenLifetime != "" && f.RefreshTokenIdleLifetime == "" {
		t.RefreshIdle = min(t.RefreshIdle, t.RefreshAbsolute)
	}
	if t.RefreshAbsolute < t.RefreshIdle {
		r.Add("tokens.refreshTokenLifetime", "%s is less than tokens.refreshTokenIdleLifetime", conf.Show(f.RefreshTokenLifetime))
	}
	return t
}

// denyList checks only that there is a file; what is in it may change at any time.
func (r *resolver) denyList(f DenyListFile) string {
	if f.File == "" {
		return ""
	}
	r.Exists("denyList.file", f.File)
	return f.File
}

// seeds reads the seed files as they are, to the last byte: random bytes may
// end in what looks like a newline.
func (r *resolver) seeds(at string, files []string) []conf.Secret {
	if r.TooMany(at, len(files), maxSeeds) {
		return nil
	}
	var seeds []conf.Secret
	for i, name := range files {
		at := conf.Element(at, i)
		if first := slices.Index(files, name); first < i {
			r.Add(at, "is the same file as keys.seedFiles[%d]", first)
			continue
		}
		content, ok := r.SecretFile(at, name)
		switch problem := seedProblem(content); {
		case !ok:
		case len(content) < minSeedBytes:
			r.Add(at, "the file holds %d bytes; a seed has at least %d random bytes", len(content), minSeedBytes)
		case problem != "":
			r.Add(at, "%s", problem)
		default:
			if doubt := seedDoubt(content); doubt != "" {
				r.Warn(at, "%s", doubt)
			}
		}
		seeds = append(seeds, conf.NewSecret(content))
	}
	return seeds
}

// presets are names for identity headers: those of oauth2-proxy, and those that
// applications behind other proxies know.
var presets = map[string]outbound.Headers{
	"auth-request": {User: "X-Auth-Request-User", Email: "X-Auth-Request-Email", Groups: "X-Auth-Request-Groups"},
	"forwarded":    {User: "X-Forwarded-User", Email: "X-Forwarded-Email", Groups: "X-Forwarded-Groups", Name: "X-Forwarded-Name"},
}

func (r *resolver) identityHeaders(f IdentityHeadersFile) outbound.Headers {
	const at = "identityHeaders."
	preset, ok := presets[cmp.Or(f.Preset, "auth-request")]
	if !ok {
		r.Add(at+"preset", `%s is not one of "auth-request", "forwarded"`, conf.Show(f.Preset))
	}
	seen := make(map[string]string)
	header := func(at, name, standard string) string {
		name = cmp.Or(name, standard)
		if name == "" {
			return ""
		}
		if problem := identityHeaderProblem(name); problem != "" {
			r.Add(at, "%s %s", conf.Show(name), problem)
			return name
		}
		name = http.CanonicalHeaderKey(name)
		if other, taken := seen[name]; taken {
			r.Add(at, "%s is the header of %s too; each needs its own", conf.Show(name), other)
		}
		seen[name] = at
		return name
	}
	h := outbound.Headers{
		User:   header(at+"user", f.User, preset.User),
		Email:  header(at+"email", f.Email, preset.Email),
		Groups: header(at+"groups", f.Groups, preset.Groups),
		Name:   header(at+"name", f.Name, preset.Name),
		Client: header(at+"client", f.Client, ""),
		Scope:  header(at+"scope", f.Scope, ""),
	}
	jwt := header(at+"jwt.header", f.JWT.Header, "X-Auth-Request-Identity")
	lifetime := r.Duration(at+"jwt.lifetime", f.JWT.Lifetime, 5*time.Minute, 30*time.Second, 5*time.Minute)
	if f.JWT.Enabled {
		h.JWT, h.JWTLifetime = jwt, lifetime
	}
	return h
}

// reservedHeaders mean something to a gateway, an HTTP library or an MCP
// server: one that carries an identity would change the request instead, or
// the answer of a gateway that takes ours for the client's. Names with a trailing
// dash are prefixes.
var reservedHeaders = []string{
	// RFC 9110, section 7.6.1, and its predecessors.
	"connection", "keep-alive", "proxy-", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings",
	"accept", "accept-", "access-control-", "age", "alt-svc", "authorization", "baggage", "cache-control", "clear-site-data", "content-", "cookie",
	"date", "dpop", "early-data", "etag", "expect", "expires", "forwarded", "from", "host", "if-", "last-event-id", "link", "location", "max-forwards",
	"mcp-", "origin", "pragma", "priority", "range", "referer", "refresh", "retry-after", "sec-", "server", "set-cookie", "strict-transport-security",
	"traceparent", "tracestate", "user-agent", "vary", "via", "www-authenticate",
	"x-accel-", "x-content-type-options", "x-envoy-", "x-forwarded-", "x-frame-options", "x-http-method", "x-http-method-override", "x-method-override",
	"x-original-", "x-real-ip", "x-request-id", "x-rewrite-url", "x-sendfile",
	// What gateways tell us in, see docs/gateways.
	"path", "method",
}

// forwardedIdentity are the names of the "forwarded" kind that say who the user
// is; the others say what was asked for.
var forwardedIdentity = []string{"x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-name", "x-forwarded-preferred-username"}

// identityHeaderProblem says why name cannot carry an identity, or "". It is
// stricter than RFC 9110, section 5.1: nginx drops names with underscores, and
// CGI-like servers take them for dashes, so a client could send the twin.
func identityHeaderProblem(name string) string {
	if len(name) > 64 || conf.HasOther(name, conf.Letters+"0123456789-") {
		return "is not a header name of at most 64 letters, digits and dashes"
	}
	lower := strings.ToLower(name)
	if slices.Contains(forwardedIdentity, lower) {
		return ""
	}
	for _, reserved := range reservedHeaders {
		if lower == reserved || strings.HasSuffix(reserved, "-") && strings.HasPrefix(lower, reserved) {
			return "has a meaning of its own in HTTP or MCP; use a name such as \"X-Auth-Request-User\""
		}
	}
	return ""
}
