package seal

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

func clock() time.Time { return start }

// Each value has a key of its own, which its salt makes: without it, random nonces of
// many values would meet under one key.
func TestEachValueHasItsOwnSalt(t *testing.T) {
	box := NewBox[letter](ring(t, clock, "a"), "letter")
	seen := map[string]bool{}
	for range 100 {
		s, err := box.Seal(letter{"x"}, start.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		seen[string(raw[keyIDSize:keyIDSize+saltSize])] = true
	}
	if len(seen) != 100 {
		t.Errorf("100 values have %d salts", len(seen))
	}
}

// The purpose is in the key and in what is authenticated, each enough without the other.
func TestAssociatedDataIsUnambiguous(t *testing.T) {
	k := ring(t, clock, "a")
	seen := map[string]string{}
	for name, data := range map[string][]byte{
		"ab":      NewBox[letter](k, "ab").associated(nil),
		"a, b":    NewBox[letter](k, "a").associated([]string{"b"}),
		"ab, c":   NewBox[letter](k, "ab").associated([]string{"c"}),
		"ac, c":   NewBox[letter](k, "ac").associated([]string{"c"}),
		"a, bc":   NewBox[letter](k, "a").associated([]string{"bc"}),
		"a, b, c": NewBox[letter](k, "a").associated([]string{"b", "c"}),
		"ab, ''":  NewBox[letter](k, "ab").associated([]string{""}),
	} {
		if other, same := seen[string(data)]; same {
			t.Errorf("(%s) and (%s) are authenticated as the same", name, other)
		}
		seen[string(data)] = name
	}
}

// A value of just the largest size opens; a larger one is never made.
func TestLargest(t *testing.T) {
	box := NewBox[letter](ring(t, clock, "a"), "letter")
	sized := func(n int) letter { return letter{strings.Repeat("x", n)} }
	empty, err := box.Seal(sized(0), start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	room := base64.RawURLEncoding.DecodedLen(maxSealed) - base64.RawURLEncoding.DecodedLen(len(empty))
	s, err := box.Seal(sized(room), start.Add(time.Hour))
	if err != nil || len(s) != maxSealed {
		t.Fatalf("%d bytes, %v; want %d", len(s), err, maxSealed)
	}
	if v, err := box.Open(s); err != nil || len(v.Text) != room {
		t.Errorf("the largest value: %v", err)
	}
	if s, err := box.Seal(sized(room+1), start.Add(time.Hour)); err == nil {
		t.Errorf("a value of %d bytes was made", len(s))
	}
}

func TestCannotSeal(t *testing.T) {
	if s, err := (Box[letter]{}).Seal(letter{"x"}, start); err == nil {
		t.Errorf("a box without keys made %q", s)
	}
	if s, err := NewBox[func()](ring(t, clock, "a"), "letter").Seal(nil, start); err == nil {
		t.Errorf("what has no form in JSON became %q", s)
	}
}

// A genuine value of another form, as an older version may have made, is not valid.
func TestAnotherForm(t *testing.T) {
	k := ring(t, clock, "a")
	s, err := NewBox[int](k, "letter").Seal(7, start.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if v, err := NewBox[letter](k, "letter").Open(s); !errors.Is(err, ErrInvalid) {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestPacked(t *testing.T) {
	k := ring(t, clock, "a")
	const dictionary = "https://mcp.example.com/callback?state="
	plain, packed := NewBox[letter](k, "letter"), NewPackedBox[letter](k, "letter", dictionary)
	text := letter{dictionary + "a&b"}
	seal := func(b Box[letter], v letter) string {
		t.Helper()
		s, err := b.Seal(v, start.Add(time.Hour), "host")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := seal(packed, text)
	if v, err := packed.Open(s, "host"); err != nil || v != text {
		t.Errorf("%+v, %v", v, err)
	}
	if long := seal(plain, text); len(s) >= len(long) {
		t.Errorf("%d bytes packed, %d not", len(s), len(long))
	}
	if v, err := plain.Open(s, "host"); !errors.Is(err, ErrInvalid) {
		t.Errorf("what was packed: %+v, %v", v, err)
	}
	if v, err := packed.Open(seal(plain, text), "host"); !errors.Is(err, ErrInvalid) {
		t.Errorf("what was not packed: %+v, %v", v, err)
	}
	if v, err := NewPackedBox[letter](k, "lette", dictionary).Open(s, "host"); !errors.Is(err, ErrInvalid) {
		t.Errorf("for another purpose: %+v, %v", v, err)
	}
	// A small value that unpacks to a large one. The last byte is the line feed after the JSON.
	room := maxPlain - len("{\"Text\":\"\"}\n")
	for n, want := range map[int]error{room: nil, room + 1: ErrInvalid, 2 * room: ErrInvalid} {
		if v, err := packed.Open(seal(packed, letter{strings.Repeat("x", n)}), "host"); !errors.Is(err, want) {
			t.Errorf("a text of %d bytes: %d bytes, %v; want %v", n, len(v.Text), err, want)
		}
	}
	if a, b := seal(plain, letter{"&&&&&&&&"}), seal(plain, letter{"xxxxxxxx"}); len(a) != len(b) {
		t.Errorf("\"&\" takes more room than \"x\": %d bytes, %d", len(a), len(b))
	}
}
