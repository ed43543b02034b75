// Command testsum adds up what `go test -json` wrote to the files it is given.
// It prints what did not pass, with its output, what was not run or skipped,
// with the reason, and the counts alone on the last line.
//
// A test with sub-tests counts through them. One that ran in several files
// counts once, with its worst outcome. A test that never ended, a package that
// failed outside its tests, and a file without any test count as failures. The
// exit status is 0 only if nothing failed and something passed.
//
// gotestsum runs one `go test` and prints its counts. Here the results of several
// runs are added up, a test that was skipped or did not run is never a pass, and
// the last line has to be the counts alone.
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// event is a line of `go test -json`; see `go doc test2json`.
type event struct {
	Action, Package, Test, Output, ImportPath string
}

// outcome is ordered from best to worst, except that to skip is less than to pass.
type outcome int

const (
	skipped outcome = iota
	passed
	unfinished
	failed
)

// name is a test, or a package where test is "".
type name struct{ pkg, test string }

func (n name) String() string { return strings.TrimSpace(n.pkg + " " + n.test) }

type result struct {
	outcome outcome
	output  []string
}

func main() {
	total := map[name]result{}
	for _, path := range os.Args[1:] {
		results, err := read(path)
		if err != nil {
			fmt.Fprintln(os.Stderr, "testsum:", err)
			os.Exit(2)
		}
		merge(total, results)
	}
	if !report(os.Stdout, total) {
		os.Exit(1)
	}
}

func merge(total, results map[name]result) {
	for n, r := range results {
		if old, ok := total[n]; !ok || r.outcome > old.outcome {
			total[n] = r
		}
	}
}

func read(path string) (map[name]result, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return collect(f, path)
}

// collect reads one run. source names it where no package can.
func collect(r io.Reader, source string) (map[name]result, error) {
	all := map[name]result{}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		var e event
		if len(line) > 0 && json.Unmarshal(line, &e) == nil {
			add(all, e)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	out := leaves(all)
	if len(out) == 0 {
		out[name{pkg: source}] = result{failed, []string{"no test ran\n"}}
	}
	return out, nil
}

func add(all map[name]result, e event) {
	importPath, _, _ := strings.Cut(e.ImportPath, " ") // "p [p.test]" is p built for its test
	n := name{cmp.Or(e.Package, importPath), e.Test}
	r, known := all[n]
	if !known {
		r.outcome = unfinished
	}
	switch e.Action {
	case "pass":
		r.outcome = passed
	case "skip":
		r.outcome = skipped
	case "fail", "build-fail":
		r.outcome = failed
	case "output", "build-output":
		r.output = append(r.output, e.Output)
	}
	all[n] = r
}

// leaves keeps the tests without sub-tests, and of the rest (tests with
// sub-tests, packages) those that failed for a reason of their own.
func leaves(all map[name]result) map[name]result {
	children, badChildren := map[name]bool{}, map[name]bool{}
	for n, r := range all {
		for p, ok := n.parent(); ok; p, ok = p.parent() {
			children[p] = true
			badChildren[p] = badChildren[p] || r.outcome >= unfinished
		}
	}
	out := map[name]result{}
	for n, r := range all {
		isTest := n.test != "" && !children[n]
		if isTest || r.outcome >= unfinished && !badChildren[n] {
			out[n] = r
		}
	}
	return out
}

func (n name) parent() (name, bool) {
	if n.test == "" {
		return name{}, false
	}
	i := strings.LastIndexByte(n.test, '/')
	return name{n.pkg, n.test[:max(i, 0)]}, true
}

// report prints everything and says whether all is well.
func report(w io.Writer, total map[name]result) bool {
	count := map[outcome]int{}
	missing, skips := map[string][]string{}, map[string][]string{}
	for _, n := range slices.SortedFunc(maps.Keys(total), func(a, b name) int { return cmp.Compare(a.String(), b.String()) }) {
		r := total[n]
		if r.outcome == unfinished {
			r.outcome, r.output = failed, append(r.output, "it never ended\n")
		}
		count[r.outcome]++
		switch why, isMissing := reason(r.output, "not run: "); {
		case r.outcome == failed && isMissing:
			missing[why] = append(missing[why], n.test)
		case r.outcome == failed:
			fmt.Fprintf(w, "--- FAILED: %s\n%s", n, tail(r.output, 4000))
		case r.outcome == skipped:
			why, _ := reason(r.output, "_test.go:")
			skips[why] = append(skips[why], n.test)
		}
	}
	for _, why := range slices.Sorted(maps.Keys(missing)) {
		fmt.Fprintf(w, "NOT RUN: %s because %s\n", list(missing[why]), why)
	}
	for _, why := range slices.Sorted(maps.Keys(skips)) {
		fmt.Fprintf(w, "SKIPPED: %s because %s\n", list(skips[why]), why)
	}
	fmt.Fprintf(w, "%d passed, %d failed", count[passed], count[failed])
	if count[skipped] > 0 {
		fmt.Fprintf(w, ", %d skipped", count[skipped])
	}
	fmt.Fprintln(w)
	return count[failed] == 0 && count[passed] > 0
}

// reason finds what a test said after the marker; "file_test.go:12: " is not part of it.
func reason(output []string, marker string) (string, bool) {
	for _, line := range slices.Backward(output) {
		_, why, ok := strings.Cut(line, marker)
		if !ok {
			continue
		}
		if marker == "_test.go:" {
			_, why, _ = strings.Cut(why, ": ")
		}
		return strings.TrimSpace(why), true
	}
	return "no reason was given", false
}

func list(tests []string) string {
	const most = 8
	if len(tests) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(tests[:most], ", "), len(tests)-most)
	}
	return strings.Join(tests, ", ")
}

func tail(output []string, most int) string {
	text := strings.Join(output, "")
	if len(text) > most {
		text = "..." + strings.ToValidUTF8(text[len(text)-most:], "")
	}
	return text
}
