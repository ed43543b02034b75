package introspection

import (
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/clientauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// File is the `proxy.hosts[].authorizationServers[].introspection` section.
type File struct {
	// URL of the introspection endpoint. May use http, for private networks only. Required beside other keys of the section.
	Endpoint string `json:"endpoint"`
	// Which of its tokens are sent there: "opaque", those that are not JWTs, or "all", also JWTs of this issuer, which then end within cache after they are revoked. With "all" no keys are fetched.
	Tokens string `json:"tokens" default:"opaque" enum:"opaque all"`
	// Client id of this service at the authorization server. Do not use a client that gets tokens: some servers tell such a client nothing about them. Required.
	ClientID string `json:"clientID"`
	// Client secret of this service there; better in a file. Required unless clientSecretFile or clientKeyFile is set.
	ClientSecret conf.Secret `json:"clientSecret"`
	// File that holds the client secret; a trailing newline is dropped. Required unless clientSecret or clientKeyFile is set.
	ClientSecretFile string `json:"clientSecretFile"`
	// File that holds a private key instead of a client secret, in the formats of provider.clientKeyFile.
	ClientKeyFile string `json:"clientKeyFile"`
	// Key id (kid) by which the authorization server knows the key. Default: the kid of the JWK, or none.
	ClientKeyID string `json:"clientKeyID"`
	// One of "RS256", "PS256", "ES256", "EdDSA", as fits the key. Default: the alg of the JWK, or "RS256", "ES256" or "EdDSA".
	ClientKeyAlgorithm string `json:"clientKeyAlgorithm"`
	// How this service proves itself: "client_secret_basic", "client_secret_post" or "private_key_jwt". Default: "client_secret_basic", or "private_key_jwt" with clientKeyFile.
	ClientAuthMethod string `json:"clientAuthMethod"`
	// What is named as the audience of each assertion.
	ClientAssertionAudience string `json:"clientAssertionAudience" default:"issuer" enum:"issuer endpoint"`
	// Ask for answers that the authorization server has signed (RFC 9701), and accept no others. They are verified with the keys of the entry. Default false.
	Signed bool `json:"signed"`
	// How long a question may take. If the server does not answer, requests get 503: no token is accepted unchecked, and no client has to sign in again.
	Timeout time.Duration `json:"timeout" default:"2s" min:"100ms" max:"4s"`
	// How long an answer that a token is active is used, and never beyond the token's expiry; a revoked token ends within this time.
	Cache time.Duration `json:"cache" default:"30s" min:"1s" max:"10m"`
	// How long an answer that a token is not active is used.
	Negative time.Duration `json:"negative" default:"5s" min:"1s" max:"1m"`
}

// Config is the section when it is checked; nil is no introspection.
type Config struct {
	Endpoint        string
	All             bool // JWTs of the issuer too
	Credentials     clientauth.Credentials
	ForIssuer       bool // assertions name the issuer, and not the endpoint
	Signed          bool
	Timeout         time.Duration
	Cache, Negative time.Duration
}

// Resolve checks the section. It returns nil where there is none.
func (f File) Resolve(c conf.Section) *Config {
	if f.Endpoint == "" {
		if f.ClientID != "" || !f.ClientSecret.IsZero() || f.ClientSecretFile != "" || f.ClientKeyFile != "" || f.Tokens == "all" || f.Signed {
			c.Add(c.Key("endpoint"), "is required where other keys of the section are set")
		}
		return nil
	}
	u, problem := conf.AbsoluteURL(f.Endpoint)
	switch {
	case problem != "":
		c.Add(c.Key("endpoint"), "%s %s", conf.ShowURL(f.Endpoint), problem)
	case u.Scheme == "http" && !conf.IsLoopback(u.Hostname()):
		c.Warn(c.Key("endpoint"), "uses http: who can read what is sent to %s reads tokens and the client secret; use https where that network is not yours alone", conf.Show(u.Host))
	}
	if f.ClientID == "" {
		c.Add(c.Key("clientID"), "is required: the authorization server answers only to those that prove who they are")
	}
	c.Text(c.Key("clientID"), f.ClientID)
	c.NotReplaced(c.Key("clientID"), f.ClientID)
	out := &Config{
		Endpoint: f.Endpoint, All: f.Tokens == "all", Signed: f.Signed, ForIssuer: f.ClientAssertionAudience != "endpoint", Timeout: f.Timeout, Cache: f.Cache, Negative: f.Negative,
		Credentials: clientauth.Credentials{ClientID: f.ClientID},
	}
	standard := clientauth.Basic
	if f.ClientKeyFile == "" {
		out.Credentials.Secret = clientauth.Secret(c, f.ClientSecret, f.ClientSecretFile, ", or clientKeyFile")
	} else {
		standard = clientauth.PrivateKeyJWT
		if !f.ClientSecret.IsZero() || f.ClientSecretFile != "" {
			c.Add(c.Key("clientKeyFile"), "excludes a client secret; set one of the two")
		}
	}
	out.Credentials.Key = clientauth.KeyFile{File: f.ClientKeyFile, ID: f.ClientKeyID, Algorithm: f.ClientKeyAlgorithm}.Resolve(c)
	out.Credentials.Method = clientauth.Method(c, f.ClientAuthMethod, standard, f.ClientKeyFile != "", clientauth.Basic, clientauth.Post, clientauth.PrivateKeyJWT)
	return out
}
