package connector

import (
	"crypto"
	"fmt"
	"io"
	"log/slog"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// ClientKey is the private key that this service proves itself with at an
// identity provider (private_key_jwt). The zero value is no key. It does not print.
type ClientKey struct {
	// The key is behind a pointer for the same reason as the value of a Secret.
	signer    *crypto.Signer
	ID        string // kid, "" for none
	Algorithm string
	// Thumbprint is that of the certificate beside the key (x5t#S256), "" for none.
	Thumbprint string
}

// NewClientKey wraps an *rsa.PrivateKey, an *ecdsa.PrivateKey or an ed25519.PrivateKey.
func NewClientKey(signer crypto.Signer, algorithm, id string) ClientKey {
	return ClientKey{signer: &signer, ID: id, Algorithm: algorithm}
}

// IsZero reports whether there is no key.
func (k ClientKey) IsZero() bool { return k.signer == nil }

// Signer returns the key itself, nil for none.
func (k ClientKey) Signer() crypto.Signer {
	if k.signer == nil {
		return nil
	}
	return *k.signer
}

// Format keeps the key out of every kind of print.
func (ClientKey) Format(f fmt.State, _ rune) { io.WriteString(f, conf.Redacted) }

// LogValue keeps the key out of logs.
func (ClientKey) LogValue() slog.Value { return slog.StringValue(conf.Redacted) }
