package keyset

import (
	"crypto/rand"
	"testing"
)

func TestRandomSeedsAreGood(t *testing.T) {
	for range 2000 {
		seed := make([]byte, minSeedBytes)
		rand.Read(seed)
		if problem, doubt := seedProblem(string(seed)), seedDoubt(string(seed)); problem != "" || doubt != "" {
			t.Fatalf("random bytes: %s%s", problem, doubt)
		}
	}
}
