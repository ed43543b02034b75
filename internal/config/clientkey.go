package config

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

// clientKey reads provider.clientKeyFile.
func (r *providerResolver) clientKey(f ProviderFile) connector.ClientKey {
	at := r.key("clientKeyFile")
	if f.ClientKeyFile == "" {
		for name, value := range map[string]string{
			"clientKeyID": f.ClientKeyID, "clientKeyAlgorithm": f.ClientKeyAlgorithm, "clientAssertionAudience": f.ClientAssertionAudience,
		} {
			if value != "" {
				r.Add(r.key(name), "has no meaning without clientKeyFile")
			}
		}
		return connector.ClientKey{}
	}
	r.Text(r.key("clientKeyID"), f.ClientKeyID)
	content, ok := r.SecretFile(at, f.ClientKeyFile)
	if !ok {
		return connector.ClientKey{}
	}
	k, err := parseClientKey([]byte(content))
	if err != nil {
		r.Add(at, "%s", err.Error())
		return connector.ClientKey{}
	}
	k.ID = cmp.Or(f.ClientKeyID, k.ID)
	fitting := keyAlgorithms(k.Signer())
	switch {
	case len(fitting) == 0:
		r.Add(at, "is a key of a kind that is not used: take RSA of at least 2048 bits, P-256 or Ed25519")
		return connector.ClientKey{}
	case f.ClientKeyAlgorithm != "":
		k.Algorithm = f.ClientKeyAlgorithm
	case k.Algorithm == "":
		k.Algorithm = fitting[0]
	}
	if !slices.Contains(fitting, k.Algorithm) {
		r.Add(r.key("clientKeyAlgorithm"), "%s does not fit the key; one of %s does", conf.Show(k.Algorithm), strings.Join(fitting, ", "))
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

func parseClientKey(data []byte) (connector.ClientKey, error) {
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

// clientAuth resolves how this service proves itself at the token endpoint. ""
// leaves it to the discovery document.
func (r *providerResolver) clientAuth(f ProviderFile) string {
	at, method := r.key("clientAuthMethod"), f.ClientAuthMethod
	known := map[string][]string{
		"oidc":      {"client_secret_basic", "client_secret_post", privateKeyJWT},
		"oauth2":    {"client_secret_basic", "client_secret_post"},
		"microsoft": {"client_secret_post", privateKeyJWT},
	}[f.Name]
	withKey := f.ClientKeyFile != ""
	switch {
	case known == nil:
		return ""
	case method == "" && withKey:
		return privateKeyJWT
	case method == "" && f.Name == "oauth2":
		return "client_secret_basic"
	case method == "":
		return ""
	case !slices.Contains(known, method):
		r.Add(at, "%s is not one of %s", conf.Show(method), conf.Quoted(known))
	case method == privateKeyJWT && !withKey:
		r.Add(at, `"private_key_jwt" needs clientKeyFile`)
	case method != privateKeyJWT && withKey:
		r.Add(at, `%s has no use for clientKeyFile; remove it, or choose "private_key_jwt"`, conf.Show(method))
	}
	return method
}

const privateKeyJWT = "private_key_jwt"

// assertionAudience reports whether the issuer, and not the token endpoint, is
// the audience of what this service signs.
func (r *providerResolver) assertionAudience(f ProviderFile) (issuer bool) {
	switch f.ClientAssertionAudience {
	case "", "token_endpoint":
	case "issuer":
		return true
	default:
		r.Add(r.key("clientAssertionAudience"), `%s is not one of "token_endpoint", "issuer"`, conf.Show(f.ClientAssertionAudience))
	}
	return false
}
