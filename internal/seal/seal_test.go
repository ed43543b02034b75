package seal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

type letter struct{ Text string }

var start = time.Unix(1_800_000_000, 0)

func ring(t testing.TB, now func() time.Time, secrets ...string) *Keyring {
	t.Helper()
	var bs [][]byte
	for _, s := range secrets {
		bs = append(bs, bytes.Repeat([]byte(s), 32))
	}
	k, err := NewKeyring(now, bs...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestOpen(t *testing.T) {
	now := start
	clock := func() time.Time { return now }
	k := ring(t, clock, "a")
	box := NewBox[letter](k, "letter")
	sealed, err := box.Seal(letter{"hello"}, start.Add(time.Minute), "host", "browser")
	if err != nil {
		t.Fatal(err)
	}
	flip := func(i int) string {
		b := []byte(sealed)
		if b[i] == 'A' {
			b[i] = 'B'
		} else {
			b[i] = 'A'
		}
		return string(b)
	}
	tests := []struct {
		name   string
		box    Box[letter]
		at     time.Duration
		sealed string
		aad    []string
		want   error
	}{
		{"genuine", box, 0, sealed, []string{"host", "browser"}, nil},
		{"last second", box, 59 * time.Second, sealed, []string{"host", "browser"}, nil},
		{"expired", box, time.Minute, sealed, []string{"host", "browser"}, ErrExpired},
		{"ATK-62 other purpose", NewBox[letter](k, "lette"), 0, sealed, []string{"host", "browser"}, ErrInvalid},
		{"ATK-62 other host", box, 0, sealed, []string{"tsoh", "browser"}, ErrInvalid},
		{"ATK-62 data moved between fields", box, 0, sealed, []string{"hostb", "rowser"}, ErrInvalid},
		{"ATK-62 missing data", box, 0, sealed, []string{"host"}, ErrInvalid},
		{"ATK-62 other key", NewBox[letter](ring(t, clock, "b"), "letter"), 0, sealed, []string{"host", "browser"}, ErrInvalid},
		{"ATK-62 old key still opens", NewBox[letter](ring(t, clock, "b", "a"), "letter"), 0, sealed, []string{"host", "browser"}, nil},
		{"ATK-62 truncated", box, 0, sealed[:len(sealed)-2], []string{"host", "browser"}, ErrInvalid},
		{"ATK-62 bit flip in key id", box, 0, flip(0), []string{"host", "browser"}, ErrInvalid},
		{"ATK-62 bit flip in salt", box, 0, flip(12), []string{"host", "browser"}, ErrInvalid},
		{"ATK-62 bit flip in text", box, 0, flip(len(sealed) - 8), []string{"host", "browser"}, ErrInvalid},
		{"one spelling: newline", box, 0, sealed[:10] + "\n" + sealed[10:], []string{"host", "browser"}, ErrInvalid},
		{"one spelling: padding", box, 0, sealed + "=", []string{"host", "browser"}, ErrInvalid},
		{"empty", box, 0, "", []string{"host", "browser"}, ErrInvalid},
		{"zero box opens nothing", Box[letter]{}, 0, sealed, []string{"host", "browser"}, ErrInvalid},
		{"huge", box, 0, strings.Repeat("A", 1<<20), nil, ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now = start.Add(tt.at)
			got, err := tt.box.Open(tt.sealed, tt.aad...)
			if !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if err == nil && got.Text != "hello" {
				t.Errorf("opened %q", got.Text)
			}
			if err != nil && got != (letter{}) {
				t.Errorf("error and a value: %+v", got)
			}
			// Late differs from Open where the value has expired, and nowhere else.
			late, lateErr := tt.box.Late(tt.sealed, tt.aad...)
			if expired := tt.want == ErrExpired; expired && (lateErr != nil || late.Text != "hello") || !expired && (!errors.Is(lateErr, tt.want) || late != got) {
				t.Errorf("late: %+v, %v", late, lateErr)
			}
		})
	}
}

func TestSealingTwiceGivesDifferentStrings(t *testing.T) {
	box := NewBox[letter](ring(t, time.Now, "a"), "letter")
	a, _ := box.Seal(letter{"x"}, time.Now().Add(time.Hour))
	b, _ := box.Seal(letter{"x"}, time.Now().Add(time.Hour))
	if a == b {
		t.Error("the same value sealed twice is recognisable")
	}
}

func TestShortSecretsAreRefused(t *testing.T) {
	if _, err := NewKeyring(time.Now, []byte("short")); err == nil {
		t.Error("a secret of 5 bytes was accepted")
	}
	if _, err := NewKeyring(time.Now); err == nil {
		t.Error("no secret was accepted")
	}
}

// What is derived depends on the secret and the label, and not on what is sealed.
func TestDerive(t *testing.T) {
	a, b, both := ring(t, clock, "a"), ring(t, clock, "b"), ring(t, clock, "b", "a")
	derive := func(k *Keyring, label string) string {
		t.Helper()
		got, err := k.Derive(label, 32)
		if err != nil || len(got) != 32 {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		return string(got)
	}
	if derive(a, "x") != derive(ring(t, clock, "a"), "x") || derive(a, "x") == derive(a, "y") || derive(a, "x") == derive(b, "x") {
		t.Error("the secret and the label must decide, and nothing else")
	}
	all, err := both.DeriveAll("x", 32)
	if err != nil || len(all) != 2 || string(all[0]) != derive(b, "x") || string(all[1]) != derive(a, "x") {
		t.Errorf("of both, in order: %d values, %v", len(all), err)
	}
	if ids := both.IDs(); len(ids) != 2 || ids[0] != b.IDs()[0] || ids[1] != a.IDs()[0] || ids[0] == ids[1] || len(ids[0]) != 2*keyIDSize {
		t.Errorf("ids %q", ids)
	}
}

func FuzzOpen(f *testing.F) {
	now := func() time.Time { return start }
	k := ring(f, now, "a")
	box, other := NewBox[letter](k, "letter"), NewBox[letter](k, "other")
	sealed, _ := box.Seal(letter{"hello"}, start.Add(time.Minute), "aad")
	f.Add(sealed, "aad")
	f.Add("", "")
	f.Add(sealed+"\n", "aad")
	f.Fuzz(func(t *testing.T, s, aad string) {
		if _, err := other.Open(s, aad); err == nil {
			t.Fatalf("%q opened under another purpose", s)
		}
		v, err := box.Open(s, aad)
		if err != nil {
			return
		}
		// Every process that fuzzes seals the letter again, with the same key.
		raw, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil || base64.RawURLEncoding.EncodeToString(raw) != s || aad != "aad" || v.Text != "hello" {
			t.Fatalf("%q opened with %q as %+v", s, aad, v)
		}
	})
}
