package registration

import (
	"cmp"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
)

// minSecretBytes is the length of 128 bits in base64url.
const minSecretBytes = 22

// Known is one entry of `clients`: a client that the configuration names.
type Known struct {
	// Client id, unique. Required.
	ID string `json:"id"`
	// Name on the consent page. Default: the id.
	Name string `json:"name" check:"text"`
	// Redirect URIs, compared exactly; only the port of an http loopback URI is free. Required: at least one where the client signs people in; none where it has the grant type "client_credentials" alone, or only asks at /introspect.
	RedirectURIs []string `json:"redirectURIs" max:"20"`
	// One of "none", "client_secret_basic", "client_secret_post", "private_key_jwt". Default: what follows from the secrets and keys of this entry.
	AuthMethod string `json:"authMethod" enum:"none client_secret_basic client_secret_post private_key_jwt"`
	// Client secret of at least 128 bits; better in a file.
	Secret conf.Secret `json:"secret"`
	// Files that hold one client secret each; a trailing newline is dropped. Name two while a secret is rotated: both are accepted.
	SecretFiles []string `json:"secretFiles" max:"4"`
	// File with the client's public keys, a JWK set, for authMethod "private_key_jwt".
	JWKSFile string `json:"jwksFile"`
	// Public https URL of the client's JWK set, for authMethod "private_key_jwt"; excludes jwksFile.
	JWKSURI string `json:"jwksURI"`
	// Grant types that the client may use: "authorization_code", and "refresh_token" beside it; "urn:ietf:params:oauth:grant-type:device_code" for devices without a browser (see docs/devices.md); "client_credentials" for a machine that acts for itself, which needs a secret or keys, scopes and resources, and "urn:ietf:params:oauth:grant-type:jwt-bearer" for one that shows assertions of trustedIssuers (see docs/machines.md); "urn:ietf:params:oauth:grant-type:token-exchange" for an MCP server whose entry has tokenExchange (see docs/token-exchange.md). Default: the first two; none without redirectURIs.
	GrantTypes []string `json:"grantTypes" check:"unique"`
	// Scopes that the client may have. Default: no limit of its own.
	Scopes []string `json:"scopes" check:"scopes"`
	// MCP servers that the client may have tokens for, by public URL such as "https://mcp.example.com/mcp". Default: all.
	Resources []string `json:"resources"`

	// The client gets no access token without a DPoP proof, so each token is bound to its key (RFC 9449, section 5.2). For MCP servers whose entry has dpop. Default false.
	DPoPBound bool `json:"dpopBoundAccessTokens"`

	// The client's authorization requests must be pushed to /par first (RFC 9126, section 6). Needs pushedRequests. Default false.
	PushedOnly bool `json:"requirePushedAuthorizationRequests"`

	Secrets []conf.Secret // all secrets; each is accepted
	JWKS    []byte        // the content of JWKSFile
}

// Surroundings are what entries of `clients` are checked against.
type Surroundings struct {
	Resources     []string // URIs of the MCP servers
	DPoP          []bool   // for each of Resources, whether it has bound tokens of this service
	Grants        []string // that /token serves
	SignIn        []string // the grants of a client that names none
	Configured    []string // the grants that need credentials, scopes and resources
	Introspection bool     // /introspect is served
	Pushed        bool     // /par is served
}

// ResolveClients checks the entries of `clients`.
func ResolveClients(c *conf.Check, clients []Known, s Surroundings) {
	seen := make(map[string]int)
	for i := range clients {
		k, c := &clients[i], conf.Section{Check: c, At: conf.Element("clients", i)}
		at := c.Key("id")
		first, taken := seen[k.ID]
		switch {
		case k.ID == "":
			c.Add(at, "is required")
		case !conf.IsScopeToken(k.ID):
			c.Add(at, "is not a client id: printable ASCII without spaces, '\"' and '\\', at most %d bytes", conf.MaxText)
		case strings.HasPrefix(k.ID, oauth.DynamicIDPrefix):
			c.Add(at, "begins with %q, as the ids of clients that register themselves do", oauth.DynamicIDPrefix)
		case taken:
			c.Add(at, "%s is the id of clients[%d] too", conf.Show(k.ID), first)
		default:
			seen[k.ID] = i
		}
		c.NotReplaced(at, k.ID)
		k.resolve(c, s)
	}
}

