package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/outbound"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// Bounds on what one file may hold. They are far above what anybody needs and
// keep a slip of a template from becoming a slow start.
const (
	maxHosts      = 10_000
	maxPatterns   = 1000
	maxUsers      = 1000
	maxGroups     = 100
	maxScopes     = 100
	maxSeeds      = 16
	maxText       = 200  // names, claims, headers
	maxPattern    = 1000 // one regular expression
	maxURL        = 2048
	minSeedBytes  = 32
	minBcryptCost = 10
	maxBcryptCost = 15 // seconds per sign-in
)

// resolver turns a File into a Config: it fills in defaults, compiles patterns,
// reads secrets and collects every value that breaks a rule.
type resolver struct {
	mistakes
	readFile func(string) ([]byte, error)
	// exposed reports whether every user of the machine may read a file; nil does
	// not look.
	exposed  func(name string) bool
	warnings Errors
	// inline: the configuration itself holds a secret.
	inline bool
}

// warn notes what is no mistake, and that the operator should know.
func (r *resolver) warn(at, format string, args ...any) {
	r.warnings = append(r.warnings, Mistake{at, fmt.Sprintf(format, args...)})
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
		Tracing:             r.tracing(f.Tracing),
		DebugFlows:          f.Debug.Flows.Enabled == nil || *f.Debug.Flows.Enabled,
		Branding:            r.branding(f.Branding),
		IdentityHeaders:     r.identityHeaders(f.IdentityHeaders),
	}
	r.listen(f.Listen, c)
	c.CallbackHost = r.callbackHost(f.Proxy.CallbackHost, c.Hosts)
	c.Limits = r.limits(f.Limits, len(f.Listen.TrustedProxies) > 0)
	c.Clients = r.clients(f.Clients, c.Hosts, f.Introspection.Enabled)
	r.policies(f, c)
	r.inline = holdsSecret(f)
	c.unused(f)
	c.Warnings = r.warnings
	return c
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

// listen checks the addresses. They differ because each listener is for other
// callers: the management and gRPC listeners must never be reachable where the
// protocol listener is.
func (r *resolver) listen(f ListenFile, c *Config) {
	c.HTTPAddress = r.address("listen.http", orDefault(f.HTTP, ":8080"))
	c.ManagementAddress = r.address("listen.management", orDefault(f.Management, ":9090"))
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
		r.add(at, "%q is taken by %s (%q); choose another port", address, otherAt, other)
	}
}

