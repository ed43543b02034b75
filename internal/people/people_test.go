package people

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

func records(t *testing.T, now func() time.Time) (*Records, *guard.Memory) {
	t.Helper()
	keys, err := seal.NewKeyring(now, bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	m := guard.NewMemory(1<<12, now)
	return New(keys, m, true), m
}

func TestRecord(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	r, _ := records(t, func() time.Time { return now })
	ctx := context.Background()
	jane := Who{Subject: "corp:jane", Email: "jane@example.com"}
	entry := func(id string, hours int) Entry {
		return Entry{ID: id, Kind: App, Client: "c", Since: now.Unix(), Used: now.Unix(), Until: now.Add(time.Duration(hours) * time.Hour).Unix()}
	}
	for _, e := range []Entry{entry("a", 1), entry("b", 48), entry("a", 2)} {
		if err := r.Note(ctx, jane, e); err != nil {
			t.Fatal(err)
		}
	}
	ids := func() string {
		v, err := r.Of(ctx, jane.Subject, now)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range v.Entries {
			out = append(out, e.ID)
		}
		return strings.Join(out, " ")
	}
	if got := ids(); got != "a b" {
		t.Errorf("entries %q", got)
	}
	if err := r.Note(ctx, Who{Subject: "corp:joe"}, entry("j", 3)); err != nil {
		t.Fatal(err)
	}
	everybody := func() (out []string) {
		if err := r.All(ctx, now, func(v Record) error { out = append(out, v.Subject); return nil }); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := everybody(); len(got) != 2 {
		t.Errorf("everybody: %v", got)
	}
	now = now.Add(2 * time.Hour)
	if got := ids(); got != "b" {
		t.Errorf("after two hours %q", got)
	}
	if err := r.Forget(ctx, jane.Subject, "b"); err != nil {
		t.Fatal(err)
	}
	if got := ids(); got != "" {
		t.Errorf("after it was ended %q", got)
	}
	if got := everybody(); len(got) != 1 || got[0] != "corp:joe" {
		t.Errorf("everybody: %v", got)
	}
}

// However much a person allows, the record fits the guard, and says what it lost.
func TestRecordIsBounded(t *testing.T) {
	now := time.Now()
	r, m := records(t, func() time.Time { return now })
	ctx := context.Background()
	long := strings.Repeat("ä", 400)
	for i := range 3 * maxEntries {
		e := Entry{ID: fmt.Sprint("id ", i), Kind: App, Client: long, Name: long, VouchedBy: long, Host: "h", Resource: "https://mcp.example.com/" + strings.Repeat("x", 300), Used: int64(i), Until: now.Add(time.Hour).Unix()}
		if i == 0 {
			e.Kind = Key
		}
		for j := range 200 {
			e.Scopes = append(e.Scopes, fmt.Sprint("scope:", j))
		}
		if err := r.Note(ctx, Who{Subject: "s", Email: long, Name: long}, e); err != nil {
			t.Fatal(err)
		}
	}
	v, err := r.Of(ctx, "s", now)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Entries)+v.Forgotten != 3*maxEntries || len(v.Entries) < 10 {
		t.Errorf("%d entries, %d forgotten", len(v.Entries), v.Forgotten)
	}
	if v.find("id 0") < 0 || v.Entries[0].ID != fmt.Sprint("id ", 3*maxEntries-1) {
		t.Error("a key, or the newest entry, was forgotten")
	}
	if e := v.Entries[0]; len(e.Scopes)+e.MoreScopes != 200 {
		t.Errorf("%d scopes and %d more", len(e.Scopes), e.MoreScopes)
	}
	if sealed, _ := m.Kept(ctx, recordID("s")); len(sealed) > guard.MaxKept || strings.Contains(sealed, "mcp.example.com") {
		t.Errorf("%d bytes are held", len(sealed))
	}
}

func TestLostRecordIsEmpty(t *testing.T) {
	now := time.Now()
	r, m := records(t, func() time.Time { return now })
	ctx := context.Background()
	_ = m.Keep(ctx, recordID("s"), "of other keys", now.Add(time.Hour))
	if v, err := r.Of(ctx, "s", now); err != nil || len(v.Entries) != 0 {
		t.Errorf("%v %v", v, err)
	}
	if err := r.Note(ctx, Who{Subject: "s"}, Entry{ID: "a", Until: now.Add(time.Hour).Unix()}); err != nil {
		t.Error(err)
	}
	sealed, err := m.Kept(ctx, recordID("s"))
	if err != nil || sealed == "" {
		t.Fatalf("%q, %v", sealed, err)
	}
	_ = m.Keep(ctx, recordID("t"), sealed, now.Add(time.Hour)) // of another person
	if v, err := r.Of(ctx, "t", now); err != nil || v.Subject != "t" || len(v.Entries) != 0 {
		t.Errorf("the record of s, read for t: %v %v", v, err)
	}
	var none *Records
	if err := none.Note(ctx, Who{Subject: "s"}, Entry{}); err != nil {
		t.Error(err)
	}
}