func (k *Known) resolve(c conf.Section, s Surroundings) {
	k.Name = cmp.Or(k.Name, k.ID)
	k.Secrets = k.secrets(c)
	k.readKeys(c)
	k.AuthMethod = k.authMethod(c)
	for i, u := range k.RedirectURIs {
		at := conf.Element(c.Key("redirectURIs"), i)
		if strings.Contains(u, "*") {
			c.Add(at, "%s holds an asterisk; patterns are not possible here, so write each URI", conf.Show(u))
		} else if _, err := oauth.ClassifyRedirectURI(u); err != nil {
			c.Add(at, "%s %s", conf.Show(u), err)
		}
	}
	for i, uri := range k.Resources {
		if !slices.Contains(s.Resources, uri) {
			c.Add(conf.Element(c.Key("resources"), i), "%s is not the public URL of an entry of proxy.hosts", conf.Show(uri))
		}
	}
	k.GrantTypes = k.grantTypes(c, s)
	if k.PushedOnly && !s.Pushed {
		c.Add(c.Key("requirePushedAuthorizationRequests"), "needs pushedRequests.enabled")
	}
	if k.DPoPBound && !k.mayBind(s) {
		c.Add(c.Key("dpopBoundAccessTokens"), "has no effect, because no MCP server that the client may have tokens for has dpop; set dpop in its entry of proxy.hosts")
	}
}

// mayBind reports whether an MCP server that the client may reach binds tokens to keys.
func (k *Known) mayBind(s Surroundings) bool {
	for i, binds := range s.DPoP {
		if binds && (len(k.Resources) == 0 || slices.Contains(k.Resources, s.Resources[i])) {
			return true
		}
	}
	return false
}

func (k *Known) hasSecret() bool { return !k.Secret.IsZero() || len(k.SecretFiles) > 0 }
func (k *Known) hasKeys() bool   { return k.JWKSFile != "" || k.JWKSURI != "" }

// clientCredentials is the grant of a client that acts for itself.
const clientCredentials = "client_credentials"

// ActsAlone reports whether the client may have tokens for itself.
func (k *Known) ActsAlone() bool { return slices.Contains(k.GrantTypes, clientCredentials) }

// grantTypes returns the grants that the client may use at /token. A client with
// credentials and no redirect URI may have none, and only ask at /introspect.
func (k *Known) grantTypes(c conf.Section, s Surroundings) []string {
	redirects := c.Key("redirectURIs")
	if len(k.GrantTypes) == 0 {
		if len(k.RedirectURIs) == 0 && !(s.Introspection && (k.hasSecret() || k.hasKeys())) {
			c.Add(redirects, "is required: at least one redirect URI, except of a client with a secret or keys that has no grantTypes and asks at /introspect only, or that has the grant type %q alone", clientCredentials)
		}
		if len(k.RedirectURIs) == 0 {
			return nil
		}
		return s.SignIn
	}
	at := c.Key("grantTypes")
	alone := true
	for i, t := range k.GrantTypes {
		if !slices.Contains(s.Grants, t) {
			c.Add(conf.Element(at, i), `%s is not one of %s`, conf.Show(t), conf.Quoted(s.Grants))
		}
		if slices.Contains(s.Configured, t) {
			k.needs(c, t)
		}
		onDevice := t == refreshToken && slices.Contains(k.GrantTypes, deviceCode)
		alone = alone && (!slices.Contains(s.SignIn, t) || onDevice)
	}
	switch signsIn := slices.Contains(k.GrantTypes, "authorization_code"); {
	case !signsIn && !alone:
		c.Add(at, `lacks "authorization_code", with which every sign-in begins`)
	case signsIn && len(k.RedirectURIs) == 0:
		c.Add(redirects, `is required with the grant type "authorization_code": at least one redirect URI`)
	case !signsIn && len(k.RedirectURIs) > 0:
		c.Add(redirects, `has no meaning without the grant type "authorization_code"; remove it`)
	}
	return k.GrantTypes
}

