// Package refusal remembers for a short while for lack of which scopes an MCP server
// was refused to a person's client. It is a hint for the consent page, which marks such
// scopes, and never grants anything. Memory is bounded; when it is full the oldest is
// forgotten. What one person's client was refused is told to no other client.
package refusal

import (
	"sync"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/expiring"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
)

const (
	lifetime = 15 * time.Minute
	most     = 4096 // persons with a client at a resource
	mostOf   = 16   // scopes of each
)

// Memory holds what was refused. It is safe for concurrent use; a nil one remembers nothing.
type Memory struct {
	now func() time.Time
	mu  sync.Mutex
	of  *expiring.Map[oauth.Scopes]
}

// New returns an empty memory.
func New(now func() time.Time) *Memory {
	return &Memory{now: now, of: expiring.New[oauth.Scopes](most)}
}

// Person is the key of the person with this subject.
func Person(subject string) string { return oauth.ClientKey(subject)[:12] }

func key(resource, client, person string) string {
	return oauth.ClientKey(resource + "\n" + client + "\n" + person)
}

// Note remembers that a request with a token of this person, of the client with
// this short id, lacked scopes. Any one of them may have been enough.
func (m *Memory) Note(resource, client, subject string, scopes oauth.Scopes) {
	if m == nil || len(scopes) == 0 {
		return
	}
	k := key(resource, client, Person(subject))
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.of.Sweep(now)
	before, known := m.of.Get(k)
	all := scopes.Union(before) // the newest first
	if !known {
		for m.of.Set(k, nil, now.Add(lifetime)) == expiring.ErrFull {
			m.of.Evict()
		}
	}
	_ = m.of.Set(k, all[:min(len(all), mostOf)], now.Add(lifetime)) // it has a place
}

// Recent returns what was noted lately, the newest first. person is from Person.
func (m *Memory) Recent(resource, client, person string) oauth.Scopes {
	if m == nil || person == "" {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of.Sweep(m.now())
	scopes, _ := m.of.Get(key(resource, client, person))
	return scopes
}
