package expiring

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestMap(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	m := New[int](3)
	for i := range 3 {
		if err := m.Set(fmt.Sprint(i), i, start.Add(time.Duration(3-i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Set("3", 3, start); !errors.Is(err, ErrFull) {
		t.Errorf("a fourth entry: %v", err)
	}
	if err := m.Set("2", 22, start.Add(time.Hour)); err != nil { // was to die first
		t.Errorf("an entry of a full map cannot be replaced: %v", err)
	}
	m.Sweep(start.Add(2*time.Minute + 1))
	for key, want := range map[string]bool{"0": true, "1": false, "2": true, "3": false} {
		if _, ok := m.Get(key); ok != want {
			t.Errorf("entry %s held: %v", key, ok)
		}
	}
	if v, _ := m.Get("2"); v != 22 {
		t.Errorf("entry 2 is %d", v)
	}
	m.Evict()
	if _, ok := m.Get("0"); ok || m.Len() != 1 {
		t.Error("Evict forgot another entry than the one to die first")
	}
}
