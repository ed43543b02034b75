package dpop

import (
	"errors"
	"sync"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// Nonces are sealed times: any replica knows how old one is, and nothing is stored
// (RFC 9449, sections 8 and 9). The authorization server and the MCP servers of a
// host share them, because clients keep one nonce for each origin.
type Nonces struct {
	box      seal.Box[issued]
	lifetime time.Duration
	now      func() time.Time

	mu      sync.RWMutex
	current map[string]current // by origin
}

type issued struct {
	At int64 `json:"t"` // Unix seconds
}

type current struct {
	nonce string
	at    time.Time
}

// NewNonces returns nonces that are good for this long.
func NewNonces(keys *seal.Keyring, lifetime time.Duration, now func() time.Time) *Nonces {
	return &Nonces{box: seal.NewBox[issued](keys, "dpop nonce"), lifetime: lifetime, now: now, current: map[string]current{}}
}

// Issue returns a nonce for the host with this origin. Requests within a fraction
// of its life get the same one.
func (n *Nonces) Issue(origin string) string {
	now := n.now()
	n.mu.RLock()
	c := n.current[origin]
	n.mu.RUnlock()
	if age := now.Sub(c.at); c.nonce != "" && age >= 0 && age < n.lifetime/8 {
		return c.nonce
	}
	sealed, err := n.box.Seal(issued{now.Unix()}, now.Add(n.lifetime), origin)
	if err != nil {
		return ""
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.current[origin] = current{sealed, now} // origins are those of the configuration
	return sealed
}

// maxNonce bounds what is opened: a nonce of this service has some 120 characters.
const maxNonce = 256

var errNonce = errors.New("it is no nonce of this host, or too old")

// check reports whether a nonce of this host that is alive is in the first half of
// its life. Errors are for those that are not.
func (n *Nonces) check(nonce, origin string) (fresh bool, err error) {
	if nonce == "" || len(nonce) > maxNonce {
		return false, errNonce
	}
	now := n.now()
	n.mu.RLock()
	c := n.current[origin]
	n.mu.RUnlock()
	if c.nonce == nonce && now.Sub(c.at) < n.lifetime/2 {
		return true, nil
	}
	v, err := n.box.Open(nonce, origin)
	if err != nil {
		return false, errNonce
	}
	return now.Sub(time.Unix(v.At, 0)) < n.lifetime/2, nil
}
