package apikey

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// scanned is the expression that docs/api-keys.md gives to secret scanners.
var scanned = regexp.MustCompile(`\bmfk_[0-9A-Za-z]{8}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}\b`)

func TestDocumentedForm(t *testing.T) {
	page, err := os.ReadFile("../../../docs/api-keys.md")
	if err != nil || !strings.Contains(string(page), "```text\n"+scanned.String()+"\n```") {
		t.Errorf("the page gives scanners another expression: %v", err)
	}
}

func TestNewKey(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		key, hash := NewKey()
		if !wellFormed(key) || !scanned.MatchString("x: "+key+"\n") || scanned.FindString(key) != key {
			t.Fatalf("%d characters that are no key", len(key))
		}
		id, _, problem := parseHash(hash)
		if problem != "" || id != idOf(key) || strings.Contains(hash, key[len(Prefix)+idSize+1:keySize-sumSize-1]) {
			t.Fatalf("the hash of a key: %s, id %s", problem, id)
		}
		if seen[key] || seen[id] {
			t.Fatal("a key or an id came twice")
		}
		seen[key], seen[id] = true, true
	}
}

// Each character of a secret is as likely as any other.
func TestRandomIsUniform(t *testing.T) {
	counts := map[rune]int{}
	const n = 62 * 2000
	for _, c := range random(n) {
		counts[c]++
	}
	for _, c := range alphabet {
		if counts[c] < 1700 || counts[c] > 2300 { // some seven standard deviations
			t.Errorf("%q came %d times of 2000", c, counts[c])
		}
	}
	if len(counts) != len(alphabet) {
		t.Errorf("%d characters", len(counts))
	}
}

// No change of one character, and no other length, is a key.
func TestWellFormed(t *testing.T) {
	key, _ := NewKey()
	for i := range len(key) {
		for _, c := range []byte{'x', '0', '_', '-', ' ', 0, 0xff} {
			if changed := key[:i] + string(c) + key[i+1:]; changed != key && wellFormed(changed) {
				t.Errorf("place %d, %q", i, c)
			}
		}
		if wellFormed(key[:i]) || wellFormed(key[i:]) && i > 0 {
			t.Errorf("a part of a key, cut at %d", i)
		}
	}
	for _, c := range "/:@[`{-_\x80" { // beside the alphabet, with the right checksum
		for _, at := range []int{len(Prefix), len(Prefix) + idSize - 1, len(Prefix) + idSize + 1, keySize - sumSize - 2} {
			body := key[:at] + string([]byte{byte(c)}) + key[at+1:keySize-sumSize-1]
			if wellFormed(body + "_" + checksum(body)) {
				t.Errorf("%q at place %d", c, at)
			}
		}
	}
	for _, at := range []int{0, len(Prefix) - 1, len(Prefix) + idSize} {
		body := key[:at] + "x" + key[at+1:keySize-sumSize-1]
		if wellFormed(body + "_" + checksum(body)) {
			t.Errorf("another form, at place %d", at)
		}
	}
	for _, wrong := range []string{key + "0", " " + key, key + "\n", strings.ToLower(key), strings.ToUpper(key), "", Prefix} {
		if wellFormed(wrong) {
			t.Errorf("%d characters", len(wrong))
		}
	}
}

func FuzzWellFormed(f *testing.F) {
	key, _ := NewKey()
	f.Add(key)
	f.Add(key[:keySize-1])
	f.Fuzz(func(t *testing.T, raw string) {
		if wellFormed(raw) && (scanned.FindString(raw) != raw || len(raw) != keySize) {
			t.Errorf("%q is taken for a key and no scanner would find it", raw)
		}
	})
}
