package keyset

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"strings"
)

// minSeedBits is what a seed must look like it holds at the least. 32 random
// bytes look like some 150 bits, and practically never like less than 130.
const minSeedBits = 64

const makeSeed = "; `openssl rand -out FILE 32` makes a seed"

// seedProblem says why content cannot be a seed, without showing any of it.
func seedProblem(content string) string {
	if entropy(content) < minSeedBits {
		return "the file holds the same few bytes again and again, which everyone can guess" + makeSeed
	}
	return ""
}

// seedDoubt says why content may not be a good seed, without showing any of it.
func seedDoubt(content string) string {
	text := strings.TrimSpace(content)
	switch {
	case entropy(differences(content)) < minSeedBits:
		return "the file holds bytes that count up or down, which can be guessed" + makeSeed
	case printable(text) && !encoded(text):
		return "the file holds text that a person can have written, and that others can guess" + makeSeed
	case printable(text):
		return "the file holds text, which is as good as the random bytes that it stands for; whether there are any cannot be seen" + makeSeed
	}
	return ""
}

// entropy is how many bits the frequencies of the bytes of s allow for
// (Shannon's entropy of order 0, times the length). Random bytes come close to
// what they hold; what repeats does not.
func entropy(s string) float64 {
	var counts [256]int
	for i := range len(s) {
		counts[s[i]]++
	}
	bits := 0.0
	for _, n := range counts {
		if n > 0 {
			bits -= float64(n) * math.Log2(float64(n)/float64(len(s)))
		}
	}
	return bits
}

// differences are those between neighbouring bytes: all alike where bytes count up.
func differences(s string) string {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		b.WriteByte(s[i] - s[i-1])
	}
	return b.String()
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' && c != '\n' && c != '\t' && c != '\r' || c > '~' })
}

// encoded reports whether text is what programs make of at least 32 random
// bytes: hexadecimal digits, or base64 with letters of both cases and digits.
func encoded(text string) bool {
	if raw, err := hex.DecodeString(text); err == nil {
		return len(raw) >= minSeedBytes
	}
	mixed := strings.ContainsAny(text, "0123456789") && strings.ToLower(text) != text && strings.ToUpper(text) != text
	text = strings.NewReplacer("-", "+", "_", "/", "=", "", "\n", "").Replace(text)
	raw, err := base64.RawStdEncoding.DecodeString(text)
	return err == nil && mixed && len(raw) >= minSeedBytes
}
