package static_test

import (
	"context"
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/static"
)

var _ connector.PasswordConnector = (*static.Connector)(nil)

func hash(t *testing.T, password string, cost int) config.Secret {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return config.NewSecret(string(h))
}

func users(t *testing.T, cost int) config.Provider {
	return config.Provider{Name: "static", Users: []config.User{{
		Username: "alice", PasswordHash: hash(t, "correct horse", cost), Email: "alice@corp.example", Name: "Alice", Groups: []string{"staff"},
	}}}
}

func TestAuthenticate(t *testing.T) {
	long := strings.Repeat("x", 72)
	p := users(t, bcrypt.MinCost)
	p.Users = append(p.Users, config.User{Username: "long", PasswordHash: hash(t, long, bcrypt.MinCost)})
	c, err := static.New(p)
	if err != nil {
		t.Fatal(err)
	}
	want := connector.Identity{Namespace: "static", Subject: "alice", Email: "alice@corp.example", Name: "Alice", Groups: []string{"staff"}}
	if id, err := c.Authenticate(t.Context(), "alice", "correct horse"); err != nil || !reflect.DeepEqual(id, want) {
		t.Errorf("identity %+v, %v", id, err)
	}
	if _, err := c.Authenticate(t.Context(), "long", long); err != nil {
		t.Error("72 bytes:", err)
	}
	for name, in := range map[string][2]string{
		"wrong password":        {"alice", "wrong"},
		"empty password":        {"alice", ""},
		"unknown user":          {"mallory", "wrong"},
		"other case":            {"Alice", "correct horse"},
		"empty user":            {"", "correct horse"},
		"beyond bcrypt's reach": {"long", long + "y"},
		"long user":             {strings.Repeat("a", 300), "correct horse"},
	} {
		if id, err := c.Authenticate(t.Context(), in[0], in[1]); err != connector.ErrRejected || id.Subject != "" {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
	// An unknown name is checked against a real hash; the password of that
	// account must not open the door.
	for _, name := range []string{"b", "c", "d", "e", "f", "g", "h", "i"} {
		for _, password := range []string{"correct horse", long} {
			if id, err := c.Authenticate(t.Context(), name, password); err != connector.ErrRejected || id.Subject != "" {
				t.Errorf("unknown %s with somebody's password: %+v, %v", name, id, err)
			}
		}
	}
}

// TestTime compares with a wide margin: without the stand-in hash an unknown
// user is answered some thousand times faster.
func TestTime(t *testing.T) {
	c, err := static.New(users(t, 8))
	if err != nil {
		t.Fatal(err)
	}
	measure := func(username string) time.Duration {
		best := time.Hour
		for range 3 {
			start := time.Now()
			_, _ = c.Authenticate(t.Context(), username, "wrong")
			best = min(best, time.Since(start))
		}
		return best
	}
	known, unknown := measure("alice"), measure("mallory")
	if unknown < known/4 {
		t.Errorf("unknown user took %v, wrong password %v", unknown, known)
	}
}

func TestFloodWaitsItsTurn(t *testing.T) {
	c, err := static.New(users(t, 10))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	const flood = 200 // at cost 10 many seconds of work
	results := make(chan error, flood)
	start := time.Now()
	for range flood {
		go func() {
			_, err := c.Authenticate(ctx, "alice", "wrong")
			results <- err
		}()
	}
	turnedAway := 0
	for range flood {
		if err := <-results; errors.Is(err, connector.ErrUnavailable) {
			turnedAway++
		} else if !errors.Is(err, connector.ErrRejected) {
			t.Error(err)
		}
	}
	if turnedAway == 0 || time.Since(start) > 5*time.Second {
		t.Errorf("%d of %d turned away after %v on %d CPUs", turnedAway, flood, time.Since(start), runtime.GOMAXPROCS(0))
	}
}

func TestNewRefuses(t *testing.T) {
	good := users(t, bcrypt.MinCost).Users[0]
	for name, list := range map[string][]config.User{
		"nobody":         nil,
		"no username":    {{PasswordHash: good.PasswordHash}},
		"twice":          {good, good},
		"plain text":     {{Username: "bob", PasswordHash: config.NewSecret("hunter2")}},
		"endless bcrypt": {{Username: "bob", PasswordHash: config.NewSecret("$2a$31$" + strings.Repeat("a", 53))}},
	} {
		if _, err := static.New(config.Provider{Users: list}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
