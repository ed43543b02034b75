// Package static signs people in with the accounts of the configuration file.
// Its invariants: an unknown user and a wrong password are alike in text and in
// time, and password hashing never takes more than a share of the CPUs.
package static

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash/maphash"
	"runtime"
	"slices"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

const (
	// Namespace of every identity of this connector.
	Namespace = "static"

	maxPassword = 72 // bcrypt ignores what is beyond
	maxUsername = 256
	maxCost     = 16 // about 4 s; more would be a way to stop the service
	maxWait     = 10 * time.Second
)

// Connector implements connector.PasswordConnector.
type Connector struct {
	users []account
	seed  maphash.Seed
	slots chan struct{} // one per hash being computed
}

type account struct {
	identity connector.Identity
	username string
	hash     config.Secret
}

// New takes the accounts of p.
func New(p config.Provider) (*Connector, error) {
	c := &Connector{seed: maphash.MakeSeed(), slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	for _, u := range p.Users {
		if err := c.add(u); err != nil {
			return nil, fmt.Errorf("user %q: %w", u.Username, err)
		}
	}
	if len(c.users) == 0 {
		return nil, errors.New("the static provider needs at least one user")
	}
	return c, nil
}

func (c *Connector) add(u config.User) error {
	if u.Username == "" || len(u.Username) > maxUsername {
		return fmt.Errorf("username must have 1 to %d bytes", maxUsername)
	}
	if slices.ContainsFunc(c.users, func(a account) bool { return a.username == u.Username }) {
		return errors.New("username is not unique")
	}
	cost, err := bcrypt.Cost([]byte(u.PasswordHash.Reveal()))
	if err != nil {
		return errors.New("password hash is not bcrypt")
	}
	if cost > maxCost {
		return fmt.Errorf("bcrypt cost %d is more than %d", cost, maxCost)
	}
	c.users = append(c.users, account{
		username: u.Username,
		hash:     u.PasswordHash,
		identity: connector.Identity{
			Namespace: Namespace,
			Subject:   u.Username,
			Email:     u.Email,
			Name:      u.Name,
			Groups:    slices.Clone(u.Groups),
		},
	})
	return nil
}

// Authenticate implements connector.PasswordConnector. It waits its turn and
// fails with ErrUnavailable if that does not come in time.
func (c *Connector) Authenticate(ctx context.Context, username, password string) (connector.Identity, error) {
	// Refused for what was typed alone, so the early return tells nothing about who exists.
	if password == "" || len(password) > maxPassword || len(username) > maxUsername {
		return connector.Identity{}, connector.ErrRejected
	}
	if err := c.acquire(ctx); err != nil {
		return connector.Identity{}, err
	}
	defer func() { <-c.slots }()

	user, known := c.find(username)
	matches := bcrypt.CompareHashAndPassword([]byte(user.hash.Reveal()), []byte(password)) == nil
	if !known || !matches {
		return connector.Identity{}, connector.ErrRejected
	}
	id := user.identity
	id.Groups = slices.Clone(id.Groups)
	return id, nil
}

func (c *Connector) acquire(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: too many sign-ins at once", connector.ErrUnavailable)
	}
}

// find returns the account, or for an unknown name one to spend the same time
// on. Which one depends on the name, so that with hashes of several costs an
// unknown name looks like any other account each time it is tried.
func (c *Connector) find(username string) (account, bool) {
	found := int(maphash.String(c.seed, username) % uint64(len(c.users)))
	known := false
	for i, u := range c.users {
		if subtle.ConstantTimeCompare([]byte(u.username), []byte(username)) == 1 {
			found, known = i, true
		}
	}
	return c.users[found], known
}

// Recheck implements connector.Rechecker: the account is still configured.
func (c *Connector) Recheck(_ context.Context, id connector.Identity, _ connector.Session) (connector.Identity, connector.Session, error) {
	for _, u := range c.users {
		if u.identity.Subject == id.Subject {
			now := u.identity
			now.Groups = slices.Clone(now.Groups)
			return now, connector.Session{}, nil
		}
	}
	return connector.Identity{}, connector.Session{}, fmt.Errorf("%w: the account is not configured any more", connector.ErrGone)
}
