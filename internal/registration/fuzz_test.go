package registration

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// noStore finds a directive that forbids keeping, by another way than directives.
var noStore = regexp.MustCompile(`(?i)(^|,)[ \t]*(no-store|private)[ \t]*(=|,|$)`)

// FuzzCacheControl: whatever the headers of a document say, it is used for a day
// at most, never longer fresh than usable, and not kept where it must not be.
func FuzzCacheControl(f *testing.F) {
	f.Add("public, max-age=3600", "", "", "", "")
	f.Add("max-age=3600, S-MaxAge=600", "max-age=-1", "", "3000", "")
	f.Add(`private="a, b", max-age="7"`, "no-cache", "", "99999999999999999999", "Accept, *")
	f.Add("max-age=99999999999999999999", "no-store", "Thu, 01 Jan 2036 00:30:00 GMT", "-1", "*")
	f.Add("", "", "0", "9223372036854775808", "*, Accept")
	f.Fuzz(func(t *testing.T, one, two, expires, age, vary string) {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		h := http.Header{"Cache-Control": {one, two}}
		for name, value := range map[string]string{"Expires": expires, "Age": age, "Vary": vary} {
			if value != "" {
				h.Set(name, value)
			}
		}
		l := lifetimeOf(h, now)
		if l.freshUntil.Before(now) || l.staleUntil.Before(l.freshUntil) || l.staleUntil.After(now.Add(maxAge)) {
			t.Errorf("fresh for %v, usable for %v", l.freshUntil.Sub(now), l.staleUntil.Sub(now))
		}
		varies := slices.ContainsFunc(strings.Split(vary, ","), func(s string) bool { return strings.TrimSpace(s) == "*" })
		if (noStore.MatchString(one) || noStore.MatchString(two) || varies) && (l.store || l.staleUntil.After(now)) {
			t.Errorf("kept: %+v", l)
		}
		if digits := strings.TrimLeft(age, "0"); regexp.MustCompile(`^[0-9]+$`).MatchString(age) && len(digits) > 5 && l.freshUntil.After(now) {
			t.Errorf("fresh for %v, at an age of %s seconds", l.freshUntil.Sub(now), age)
		}
	})
}

// FuzzKeySet: what is taken from a client's key set are a few public keys of sizes
// that can be checked, and a set with a private part is refused whole.
func FuzzKeySet(f *testing.F) {
	for _, seed := range []string{
		`{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","use":"sig"},{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`,
		`{"keys":[{"kty":"oct","k":"AAAA"}]}`, `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","x5c":["AAAA"]}]}`, `{"keys":[]}`, `{"keys":null}`, `[]`, `{"keys":[{"D":"x"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		keys, err := parseKeySet(raw)
		if err != nil {
			return
		}
		if len(keys) == 0 || len(keys) > maxKeys {
			t.Fatalf("%d keys", len(keys))
		}
		var set struct {
			Keys []map[string]any `json:"keys"`
		}
		if err := json.Unmarshal(raw, &set); err != nil {
			t.Fatal("taken, and not JSON")
		}
		for _, jwk := range set.Keys {
			for name := range jwk {
				if slices.Contains([]string{"d", "k", "p", "q"}, strings.ToLower(name)) {
					t.Errorf("a set with the member %q was taken", name)
				}
			}
		}
		for _, k := range keys {
			if !k.IsPublic() || !k.Valid() || len(k.KeyID) > 256 || k.Use != "" && k.Use != "sig" {
				t.Errorf("%+v was taken", k)
			}
			switch key := k.Key.(type) {
			case *rsa.PublicKey:
				if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits || key.E < 3 {
					t.Errorf("an RSA key of %d bits with e = %d", bits, key.E)
				}
			case *ecdsa.PublicKey, ed25519.PublicKey:
			default:
				t.Errorf("a key of type %T", k.Key)
			}
		}
		again, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
		if err != nil {
			t.Fatal(err)
		}
		if same, err := parseKeySet(again); err != nil || len(same) != len(keys) {
			t.Errorf("written and read again: %d keys of %d, %v", len(same), len(keys), err)
		}
	})
}
