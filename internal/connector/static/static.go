// Package static signs people in with the accounts of the configuration file, or
// of a file of their own that may change at any time: broken content changes
// nothing, and who is no longer in it is refused at the next refresh. Its
// invariants: an unknown user and a wrong password are alike in text and in
// time, password hashing never takes more than a share of the CPUs, and few wait
// for it.
package static

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash/maphash"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

const (
	// Namespace of every identity of this connector.
	Namespace = "static"

	maxPassword = 256
	maxBcrypt   = 72 // bytes of a password; bcrypt ignores what is beyond
	maxUsername = 256
	maxCost     = 16 // about 4 s; more would be a way to stop the service
	maxWait     = 5 * time.Second
	// queue is how many may wait for each slot: at the usual costs a second or
	// two. As many again may wait who signed in before in their browser.
	queue = 8
)

// Connector implements connector.PasswordConnector.
type Connector struct {
	users atomic.Pointer[[]account] // never none, never changed in place
	seed  maphash.Seed
	slots chan struct{} // one per hash being computed

	waiting atomic.Int64 // for a slot
}

type account struct {
	identity connector.Identity
	username string
	hash     conf.Secret // bcrypt or argon2id
}

// New returns a connector with these accounts.
func New(users []User) (*Connector, error) {
	c := &Connector{seed: maphash.MakeSeed(), slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	if err := c.Replace(users); err != nil {
		return nil, err
	}
	return c, nil
}

// Replace puts users in place of those there were, or changes nothing.
func (c *Connector) Replace(users []User) error {
	var accounts []account
	for _, u := range users {
		a, err := newAccount(u)
		if err == nil && slices.ContainsFunc(accounts, func(o account) bool { return o.username == u.Username }) {
			err = errors.New("username is not unique")
		}
		if err != nil {
			return fmt.Errorf("user %q: %w", u.Username, err)
		}
		accounts = append(accounts, a)
	}
	if len(accounts) == 0 {
		return errors.New("the static provider needs at least one user")
	}
	c.users.Store(&accounts)
	return nil
}

func newAccount(u User) (account, error) {
	if u.Username == "" || len(u.Username) > maxUsername {
		return account{}, fmt.Errorf("username must have 1 to %d bytes", maxUsername)
	}
	if cost, err := bcrypt.Cost([]byte(u.PasswordHash.Reveal())); err == nil && cost > maxCost {
		return account{}, fmt.Errorf("bcrypt cost %d is more than %d", cost, maxCost)
	} else if err != nil {
		if _, problem := parseArgon2id(u.PasswordHash.Reveal()); problem != "" {
			return account{}, errors.New("password hash is neither bcrypt nor argon2id")
		}
	}
	return account{
		username: u.Username,
		hash:     u.PasswordHash,
		identity: connector.Identity{
			Namespace: Namespace,
			Subject:   u.Username,
			Email:     u.Email,
			Name:      u.Name,
			Groups:    slices.Clone(u.Groups),
		},
	}, nil
}

// matches reports whether password is the account's. It takes as long for any.
func (a account) matches(password string) bool {
	hash := a.hash.Reveal()
	if p, problem := parseArgon2id(hash); problem == "" {
		sum := argon2.IDKey([]byte(password), p.Salt, p.Time, p.Memory, p.Threads, uint32(len(p.Sum)))
		return subtle.ConstantTimeCompare(sum, p.Sum) == 1
	}
	right := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	return right && len(password) <= maxBcrypt
}

// Authenticate implements connector.PasswordConnector. It waits its turn and
// fails with ErrBusy if that does not come in time, or at once if too many wait.
func (c *Connector) Authenticate(ctx context.Context, username, password string) (connector.Identity, error) {
	// This depends only on the input, so returning early does not reveal which users exist.
	if password == "" || len(password) > maxPassword || len(username) > maxUsername {
		return connector.Identity{}, connector.ErrRejected
	}
	if err := c.acquire(ctx); err != nil {
		return connector.Identity{}, err
	}
	defer func() { <-c.slots }()

	user, known := c.find(username)
	matches := user.matches(password)
	if !known || !matches {
		return connector.Identity{}, connector.ErrRejected
	}
	id := user.identity
	id.Groups = slices.Clone(id.Groups)
	return id, nil
}

func (c *Connector) acquire(ctx context.Context) error {
	select {
	case c.slots <- struct{}{}:
		return nil
	default:
	}
	places := queue * cap(c.slots)
	if connector.IsReturning(ctx) {
		places *= 2
	}
	defer c.waiting.Add(-1)
	if c.waiting.Add(1) > int64(places) {
		return connector.ErrBusy
	}
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return connector.ErrBusy
	}
}

// find returns the account, or for an unknown name one to spend the same time
// on. Which one depends on the name, so that with hashes of several costs an
// unknown name looks like any other account each time it is tried.
func (c *Connector) find(username string) (account, bool) {
	users := *c.users.Load()
	found := int(maphash.String(c.seed, username) % uint64(len(users)))
	known := false
	for i, u := range users {
		if subtle.ConstantTimeCompare([]byte(u.username), []byte(username)) == 1 {
			found, known = i, true
		}
	}
	return users[found], known
}

// Recheck implements connector.Rechecker: the account is still configured.
func (c *Connector) Recheck(_ context.Context, id connector.Identity, _ connector.Session) (connector.Identity, connector.Session, error) {
	for _, u := range *c.users.Load() {
		if u.identity.Subject == id.Subject {
			now := u.identity
			now.Groups = slices.Clone(now.Groups)
			return now, connector.Session{}, nil
		}
	}
	return connector.Identity{}, connector.Session{}, fmt.Errorf("%w: the account is not configured any more", connector.ErrGone)
}
