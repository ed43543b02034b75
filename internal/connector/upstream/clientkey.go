package upstream

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"slices"
	"strings"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

// clientKey reads clientKeyFile.
func (a KeyedApp) clientKey(c conf.Section) connector.ClientKey {
	at := c.Key("clientKeyFile")
	if a.ClientKeyFile == "" {
		for name, value := range map[string]string{
			"clientKeyID": a.ClientKeyID, "clientKeyAlgorithm": a.ClientKeyAlgorithm, "clientAssertionAudience": a.ClientAssertionAudience,
		} {
			if value != "" {
				c.Add(c.Key(name), "has no meaning without clientKeyFile")
			}
		}
		return connector.ClientKey{}
	}
	c.Text(c.Key("clientKeyID"), a.ClientKeyID)
	content, ok := c.SecretFile(at, a.ClientKeyFile)
	if !ok {
		return connector.ClientKey{}
	}
	k, err := ParseClientKey([]byte(content))
	if err != nil {
		c.Add(at, "%s", err.Error())
		return connector.ClientKey{}
	}
	k.ID = cmp.Or(a.ClientKeyID, k.ID)
	fitting := keyAlgorithms(k.Signer())
	switch {
	case len(fitting) == 0:
		c.Add(at, "is a key of a kind that is not used: take RSA of at least 2048 bits, P-256 or Ed25519")
		return connector.ClientKey{}
	case a.ClientKeyAlgorithm != "":
		k.Algorithm = a.ClientKeyAlgorithm
	case k.Algorithm == "":
		k.Algorithm = fitting[0]
	}
	if !slices.Contains(fitting, k.Algorithm) {
		c.Add(c.Key("clientKeyAlgorithm"), "%s does not fit the key; one of %s does", conf.Show(k.Algorithm), strings.Join(fitting, ", "))
	}
	return k
}

// keyAlgorithms are those that a key can sign with, the usual one first.
func keyAlgorithms(key crypto.Signer) []string {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() >= 2048 {
			return []string{"RS256", "PS256"}
		}
	case *ecdsa.PrivateKey:
		if k.Curve.Params().BitSize == 256 {
			return []string{"ES256"}
		}
	case ed25519.PrivateKey:
		return []string{"EdDSA"}
	}
	return nil
}

// errNoKey shows nothing of the file, which may be anything.
var errNoKey = errors.New("holds no private key: PEM (PKCS #8, PKCS #1 or SEC 1, not encrypted) or one JWK")

// ParseClientKey reads a private key in PEM, with a certificate beside it or not, or one
// JWK. The error shows nothing of data.
func ParseClientKey(data []byte) (connector.ClientKey, error) {
	if text := strings.TrimSpace(string(data)); strings.HasPrefix(text, "{") {
		var jwk jose.JSONWebKey
		if jwk.UnmarshalJSON([]byte(text)) != nil || !jwk.Valid() {
			return connector.ClientKey{}, errNoKey
		}
		signer, ok := jwk.Key.(crypto.Signer)
		if !ok || jwk.IsPublic() {
			return connector.ClientKey{}, errors.New("holds a JWK that is not a private key")
		}
		return connector.NewClientKey(signer, jwk.Algorithm, jwk.KeyID), nil
	}
	var k connector.ClientKey
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "CERTIFICATE" && k.Thumbprint == "":
			sum := sha256.Sum256(block.Bytes)
			k.Thumbprint = base64.RawURLEncoding.EncodeToString(sum[:])
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			if !k.IsZero() {
				return connector.ClientKey{}, errors.New("holds more than one private key")
			}
			if signer := parsePrivateKey(block.Bytes); signer != nil {
				thumbprint := k.Thumbprint
				k = connector.NewClientKey(signer, "", "")
				k.Thumbprint = thumbprint
			}
		}
	}
	if k.IsZero() {
		return connector.ClientKey{}, errNoKey
	}
	return k, nil
}

func parsePrivateKey(der []byte) crypto.Signer {
	if any, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		signer, _ := any.(crypto.Signer)
		return signer
	}
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key
	}
	return nil
}

// assertionForIssuer reports whether the issuer, and not the token endpoint, is
// the audience of what this service signs.
func (a KeyedApp) assertionForIssuer(c conf.Section) (issuer bool) {
	switch a.ClientAssertionAudience {
	case "", "token_endpoint":
	case "issuer":
		return true
	default:
		c.Add(c.Key("clientAssertionAudience"), `%s is not one of "token_endpoint", "issuer"`, conf.Show(a.ClientAssertionAudience))
	}
	return false
}