// address returns value if one can listen there, else "".
func (r *resolver) address(at, value string) string {
	host, port, err := net.SplitHostPort(value)
	if err != nil {
		r.add(at, "%s is not an address such as \":8080\" or \"127.0.0.1:8080\"", show(value))
		return ""
	}
	// Port 0 lets the system choose, which tests and demonstrations want.
	if port != "0" && !validPort(port) {
		r.add(at, "%s has no port number between 1 and 65535", show(value))
		return ""
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && dnsNameProblem(host) != "" {
		r.add(at, "%s has neither an IP address nor a host name before the port", show(value))
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
	level, ok := levels[orDefault(f.Level, "info")]
	if !ok {
		r.add("logging.level", `%s is not one of "debug", "info", "warn", "error"`, show(f.Level))
	}
	return level
}

func (r *resolver) keys(f KeysFile) Keys {
	k := Keys{
		Source:   orDefault(f.Source, "ephemeral"),
		Rotation: r.duration("keys.rotation", f.Rotation, time.Hour, minRotation, 24*time.Hour),
	}
	const at = "keys.seedFiles"
	switch k.Source {
	case "ephemeral":
		if len(f.SeedFiles) > 0 {
			r.add(at, `is used only where keys.source is "seed"`)
		}
	case "seed":
		if len(f.SeedFiles) == 0 {
			r.add(at, `is required where keys.source is "seed": name at least one file`)
		}
		k.Seeds = r.seeds(at, f.SeedFiles)
	default:
		r.add("keys.source", `%s is not one of "ephemeral", "seed"`, show(k.Source))
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
		AccessTokenLifetime: r.duration("tokens.accessTokenLifetime", f.AccessTokenLifetime, time.Hour, time.Minute, time.Hour),
		Refresh:             f.RefreshTokens.Enabled == nil || *f.RefreshTokens.Enabled,
		RefreshIdle:         r.duration("tokens.refreshTokenIdleLifetime", f.RefreshTokenIdleLifetime, 30*day, time.Hour, 365*day),
		Remembered:          defaultRemembered,
	}
	if n := f.Remembered; n != nil {
		t.Remembered = *n
		if *n < minRemembered || *n > maxRemembered {
			r.add("tokens.remembered", "%d is not between %d and %d", *n, minRemembered, maxRemembered)
		}
	}
	// A long idle lifetime alone means as long a lifetime.
	t.RefreshAbsolute = r.duration("tokens.refreshTokenLifetime", f.RefreshTokenLifetime, max(90*day, t.RefreshIdle), time.Hour, 365*day)
	if f.RefreshTokenLifetime != "" && f.RefreshTokenIdleLifetime == "" {
		t.RefreshIdle = min(t.RefreshIdle, t.RefreshAbsolute)
	}
	if t.RefreshAbsolute < t.RefreshIdle {
		r.add("tokens.refreshTokenLifetime", "%s is less than tokens.refreshTokenIdleLifetime", show(f.RefreshTokenLifetime))
	}
	return t
}

// denyList checks only that there is a file; what is in it may change at any time.
func (r *resolver) denyList(f DenyListFile) string {
	if f.File == "" {
		return ""
	}
	if _, err := r.readFile(f.File); errors.Is(err, fs.ErrNotExist) {
		r.add("denyList.file", "there is no such file; a relative path starts at the directory of the configuration file")
	} else if errors.Is(err, fs.ErrPermission) {
		r.add("denyList.file", "permission to read the file is denied")
	}
	return f.File
}

// seeds reads the seed files as they are, to the last byte: random bytes may
// end in what looks like a newline.
func (r *resolver) seeds(at string, files []string) []conf.Secret {
	if r.tooMany(at, len(files), maxSeeds) {
		return nil
	}
	var seeds []conf.Secret
	for i, name := range files {
		at := element(at, i)
		if first := slices.Index(files, name); first < i {
			r.add(at, "is the same file as keys.seedFiles[%d]", first)
			continue
		}
		content, ok := r.secretFile(at, name)
		switch problem := seedProblem(content); {
		case !ok:
		case len(content) < minSeedBytes:
			r.add(at, "the file holds %d bytes; a seed has at least %d random bytes", len(content), minSeedBytes)
		case problem != "":
			r.add(at, "%s", problem)
		default:
			if doubt := seedDoubt(content); doubt != "" {
				r.warn(at, "%s", doubt)
			}
		}
		seeds = append(seeds, conf.NewSecret(content))
	}
	return seeds
}

// file reads a file that holds a secret. Messages do not show its name: the
// likeliest slip is the secret itself in the place of the name.
func (r *resolver) file(at, name string) (content string, ok bool) {
	if name == "" {
		r.add(at, "is empty; name a file")
		return "", false
	}
	if r.isMalformed(at) {
		return "", false
	}
	data, err := r.readFile(name)
	var problem string
	switch {
	case err == nil && len(data) <= maxSecretBytes:
		return string(data), true
	case err == nil, errors.Is(err, errTooLarge):
		problem = "the file is larger than 64 KiB"
	case errors.Is(err, fs.ErrNotExist):
		problem = "there is no such file; a relative path starts at the directory of the configuration file"
	case errors.Is(err, fs.ErrPermission):
		problem = "permission to read the file is denied"
	case errors.Is(err, syscall.EISDIR):
		problem = "is a directory, not a file"
	default:
		problem = "the file cannot be read"
	}
	r.add(at, "%s", problem)
	return "", false
}

// authorities reads certificates of authorities; nil for those of the system.
func (r *resolver) authorities(at, name string) []byte {
	if name == "" {
		return nil
	}
	content, ok := r.file(at, name)
	if ok && !x509.NewCertPool().AppendCertsFromPEM([]byte(content)) {
		r.add(at, "the file holds no certificate in PEM")
	}
	return []byte(content)
}

// duration returns value, or standard if it is absent.
func (r *resolver) duration(at, value string, standard, least, most time.Duration) time.Duration {
	if value == "" {
		return standard
	}
	d, err := time.ParseDuration(value)
	switch {
	case err != nil:
		r.add(at, `%s is not a duration such as "30m" or "1h"`, show(value))
	case d < least || d > most:
		r.add(at, "%s is not between %s and %s", show(value), showDuration(least), showDuration(most))
	}
	return d
}

// presets are names for identity headers: those of oauth2-proxy, and those that
// applications behind other proxies know.
var presets = map[string]outbound.Headers{
	"auth-request": {User: "X-Auth-Request-User", Email: "X-Auth-Request-Email", Groups: "X-Auth-Request-Groups"},
	"forwarded":    {User: "X-Forwarded-User", Email: "X-Forwarded-Email", Groups: "X-Forwarded-Groups", Name: "X-Forwarded-Name"},
}

func (r *resolver) identityHeaders(f IdentityHeadersFile) outbound.Headers {
	const at = "identityHeaders."
	preset, ok := presets[orDefault(f.Preset, "auth-request")]
	if !ok {
		r.add(at+"preset", `%s is not one of "auth-request", "forwarded"`, show(f.Preset))
	}
	seen := make(map[string]string)
	header := func(at, name, standard string) string {
		name = orDefault(name, standard)
		if name == "" {
			return ""
		}
		if problem := identityHeaderProblem(name); problem != "" {
			r.add(at, "%s %s", show(name), problem)
			return name
		}
		name = http.CanonicalHeaderKey(name)
		if other, taken := seen[name]; taken {
			r.add(at, "%s is the header of %s too; each needs its own", show(name), other)
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
	lifetime := r.duration(at+"jwt.lifetime", f.JWT.Lifetime, 5*time.Minute, 30*time.Second, 5*time.Minute)
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

// forwardedIdentity are the names of the "forwarded" kind that say who somebody
// is; the others say what was asked for.
var forwardedIdentity = []string{"x-forwarded-user", "x-forwarded-email", "x-forwarded-groups", "x-forwarded-name", "x-forwarded-preferred-username"}

// identityHeaderProblem says why name cannot carry an identity, or "". It is
// stricter than RFC 9110, section 5.1: nginx drops names with underscores, and
// CGI-like servers take them for dashes, so a client could send the twin.
func identityHeaderProblem(name string) string {
	if len(name) > 64 || hasOther(name, letters+"0123456789-") {
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

// scopes checks a list of RFC 6749, section 3.3, scope tokens.
func (r *resolver) scopes(at string, scopes []string) {
	if r.tooMany(at, len(scopes), maxScopes) {
		return
	}
	for i, scope := range scopes {
		switch {
		case !isScopeToken(scope):
			r.add(element(at, i), `%s is not a scope: write one per entry, in printable ASCII without spaces, '"' and '\'`, show(scope))
		case slices.Index(scopes, scope) < i:
			r.add(element(at, i), "%s is listed twice", show(scope))
		}
	}
}

func isScopeToken(s string) bool {
	if s == "" || len(s) > maxText {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == '"' || s[i] == '\\' {
			return false
		}
	}
	return true
}

// tooMany reports a list that is longer than most.
func (r *resolver) tooMany(at string, n, most int) bool {
	if n > most {
		r.add(at, "has %d entries; at most %d are allowed", n, most)
	}
	return n > most
}

// text checks a string that people will read: bounded, and without characters
// that hide or reorder others.
func (r *resolver) text(at, value string) {
	if problem := textProblem(value); problem != "" {
		r.add(at, "%s", problem)
	}
}

func textProblem(value string) string {
	switch {
	case len(value) > maxText:
		return fmt.Sprintf("is longer than %d bytes", maxText)
	case strings.TrimSpace(value) != value:
		return "begins or ends with a space"
	case strings.ContainsFunc(value, func(c rune) bool { return !unicode.IsPrint(c) }):
		return "holds a control or invisible character"
	}
	return ""
}

const visibleASCII = letters + "0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// hasOther reports whether s holds a character that is not in allowed.
func hasOther(s, allowed string) bool {
	return strings.ContainsFunc(s, func(c rune) bool { return !strings.ContainsRune(allowed, c) })
}

func orDefault(value, standard string) string {
	if value == "" {
		return standard
	}
	return value
}

func element(at string, i int) string { return at + "[" + strconv.Itoa(i) + "]" }

// show quotes a value for a message, not longer than a line should be.
func show(value string) string {
	const most = 100
	if len(value) > most {
		return strconv.Quote(strings.ToValidUTF8(value[:most], "")) + "…"
	}
	return strconv.Quote(value)
}

// showDuration writes "10m" where time.Duration writes "10m0s".
func showDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
