// Package people keeps, for each person, what they allowed: the apps that have a
// sign-in of theirs, the sessions of their browsers, and the keys that they made. It
// is for the person and the operator to see, and decides nothing: what may pass and
// what was ended is for the tokens themselves and package revocation.
//
// Its invariants: a person has one record of bounded size, sealed, in the guard;
// an entry is there until what it is about has died by itself or was ended; and what
// the guard lost is not made up, so that Complete says whether all can be known.
package people

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// Kind is what an entry is about.
type Kind string

// Kinds.
const (
	App     Kind = "app"     // a client, with the tokens of one sign-in
	Browser Kind = "browser" // a session of the person's own browser
	Key     Kind = "key"     // a key that the person made
)

// Who is a person.
type Who struct {
	Subject string `json:"sub"` // the full subject
	Email   string `json:"email,omitempty"`
	Name    string `json:"name,omitempty"`
}

// Entry is one thing that a person allowed.
type Entry struct {
	// ID is what it can be ended by: the family of tokens, or the id of a key.
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`
	// Client is the client id, shortened, and Name what it calls itself; of a key the
	// name that the person gave it. VouchedBy is the host that vouches for the client.
	Client    string `json:"client,omitempty"`
	Name      string `json:"name,omitempty"`
	VouchedBy string `json:"by,omitempty"`
	Host      string `json:"host"`
	// Resource is the MCP server, "" for a browser. Scopes are as granted, and
	// MoreScopes how many are left out here.
	Resource   string   `json:"resource,omitempty"`
	Scopes     []string `json:"scopes,omitempty"`
	MoreScopes int      `json:"more,omitempty"`
	// In Unix seconds: since when, when it was last renewed, and when it dies by itself.
	Since int64 `json:"since"`
	Used  int64 `json:"used"`
	Until int64 `json:"until"`
}

// Record is what is kept of one person, the newest entry first.
type Record struct {
	Who
	Entries []Entry `json:"entries"`
	// Forgotten is how many entries there was no room for, although they may be alive.
	Forgotten int `json:"forgotten,omitempty"`
	// Vouched is when the identity provider last said that the person is there, in Unix
	// seconds: the latest Used of the entries, also of those that are gone.
	Vouched int64 `json:"vouched,omitempty"`
}

// Bounds on a record.
const (
	maxEntries = 40
	maxText    = 120 // of names and ids, in bytes
	maxScopes  = 300 // of the names of all scopes of an entry, in bytes
	// shards is over how many values the list of everybody is spread.
	shards = 256
	// maxShard bounds the people of one of them.
	maxShard = 300
)

// Keeper is where records are held; guard.Guard is one.
type Keeper interface {
	Kept(ctx context.Context, id string) (string, error)
	Change(ctx context.Context, id string, edit guard.Edit) error
}

// Records keeps them. New makes one.
type Records struct {
	keeper  Keeper
	records seal.Box[Record]
	shard   seal.Box[map[string]int64]
	// Complete says that the keeper outlives this process and is shared by all
	// replicas, so that what is not in a record is not there.
	Complete bool
}

// New returns the records of a keyring in keeper.
func New(keys *seal.Keyring, keeper Keeper, complete bool) *Records {
	return &Records{keeper: keeper, records: seal.NewBox[Record](keys, "what a person allowed"), shard: seal.NewBox[map[string]int64](keys, "people"), Complete: complete}
}

func recordID(subject string) string {
	sum := sha256.Sum256([]byte(subject))
	return "person " + base64.RawURLEncoding.EncodeToString(sum[:])
}

func shardID(i int) string { return fmt.Sprintf("people %02x", i) }

func shardOf(subject string) int { return int(sha256.Sum256([]byte(subject))[0]) }

// Note writes an entry down, in place of the one with its ID. What is known of the
// person replaces the earlier one. Errors wrap guard.ErrUnavailable.
func (r *Records) Note(ctx context.Context, who Who, e Entry) error {
	if r == nil {
		return nil
	}
	e.trim()
	var last int64
	err := r.change(ctx, who.Subject, func(v *Record, now int64) {
		v.Who, v.Vouched = who, max(v.Vouched, e.Used)
		if i := v.find(e.ID); i >= 0 {
			e.Since = min(e.Since, v.Entries[i].Since)
			v.Entries = slices.Delete(v.Entries, i, i+1)
		}
		v.Entries = slices.Insert(v.Entries, 0, e)
		v.makeRoom(now, maxEntries)
		last = v.last()
	})
	if err != nil {
		return err
	}
	return r.enlist(ctx, who.Subject, last)
}

// Forget takes entries out of a person's record: what they are about was ended.
// Without IDs it takes all.
func (r *Records) Forget(ctx context.Context, subject string, ids ...string) error {
	if r == nil {
		return nil
	}
	return r.change(ctx, subject, func(v *Record, _ int64) {
		v.Entries = slices.DeleteFunc(v.Entries, func(e Entry) bool { return len(ids) == 0 || slices.Contains(ids, e.ID) })
		if len(ids) == 0 {
			v.Forgotten = 0
		}
	})
}

// Vouched returns when the identity provider last said that the person is there, as
// far as the record knows; the zero time is never. Errors wrap guard.ErrUnavailable.
func (r *Records) Vouched(ctx context.Context, subject string, now time.Time) (time.Time, error) {
	v, err := r.Of(ctx, subject, now)
	if err != nil || v.Vouched == 0 {
		return time.Time{}, err
	}
	return time.Unix(v.Vouched, 0), nil
}

// Of returns a person's record as it is now, without what has died.
func (r *Records) Of(ctx context.Context, subject string, now time.Time) (Record, error) {
	sealed, err := r.keeper.Kept(ctx, recordID(subject))
	if err != nil || sealed == "" {
		return Record{Who: Who{Subject: subject}}, err
	}
	v, err := r.records.Open(sealed, subject)
	if err != nil { // of keys that are gone, as after a restart with new ones
		return Record{Who: Who{Subject: subject}}, nil
	}
	v.sweep(now.Unix())
	return v, nil
}

// All calls each with the record of everybody who allowed something that lives.
func (r *Records) All(ctx context.Context, now time.Time, each func(Record) error) error {
	for i := range shards {
		people, err := r.kept(ctx, i)
		if err != nil {
			return err
		}
		subjects := make([]string, 0, len(people))
		for subject := range people {
			subjects = append(subjects, subject)
		}
		slices.Sort(subjects)
		for _, subject := range subjects {
			v, err := r.Of(ctx, subject, now)
			if err != nil {
				return err
			}
			if len(v.Entries) == 0 && v.Forgotten == 0 {
				continue
			}
			if err := each(v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Records) kept(ctx context.Context, shard int) (map[string]int64, error) {
	sealed, err := r.keeper.Kept(ctx, shardID(shard))
	if err != nil || sealed == "" {
		return nil, err
	}
	people, _ := r.shard.Open(sealed) // what does not open is of keys that are gone
	return people, nil
}

// errAsItIs: there is nothing to change.
var errAsItIs = errors.New("as it is")

// slack is by how much the life of a person in the list of everybody may be too
// short before it is written again.
const slack = 24 * 3600

// enlist puts a person on the list of everybody, until last.
func (r *Records) enlist(ctx context.Context, subject string, last int64) error {
	at := shardOf(subject)
	people, err := r.kept(ctx, at)
	if err != nil || people[subject] >= last {
		return err
	}
	err = r.keeper.Change(ctx, shardID(at), func(old string, now time.Time) (string, time.Duration, error) {
		list := map[string]int64{}
		if old != "" {
			if opened, err := r.shard.Open(old); err == nil {
				list = opened
			}
		}
		for s, until := range list {
			if until <= now.Unix() {
				delete(list, s)
			}
		}
		if list[subject] >= last {
			return "", 0, errAsItIs
		}
		if _, there := list[subject]; !there && len(list) >= maxShard {
			return "", 0, errAsItIs // the record itself is there for who asks by name
		}
		list[subject] = last + slack
		until := last + slack
		for _, other := range list {
			until = max(until, other)
		}
		life := time.Unix(until, 0).Sub(now)
		sealed, err := r.shard.Seal(list, time.Unix(until, 0))
		return sealed, life, err
	})
	if errors.Is(err, errAsItIs) {
		return nil
	}
	return err
}

// change edits a person's record in one step.
func (r *Records) change(ctx context.Context, subject string, edit func(v *Record, now int64)) error {
	return r.keeper.Change(ctx, recordID(subject), func(old string, now time.Time) (string, time.Duration, error) {
		v := Record{Who: Who{Subject: subject}}
		if old != "" {
			if opened, err := r.records.Open(old, subject); err == nil {
				v = opened
			}
		}
		v.sweep(now.Unix())
		edit(&v, now.Unix())
		if len(v.Entries) == 0 {
			return "", 0, nil
		}
		for {
			until := time.Unix(v.last(), 0)
			sealed, err := r.records.Seal(v, until, subject)
			if err != nil || len(sealed) <= guard.MaxKept {
				return sealed, until.Sub(now), err
			}
			v.makeRoom(now.Unix(), len(v.Entries)-1)
		}
	})
}

func (v *Record) find(id string) int {
	return slices.IndexFunc(v.Entries, func(e Entry) bool { return e.ID == id })
}

func (v *Record) sweep(now int64) {
	v.Entries = slices.DeleteFunc(v.Entries, func(e Entry) bool { return e.Until <= now })
}

// last is when the last entry dies.
func (v *Record) last() (last int64) {
	for _, e := range v.Entries {
		last = max(last, e.Until)
	}
	return last
}

// makeRoom leaves most entries: those that went unused for longest go first, and
// keys last, because the person has no other way to end one.
func (v *Record) makeRoom(now int64, most int) {
	v.sweep(now)
	for len(v.Entries) > max(most, 1) {
		oldest := slices.MinFunc(v.Entries, func(a, b Entry) int {
			if isKey := cmp.Compare(rank(a), rank(b)); isKey != 0 {
				return isKey
			}
			return cmp.Compare(a.Used, b.Used)
		})
		v.Entries = slices.Delete(v.Entries, v.find(oldest.ID), v.find(oldest.ID)+1)
		v.Forgotten++
	}
}

// rank is 0 for what is forgotten first.
func rank(e Entry) int {
	return slices.Index([]Kind{Browser, App, Key}, e.Kind)
}

// trim bounds the texts of an entry.
func (e *Entry) trim() {
	for _, s := range []*string{&e.Client, &e.Name, &e.VouchedBy} {
		*s = cut(*s, maxText)
	}
	room := maxScopes
	for i, scope := range e.Scopes {
		if room -= len(scope) + 1; room < 0 {
			e.MoreScopes += len(e.Scopes) - i
			e.Scopes = slices.Clone(e.Scopes[:i])
			return
		}
	}
}

// cut returns at most n bytes of s, and never a part of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}
