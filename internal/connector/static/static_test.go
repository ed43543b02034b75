package static_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/static"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reload"
)

var _ connector.PasswordConnector = (*static.Connector)(nil)

func hash(t *testing.T, password string, cost int) conf.Secret {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return conf.NewSecret(string(h))
}

func users(t *testing.T, cost int) []static.User {
	return []static.User{{
		Username: "alice", PasswordHash: hash(t, "correct horse", cost), Email: "alice@corp.example", Name: "Alice", Groups: []string{"staff"},
	}}
}

func TestAuthenticate(t *testing.T) {
	long := strings.Repeat("x", 72)
	p := users(t, bcrypt.MinCost)
	p = append(p, static.User{Username: "long", PasswordHash: hash(t, long, bcrypt.MinCost)})
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
	if turnedAway == 0 {
		t.Errorf("none of %d turned away on %d CPUs", flood, runtime.GOMAXPROCS(0))
	}
}

func TestNewRefuses(t *testing.T) {
	good := users(t, bcrypt.MinCost)[0]
	for name, list := range map[string][]static.User{
		"nobody":         nil,
		"no username":    {{PasswordHash: good.PasswordHash}},
		"twice":          {good, good},
		"plain text":     {{Username: "bob", PasswordHash: conf.NewSecret("hunter2")}},
		"endless bcrypt": {{Username: "bob", PasswordHash: conf.NewSecret("$2a$31$" + strings.Repeat("a", 53))}},
	} {
		if _, err := static.New(list); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

const argonHash = "$argon2id$v=19$m=8192,t=5,p=1$c29tZXNhbHRzb21lc2FsdA$"

func argon(password string) conf.Secret {
	sum := argon2.IDKey([]byte(password), []byte("somesaltsomesalt"), 5, 8192, 1, 32)
	return conf.NewSecret(argonHash + base64.RawStdEncoding.EncodeToString(sum))
}

func TestArgon2id(t *testing.T) {
	long := strings.Repeat("x", 200)
	c, err := static.New([]static.User{
		{Username: "alice", PasswordHash: argon("correct horse")}, {Username: "long", PasswordHash: argon(long)},
		{Username: "bcrypt", PasswordHash: hash(t, "tr0ub4dor", bcrypt.MinCost)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		username, password string
		want               error
	}{
		{"alice", "correct horse", nil}, {"alice", "correct", connector.ErrRejected}, {"alice", "tr0ub4dor", connector.ErrRejected},
		{"long", long, nil}, {"long", long[:72], connector.ErrRejected}, {"bcrypt", "tr0ub4dor", nil}, {"bcrypt", "correct horse", connector.ErrRejected},
		{"nobody", "correct horse", connector.ErrRejected},
	} {
		if id, err := c.Authenticate(t.Context(), tt.username, tt.password); !errors.Is(err, tt.want) || (err == nil) != (id.Subject == tt.username) {
			t.Errorf("%s: %+v, %v", tt.username, id, err)
		}
	}
}

// The reference implementation says so: echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 24
func TestArgon2idVector(t *testing.T) {
	p, problem := static.ParseArgon2id("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	if problem != "" {
		t.Fatal(problem)
	}
	if sum := argon2.IDKey([]byte("password"), p.Salt, p.Time, p.Memory, p.Threads, uint32(len(p.Sum))); !bytes.Equal(sum, p.Sum) {
		t.Errorf("%x, want %x", sum, p.Sum)
	}
}

func TestUsersFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.yaml")
	write := func(text string) {
		t.Helper()
		next := path + ".next"
		if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, path); err != nil { // as the kubelet does, not in place
			t.Fatal(err)
		}
	}
	entry := func(name, password string) string {
		return "- {username: " + name + ", passwordHash: '" + argon(password).Reveal() + "'}\n"
	}
	write("users:\n" + entry("alice", "one") + entry("bob", "two"))
	data, _ := os.ReadFile(path)
	users, err := static.ParseUsers(data)
	if err != nil {
		t.Fatal(err)
	}
	c, err := static.New(users)
	if err != nil {
		t.Fatal(err)
	}
	type news struct {
		users int
		err   error
	}
	heard := make(chan news, 10)
	load := func(data []byte) (int, error) {
		users, err := static.ParseUsers(data)
		if err != nil {
			return 0, err
		}
		return len(users), c.Replace(users)
	}
	accounts := reload.File{What: "users file", Path: path, MaxBytes: static.MaxFileBytes, Apply: load, Loaded: func(users int, err error) { heard <- news{users, err} }}
	go accounts.Watch(t.Context())
	next := func() news {
		t.Helper()
		select {
		case n := <-heard:
			return n
		case <-time.After(10 * reload.Period):
			t.Fatal("the new content was not seen")
			return news{}
		}
	}
	can := func(username, password string, want bool) {
		t.Helper()
		if _, err := c.Authenticate(t.Context(), username, password); (err == nil) != want {
			t.Errorf("%s: %v, want %v", username, err, want)
		}
	}
	if n := next(); n.users != 2 || n.err != nil {
		t.Fatalf("%+v", n)
	}
	can("bob", "two", true)

	write("users:\n" + entry("alice", "new"))
	if n := next(); n.users != 1 || n.err != nil {
		t.Fatalf("%+v", n)
	}
	can("alice", "one", false)
	can("alice", "new", true)
	can("bob", "two", false)
	if _, _, err := c.Recheck(t.Context(), connector.Identity{Namespace: "static", Subject: "bob"}, connector.Session{}); !errors.Is(err, connector.ErrGone) {
		t.Errorf("bob at a refresh: %v", err)
	}
	for _, broken := range []string{"users: []\n", "users:\n- {username: mallory, passwordHash: letmein}\n", "users:\n" + entry("a", "x") + entry("a", "y"), "\tno YAML"} {
		write(broken)
		if n := next(); n.err == nil || n.users != 1 || strings.Contains(n.err.Error(), "letmein") {
			t.Fatalf("%q: %+v", broken, n)
		}
		can("alice", "new", true)
		can("mallory", "letmein", false)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if n := next(); n.err == nil {
		t.Fatalf("%+v", n)
	}
	can("alice", "new", true)
	write("users:\n" + entry("alice", "new"))
	if n := next(); n.err != nil { // the end of the trouble shows, though the content is the same
		t.Fatalf("%+v", n)
	}
}

// What strangers take is not the whole of the queue.
func TestQueue(t *testing.T) {
	c, err := static.New(users(t, bcrypt.MinCost))
	if err != nil {
		t.Fatal(err)
	}
	free := static.Occupy(c)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	wait := func(ctx context.Context, n int) {
		for range n {
			go func() {
				_, err := c.Authenticate(ctx, "mallory", "wrong")
				done <- err
			}()
		}
	}
	slots := max(1, runtime.GOMAXPROCS(0)/2)
	wait(ctx, static.Queue*slots)
	for static.Waiting(c) < int64(static.Queue*slots) {
		runtime.Gosched()
	}
	if _, err := c.Authenticate(t.Context(), "alice", "correct horse"); !errors.Is(err, connector.ErrBusy) || !errors.Is(err, connector.ErrUnavailable) {
		t.Errorf("one more stranger: %v", err)
	}
	known := make(chan error)
	go func() {
		_, err := c.Authenticate(connector.Returning(t.Context()), "alice", "correct horse")
		known <- err
	}()
	for static.Waiting(c) <= int64(static.Queue*slots) {
		runtime.Gosched()
	}
	cancel() // the strangers hang up
	for range static.Queue * slots {
		if err := <-done; !errors.Is(err, connector.ErrUnavailable) {
			t.Errorf("a stranger that hung up: %v", err)
		}
	}
	free()
	if err := <-known; err != nil {
		t.Errorf("who signed in here before: %v", err)
	}
}