// needs checks what a client must have for a grant without a person. No person sees what
// it asks for, so its entry must say all that it can get.
func (k *Known) needs(c conf.Section, grantType string) {
	if !k.hasSecret() && !k.hasKeys() {
		c.Add(c.Key("secretFiles"), "is required with the grant type %q: a secret, or jwksFile or jwksURI, because the client id is no proof", grantType)
	}
	if len(k.Scopes) == 0 {
		c.Add(c.Key("scopes"), "is required with the grant type %q: all that the client may have", grantType)
	}
	if len(k.Resources) == 0 {
		c.Add(c.Key("resources"), "is required with the grant type %q: the MCP servers that the client may call", grantType)
	}
}

// secrets reads all secrets of the client. Messages never show them.
func (k *Known) secrets(c conf.Section) []conf.Secret {
	var secrets []conf.Secret
	add := func(at, value string) {
		c.NotReplaced(at, value)
		switch {
		case strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c >= 0x7f }):
			c.Add(at, "holds a space, a line break or a character that is not ASCII")
		case len(value) < minSecretBytes:
			c.Add(at, "is shorter than %d characters; 128 random bits need as many (`openssl rand -base64 32` makes more)", minSecretBytes)
		default:
			secrets = append(secrets, conf.NewSecret(value))
		}
	}
	if !k.Secret.IsZero() {
		add(c.Key("secret"), k.Secret.Reveal())
	}
	for i, name := range k.SecretFiles {
		at := conf.Element(c.Key("secretFiles"), i)
		if content, ok := c.SecretFile(at, name); ok {
			add(at, strings.TrimRight(content, "\r\n"))
		}
	}
	return secrets
}

// readKeys reads the client's key set, or checks the URL of one.
func (k *Known) readKeys(c conf.Section) {
	if k.JWKSFile != "" {
		if k.JWKSURI != "" {
			c.Add(c.Key("jwksURI"), "excludes jwksFile; set one of the two")
		}
		if content, ok := c.File(c.Key("jwksFile"), k.JWKSFile); ok {
			k.JWKS = []byte(content)
		}
	}
	if k.JWKSURI != "" {
		if u, problem := conf.AbsoluteURL(k.JWKSURI); problem != "" {
			c.Add(c.Key("jwksURI"), "%s %s", conf.ShowURL(k.JWKSURI), problem)
		} else if u.Scheme != "https" {
			c.Add(c.Key("jwksURI"), "%s must use https", conf.ShowURL(k.JWKSURI))
		}
	}
}

// authMethod returns the authentication method, which must fit the secrets and keys.
func (k *Known) authMethod(c conf.Section) string {
	at, method := c.Key("authMethod"), k.AuthMethod
	wantsKeys := method == "private_key_jwt"
	wantsSecret := method == "client_secret_basic" || method == "client_secret_post"
	switch {
	case method == "" && k.hasKeys():
		return "private_key_jwt"
	case method == "" && k.hasSecret():
		return "client_secret_basic"
	case method == "":
		return "none"
	case !wantsKeys && !wantsSecret && method != "none": // not one of the enum
	case wantsSecret && !k.hasSecret():
		c.Add(at, "%s needs secret or secretFiles", conf.Show(method))
	case wantsKeys && !k.hasKeys():
		c.Add(at, "%s needs jwksFile or jwksURI", conf.Show(method))
	case k.hasSecret() && !wantsSecret:
		c.Add(at, "%s has no use for a secret; remove secret and secretFiles", conf.Show(method))
	case k.hasKeys() && !wantsKeys:
		c.Add(at, "%s has no use for keys; remove jwksFile and jwksURI", conf.Show(method))
	}
	return method
}
