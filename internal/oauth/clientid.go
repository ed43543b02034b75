package oauth

import (
	"crypto/sha256"
	"encoding/base64"
)

// ClientKey returns a short fixed-size name for a client that is as unique as its id.
func ClientKey(id string) string {
	sum := sha256.Sum256([]byte(id))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// DynamicIDPrefix begins the ids of clients that register themselves.
const DynamicIDPrefix = "dcr1."

// ShortClientID is a client id cut for logs. A short id is its own short form,
// so an operator may name a client in either.
func ShortClientID(id string) string {
	if len(id) > 64 {
		return id[:48] + "…" + ClientKey(id)[:8]
	}
	return id
}
