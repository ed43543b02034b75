package apikey

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// document is the content of a file with these entries.
func document(entries ...string) []byte {
	return []byte("keys:\n- " + strings.Join(entries, "\n- ") + "\n")
}

func entry(name, hashes, more string) string {
	return fmt.Sprintf("{name: %s, hashes: [%s], scopes: [mcp], expires: 2027-01-31%s}", name, hashes, more)
}

func apply(t *testing.T, s *Store, data []byte) {
	t.Helper()
	if _, err := s.Apply(data); err != nil {
		t.Fatal(err)
	}
}

// What was remembered of a key dies with it, and with each change of it, and lives on otherwise.
func TestStoreWithdraws(t *testing.T) {
	ours, hash := NewKey()
	next, nextHash := NewKey()
	_, otherHash := NewKey()
	s := NewStore(Config{Where: where()}, time.Now)
	apply(t, s, document(entry("ci", hash, ""), entry("other", otherHash, "")))
	first := s.find(ours)
	if first == nil || first.Name != "ci" || first.withdrawn.Load() {
		t.Fatalf("%+v", first)
	}
	keep := func(what string, data []byte) {
		t.Helper()
		apply(t, s, data)
		if now := s.find(ours); now == nil || first.withdrawn.Load() || now.withdrawn != first.withdrawn {
			t.Errorf("%s: the key was withdrawn", what)
		}
	}
	keep("another key goes", document(entry("ci", hash, "")))
	keep("its successor comes", document(entry("ci", hash+", "+nextHash, "")))
	if s.find(next) == nil || s.Len() != 2 {
		t.Error("only one of two keys is valid while one is rotated")
	}
	if _, err := s.Apply([]byte("keys: [{name: ci}]")); err == nil || s.find(ours) == nil || first.withdrawn.Load() {
		t.Errorf("a broken file changed something: %v", err)
	}

	apply(t, s, document(entry("ci", nextHash, "")))
	if s.find(ours) != nil || !first.withdrawn.Load() {
		t.Error("a key that was rotated out is valid")
	}
	for _, change := range []string{
		", tools: [a]", ", groups: [a]", ", subject: a", ", sources: [10.0.0.0/8]", ", resources: [" + one + "]",
	} {
		apply(t, s, document(entry("ci", hash, "")))
		before := s.find(ours)
		apply(t, s, document(entry("ci", hash, change)))
		if !before.withdrawn.Load() || s.find(ours).withdrawn.Load() {
			t.Errorf("%s: what was remembered of the key stays good", change)
		}
	}
	_, digits, _ := strings.Cut(otherHash, hashName)
	before := s.find(ours)
	apply(t, s, document(entry("ci", idOf(ours)+hashName+digits, ", resources: ["+one+"]")))
	if s.find(ours) != nil || !before.withdrawn.Load() {
		t.Error("what was remembered of a key stays good though another one has its id")
	}
}

func TestStoreTwoSources(t *testing.T) {
	inline, hash := NewKey()
	_, id, _ := strings.Cut(hash, ":")
	c, check := resolve(t, "apiKeys:\n  keys:\n  - "+entry("ci", hash, ""), where())
	if err := check.Err(); err != nil {
		t.Fatal(err)
	}
	s := NewStore(c, time.Now)
	if s.find(inline) == nil {
		t.Error("the keys of the configuration wait for the file")
	}
	_, other := NewKey()
	for what, data := range map[string][]byte{
		"the name of a key of the configuration": document(entry("ci", other, "")),
		"the id of a key of the configuration":   document(entry("b", idOf(inline)+":"+id, "")),
	} {
		if _, err := s.Apply(data); err == nil || !strings.Contains(err.Error(), "apiKeys.keys[0]") {
			t.Errorf("%s: %v", what, err)
		}
	}
	apply(t, s, document(entry("b", other, "")))
	held := s.find(inline)
	apply(t, s, []byte("keys: []"))
	if s.find(inline) == nil || held.withdrawn.Load() || s.Len() != 1 {
		t.Error("the keys of the configuration changed with the file")
	}
}

// The right id with another secret is nothing.
func TestFindComparesTheSecret(t *testing.T) {
	key, hash := NewKey()
	s := NewStore(Config{Where: where()}, time.Now)
	apply(t, s, document(entry("ci", hash, "")))
	for range 50 {
		body := Prefix + idOf(key) + "_" + random(secretSize)
		if s.find(body+"_"+checksum(body)) != nil {
			t.Fatal("a secret that was made up is taken")
		}
	}
	if s.find(key) == nil {
		t.Error("the key itself is not taken")
	}
}

// A key counts until the second in which it ends, at the servers that it names, and a
// refusal says whose it is.
func TestVerify(t *testing.T) {
	key, hash := NewKey()
	s := NewStore(Config{Where: where()}, time.Now)
	apply(t, s, document(entry("ci", hash, ", resources: ["+one+"]")))
	ends := s.find(key).Expires
	host := &resource.Host{Issuer: "https://mcp.example.com"}
	here := &resource.Resource{URI: one, Host: host, APIKeys: true}
	for name, tt := range map[string]struct {
		at   time.Time
		r    *resource.Resource
		want reasons.Reason
	}{
		"its last second":          {ends.Add(-time.Second), here, ""},
		"its end":                  {ends, here, reasons.APIKeyExpired},
		"another server":           {ends.Add(-time.Hour), &resource.Resource{URI: one + "/x", Host: host, APIKeys: true}, reasons.APIKeyNotAccepted},
		"a server that takes none": {ends.Add(-time.Hour), &resource.Resource{URI: one, Host: host}, reasons.APIKeyNotAccepted},
	} {
		got, err := Kind{Keys: s, Now: func() time.Time { return tt.at }}.Verify(key, tt.r)
		refused, _ := errors.AsType[credential.Refused](err)
		if refused.Reason != tt.want || (err == nil) != (tt.want == "") || err == nil && (got.Audience != one || got.Expires != ends.Unix() || got.ID != idOf(key) || got.Withdrawn == nil) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if proven := tt.r.APIKeys && err != nil; proven && (refused.Subject != "apikey:ci" || refused.Client != "apikey:ci" || refused.ID != idOf(key)) {
			t.Errorf("%s: %+v does not say whose key it is", name, refused)
		}
	}
}

// many is a file of n keys, and one of them.
func many(n int) (data []byte, key string) {
	var b strings.Builder
	b.WriteString("keys:\n")
	for i := range n {
		k, hash := NewKey()
		fmt.Fprintf(&b, "- %s\n", entry(fmt.Sprint("key-", i), hash, ""))
		key = k
	}
	return []byte(b.String()), key
}

func TestManyKeys(t *testing.T) {
	data, key := many(100_000)
	s := NewStore(Config{Where: where()}, time.Now)
	began := time.Now()
	apply(t, s, data)
	t.Logf("%d MB in %s", len(data)>>20, time.Since(began))
	if s.Len() != 100_000 || s.find(key) == nil {
		t.Error("not all keys are in force")
	}
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{1, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			data, key := many(n)
			s := NewStore(Config{Where: where()}, time.Now)
			if _, err := s.Apply(data); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if s.find(key) == nil {
					b.Fatal("not found")
				}
			}
		})
	}
}
