package personal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// A key opens at the server it was made for, which takes such keys, until it expires.
func TestOpen(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	ring, err := seal.NewKeyring(func() time.Time { return now }, bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	table, err := resource.NewTable([]resource.Entry{
		{Host: "a.example", Scheme: "https", Path: "/mcp", PersonalKeys: true}, {Host: "a.example", Scheme: "https", Path: "/other", PersonalKeys: true},
		{Host: "b.example", Scheme: "https", Path: "/mcp", PersonalKeys: true}, {Host: "a.example", Scheme: "https", Path: "/none"},
	})
	if err != nil {
		t.Fatal(err)
	}
	all := table.All()
	keys := New(ring)
	made := Key{Identity: connector.Identity{Namespace: "corp", Subject: "jane"}, Resource: all[0].URI, Scopes: []string{"mcp"}, Made: now.Unix(), Expires: now.Add(time.Hour).Unix()}
	id, key, err := keys.Make(made, all[0].Host)
	again, _, _ := keys.Make(made, all[0].Host)
	if err != nil || len(id) < 26 || id == again || !(Kind{}).Recognises(key, nil) || (Kind{}).Recognises(key[1:], nil) {
		t.Fatalf("%q and %q: %s, %v", id, again, key, err)
	}
	elsewhere := made
	elsewhere.Resource = all[3].URI
	_, atNone, _ := keys.Make(elsewhere, all[3].Host)
	for name, tt := range map[string]struct {
		key  string
		r    *resource.Resource
		late time.Duration
		want reasons.Reason
		who  string // of the refusal, where the key has proven it
	}{
		"its server":                 {key, all[0], time.Hour - time.Second, "", ""},
		"expired":                    {key, all[0], time.Hour, reasons.APIKeyExpired, ""},
		"another server of its host": {key, all[1], 0, reasons.APIKeyNotAccepted, "corp:jane"},
		"another host":               {key, all[2], 0, reasons.APIKeyUnknown, ""},
		"a server without such keys": {atNone, all[3], 0, reasons.APIKeyNotAccepted, ""},
		"changed":                    {key[:len(key)-1], all[0], 0, reasons.APIKeyUnknown, ""},
		"the prefix twice":           {Prefix + key, all[0], 0, reasons.APIKeyUnknown, ""},
	} {
		now = time.Unix(made.Made, 0).Add(tt.late)
		v, err := Kind{Keys: keys}.open(tt.key, tt.r)
		refused, _ := errors.AsType[credential.Refused](err)
		if refused.Reason != tt.want || refused.Subject != tt.who || tt.who != "" && (refused.Client != ClientID || refused.ID != id) || (err == nil) != (tt.want == "") {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (v.ID != id || v.Identity.Subject != "jane" || v.Resource != all[0].URI || v.Scopes.String() != "mcp") {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// Who comes with a key is the person who made it, as the rules are now.
func TestPrincipal(t *testing.T) {
	t.Parallel()
	made := time.Unix(1_800_000_000, 0)
	now := made
	clock := func() time.Time { return now }
	ring, err := seal.NewKeyring(clock, bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	table, err := resource.NewTable([]resource.Entry{{Host: "a.example", Scheme: "https", Path: "/mcp", PersonalKeys: true, Policy: []rule.Rule{{Effect: "allow", Groups: []string{"staff"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	r := table.All()[0]
	who := connector.Identity{Namespace: "corp", Subject: "jane", Email: "jane@corp.example", Name: "Jane", Groups: []string{"staff"}, Unknown: connector.Unknown{Groups: true, Email: true}}
	vouched := made.Add(40 * time.Hour)
	failure := errors.New("the guard is away")
	kind := Kind{Keys: New(ring), Policy: policy.New(table.All(), nil, nil), SignIns: NewSignIns(24*time.Hour, func(_ context.Context, subject string) (time.Time, error) {
		if subject != "corp:jane" {
			t.Errorf("asked about %s", subject)
		}
		return vouched, failure
	}, clock)}
	expires := made.Add(48 * time.Hour)
	id, key, err := kind.Keys.Make(Key{Identity: who, InGroups: true, Resource: r.URI, Scopes: []string{"mcp", "read"}, Agreed: "agreed", Made: made.Unix(), Expires: expires.Unix()}, r.Host)
	if err != nil {
		t.Fatal(err)
	}
	want := credential.Principal{
		Issuer: "https://a.example", Audience: r.URI, Subject: "corp:jane", Client: "apikey:personal", Scope: "mcp read",
		Email: who.Email, EmailUnknown: true, Name: who.Name, Groups: who.Groups, GroupsCut: true, Agreed: "agreed",
		Policy: kind.Policy.For(r.URI).Rematch(who, true, Client()).String(),
		Key:    &credential.Key{}, ID: id, Family: id, IssuedAt: made.Unix(), SignedIn: made.Unix(), Expires: expires.Unix(), Until: made.Add(24 * time.Hour).Unix(),
	}
	if got, err := kind.Verify(key, r); err != nil || !reflect.DeepEqual(got, want) || want.Policy == "" {
		t.Errorf("%+v, %v, want\n%+v", got, err, want)
	}
	now = made.Add(41 * time.Hour) // so that it has to be looked at again
	if _, err := kind.Verify(key, r); !errors.Is(err, credential.ErrUnknown) {
		t.Errorf("before it is asked: %v", err)
	}
	if _, err := kind.Ask(t.Context(), key, r); !errors.Is(err, failure) {
		t.Errorf("the guard is away: %v", err)
	}
	failure = nil
	want.Until = now.Add(lookAgain).Unix()
	for _, ask := range []func() (credential.Principal, error){
		func() (credential.Principal, error) { return kind.Ask(t.Context(), key, r) }, func() (credential.Principal, error) { return kind.Verify(key, r) },
	} {
		if got, err := ask(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v, want\n%+v", got, err, want)
		}
	}
	for _, ask := range []func() (credential.Principal, error){
		func() (credential.Principal, error) { return kind.Ask(t.Context(), key+"x", r) }, func() (credential.Principal, error) { return kind.Verify(key+"x", r) },
	} {
		if got, err := ask(); err == nil || !reflect.DeepEqual(got, credential.Principal{}) {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

// A key that is too long goes without the groups, which are then unknown, and not at all
// where that does not help.
func TestMakeLarge(t *testing.T) {
	t.Parallel()
	ring, err := seal.NewKeyring(time.Now, bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	host, err := resource.NewHost("a.example", "https")
	if err != nil {
		t.Fatal(err)
	}
	groups := func(n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprint("group-", i*i*7919, "-", i*31))
		}
		return out
	}
	for name, tt := range map[string]struct {
		who     connector.Identity
		groups  int
		unknown bool
		want    error
	}{
		"few groups":  {connector.Identity{Groups: groups(10)}, 10, false, nil},
		"many groups": {connector.Identity{Groups: groups(2000)}, 0, true, nil},
		"a long name": {connector.Identity{Name: strings.Join(groups(2000), " ")}, 0, true, ErrTooLarge},
	} {
		_, key, err := New(ring).Make(Key{Identity: tt.who, Expires: time.Now().Add(time.Hour).Unix()}, host)
		if !errors.Is(err, tt.want) || err == nil && len(key) > len(Prefix)+maxKey {
			t.Errorf("%s: %d bytes, %v", name, len(key), err)
		}
		if v, err := New(ring).box.Open(strings.TrimPrefix(key, Prefix), host.Issuer); err != nil || len(v.Identity.Groups) != tt.groups || v.Identity.Unknown.Groups != tt.unknown {
			t.Errorf("%s: %d groups, unknown %v, %v", name, len(v.Identity.Groups), v.Identity.Unknown.Groups, err)
		}
	}
}

// Rules and the deny-list know these keys by one name, as keys.
func TestClient(t *testing.T) {
	t.Parallel()
	if c := Client(); c.Key != oauth.ClientKey("apikey:personal") || c.Kind != rule.KindKey {
		t.Errorf("%+v", c)
	}
}
