// Package keysource owns the part of a section that says where another issuer publishes
// its signing keys, and which signatures count. Every kind of issuer that the operator
// trusts has this part, so a key means the same in each of them.
package keysource

import (
	"slices"
	"strings"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/signed"
)

// Keys are the keys of a section that say where the keys of an issuer are. At most one
// of JWKSURL and JWKSFile is set; without both they are discovered.
type Keys struct {
	// URL of its key set. May use http, for private networks only. Default: what its metadata names, at the well-known address of OpenID Connect Discovery or of RFC 8414.
	JWKSURL string `json:"jwksURL"`
	// File with its key set, in JSON, instead of jwksURL. It is read again every two seconds; unusable content changes nothing.
	JWKSFile string `json:"jwksFile"`
	// File with the certificates of the authorities to trust for it, in PEM, and no others. Default: those of the system; the environment variable SSL_CERT_DIR names directories with more.
	Authorities []byte `json:"caFile"`
	// File with a bearer token that is sent with requests for keys, only to the host of jwksURL, or of issuer if that is not set. In a pod use /var/run/secrets/kubernetes.io/serviceaccount/token, which the Kubernetes API server requires. It is read for each request.
	TokenFile string `json:"tokenFile"`
}

// Resolve checks k and returns it with the places of its files. power is what a forged
// key set would give, for a warning: "make assertions".
func (k Keys) Resolve(c conf.Section, power string) Keys {
	if k.JWKSFile != "" {
		k.checkFile(c)
	}
	if k.TokenFile != "" {
		c.Exists(c.Key("tokenFile"), k.TokenFile)
	}
	if k.JWKSURL != "" {
		k.checkURL(c, power)
	}
	k.JWKSFile, k.TokenFile = c.Path(k.JWKSFile), c.Path(k.TokenFile)
	return k
}

func (k Keys) checkFile(c conf.Section) {
	if k.JWKSURL != "" {
		c.Add(c.Key("jwksURL"), "excludes jwksFile; set one of the two, or none for discovery")
	}
	if len(k.Authorities) > 0 {
		c.Add(c.Key("caFile"), "has no meaning beside jwksFile: nothing is fetched")
	}
	if k.TokenFile != "" {
		c.Add(c.Key("tokenFile"), "has no meaning beside jwksFile: nothing is fetched")
	}
	c.Exists(c.Key("jwksFile"), k.JWKSFile)
}

func (k Keys) checkURL(c conf.Section, power string) {
	at := c.Key("jwksURL")
	u, problem := conf.AbsoluteURL(k.JWKSURL)
	switch {
	case problem != "":
		c.Add(at, "%s %s", conf.ShowURL(k.JWKSURL), problem)
	case u.Scheme == "http" && k.TokenFile != "" && !conf.IsLoopback(u.Hostname()):
		c.Add(at, "uses http, which would show the token of tokenFile to everyone on the way; use https")
	case u.Scheme == "http" && !conf.IsLoopback(u.Hostname()):
		c.Warn(at, "uses http: who can change what is sent on the way to %s can %s; use https where that network is not yours alone", conf.Show(u.Host), power)
	}
}

// Source fetches the keys of issuer over the network. It is not for keys in a file.
func (k Keys) Source(issuer string) *jwks.Source {
	return &jwks.Source{Issuer: issuer, URL: k.JWKSURL, Token: jwks.BearerFile(k.TokenFile)}
}

// Place is where the keys of an issuer come from: equal places have the same keys.
type Place struct{ issuer, url, file, tokenFile, authorities string }

// Of returns the place of the keys of issuer.
func (k Keys) Of(issuer string) Place {
	return Place{issuer, k.JWKSURL, k.JWKSFile, k.TokenFile, string(k.Authorities)}
}

// File is the file with the keys, "" where they are fetched.
func (p Place) File() string { return p.file }

// standard are the algorithms that count where a section names none.
var standard = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.EdDSA}

// Algorithms reads the key algorithms of a section: nil means standard.
func Algorithms(c conf.Section, named []string) (accepted []jose.SignatureAlgorithm) {
	if named == nil {
		return slices.Clone(standard)
	}
	at := c.Key("algorithms")
	if len(named) == 0 {
		c.Add(at, "is empty, which would accept nothing; name algorithms, or remove the key")
	}
	var known []string
	for _, a := range signed.Algorithms {
		known = append(known, string(a))
	}
	for i, name := range named {
		switch {
		case strings.HasPrefix(name, "HS"), strings.EqualFold(name, "none"):
			c.Add(conf.Element(at, i), "%s is refused: everyone who can verify such a token could make one", conf.Show(name))
		case !slices.Contains(known, name):
			c.Add(conf.Element(at, i), "%s is not one of %s", conf.Show(name), conf.Quoted(known))
		}
		accepted = append(accepted, jose.SignatureAlgorithm(name))
	}
	return accepted
}
