package server_test

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/server"
)

// TestHeapFloorIsNotTouched: the floor takes no memory of the machine, also where the heap
// has been larger before.
func TestHeapFloorIsNotTouched(t *testing.T) {
	resident(t) // skips this test where it cannot be known, and not only the process below
	const alone = "HEAP_FLOOR_TEST_ALONE"
	if os.Getenv(alone) == "" { // what other tests leave in the heap would be counted
		cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), alone+"=yes")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	for range 3 {
		garbage := make([]byte, 1<<20)
		garbage[0] = 1
		runtime.KeepAlive(garbage)
	}
	runtime.GC()
	runtime.GC()
	before := resident(t)
	floor := server.HeapFloor()
	if grown := resident(t) - before; grown > 6<<20 {
		t.Errorf("the floor of %d MiB takes %d KiB", len(floor), grown>>10)
	}
	runtime.KeepAlive(floor)
}

// resident is the process's memory that is not of files, in bytes.
func resident(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("only Linux says so: ", err)
	}
	_, after, _ := bytes.Cut(status, []byte("RssAnon:"))
	kib, err := strconv.Atoi(string(bytes.Fields(after)[0]))
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}
